"""Rhythm classification of whole recordings: stratified k-fold cross-validation, and held-out evaluation of one fold.

A fraction of the training recordings is held out of training and used to fit the temperature.
"""

import logging
import time

import numpy as np

from keras_ecg.baselines import boosting_on_recordings, majority_class
from keras_ecg.calibration import fit_temperature
from keras_ecg.config import Config
from keras_ecg.data.rhythm_records import rhythm_manifest
from keras_ecg.data.rhythm_stream import get_all_recordings
from keras_ecg.data.splits import patient_folds
from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.encoders import read_contract
from keras_ecg.errors import InputError
from keras_ecg.evaluation.rhythm_checks import rhythm_scores
from keras_ecg.experiments.common import columns_of, open_run, part_history, seen_unlabelled, with_weights
from keras_ecg.experiments.parts import fit_folds
from keras_ecg.experiments.rhythm_checks import disturbed_predictions, occlusion
from keras_ecg.files import fingerprint
from keras_ecg.metrics import confusion_matrix
from keras_ecg.models import load_model, model_config
from keras_ecg.models.loading import save_model
from keras_ecg.predictions import write_npz
from keras_ecg.presets.recordings import RecordingClassifier
from keras_ecg.rhythm_training import class_weights, predict_rhythm, train_stages
from keras_ecg.runs import RunFolder

logger = logging.getLogger(__name__)

Names = tuple[str, ...]
IGNORED = ("beats", "sequences", "augment", "windows", "finetuning", "tuning")
SHORT_SECONDS = 30.72  # of the baseline first_30_seconds: whole tokens nearest to 30 s


def rhythm_folds(config: Config) -> tuple[dict[str, np.ndarray], list[tuple[Names, Names]]]:
    """Return all packed recordings, and the training and test recordings of each stratified, inter-patient fold.

    Raises:
        InputError: no packed recordings, or fewer subjects than folds.
    """
    known, settings = get_all_recordings(config), config.evaluation
    return known, patient_folds(known["record"], known["subject"], known["label"], settings.folds, settings.fold_seed)


def hold_out(known: dict[str, np.ndarray], records: Names, fraction: float, seed: int) -> tuple[Names, Names]:
    """Split records into training records and a stratified held-out fraction, without shared subjects.

    Raises:
        InputError: a fraction outside (0, 0.5], or too few subjects.
    """
    if not 0 < fraction <= 0.5:
        raise InputError("rhythm.calibration_fraction", str(fraction), "more than 0, at most 0.5", "correct it")
    own = np.isin(known["record"], records)
    parts = (known[k][own] for k in ("record", "subject", "label"))
    return patient_folds(*parts, round(1 / fraction), seed)[0]


def open_rhythm_run(config: Config, experiment: str, seeds: tuple[int, ...]) -> RunFolder:
    """Open the run folder of a rhythm experiment.

    Raises:
        InputError: unknown model or hyperparameter, or no recordings packed with this configuration.
    """
    model_config(config.model.name, config.model.options)
    check_rhythm_contract(config)
    class_weights(config)
    counts = rhythm_manifest(config)["class_counts"]
    details = {"kind": "rhythm", "seeds": list(seeds), "labels": config.rhythm.labels, "class_counts": counts}
    return open_run(config, experiment, IGNORED, rhythm_data(config), details)


def rhythm_data(config: Config) -> str:
    """Compute the fingerprint of the packed recordings, and of the pretrained encoder if there is one."""
    manifest = rhythm_manifest(config)
    files = {name: entry["files"] for name, entry in manifest["chunks"].items()}
    return with_weights(config, fingerprint([manifest["parameters"], files]))


def check_rhythm_contract(config: Config) -> None:
    """Check that recordings are packed as the input specification of the pretrained encoder requires.

    Raises:
        InputError: a setting that differs from the input specification.
    """
    weights = config.model.options.get("weights")
    if not weights:
        return
    contract, rhythm = read_contract(weights), config.rhythm
    for name in ("sampling_rate_hz", "bandpass_hz"):
        given, required = getattr(rhythm, name), getattr(contract, name)
        if given != required:
            expected = f"{required}, as {weights} requires"
            raise InputError(f"rhythm.{name}", str(given), expected, "set it, and run pack-recordings again")


def fit_rhythm_fold(
    run: RunFolder, part: str, known: dict, train: Names, test: Names, config: Config, seed: int, keep: bool = False
) -> None:
    """Train on `train`, fit the temperature, predict `test` once, and store the results; skip a stored fold.

    Args:
        run: run folder.
        part: name of the fold's file in the run folder.
        known: all recordings, as `get_all_recordings` returns them.
        train: training records, of which the fraction `rhythm.calibration_fraction` is used for the temperature only.
        test: test records.
        config: configuration of model, training and stream.
        seed: seed of the training.
        keep: save the model in the run folder.
    """
    if run.has_part(part) and (not keep or (run.path / "model.keras").is_file()):
        logger.info("%s: %s is done", run.path.name, part)
        return
    rhythm = config.rhythm
    fitted, held_out = hold_out(known, train, rhythm.calibration_fraction, config.evaluation.fold_seed)
    logger.info(
        f"{run.path.name}: {part}: training on {len(fitted)} recordings, calibrating on {len(held_out)}, "
        f"scoring {len(test)}"
    )
    began = time.monotonic()
    model, history = train_stages(fitted, config, seed)
    found = predict_rhythm(model, config, test)
    short = predict_rhythm(model, config, test, min(SHORT_SECONDS, rhythm.window_seconds), crops=1)
    labels = known["label"][np.isin(known["record"], held_out)]
    temperature = fit_temperature(predict_rhythm(model, config, held_out), labels)
    if keep:
        save_model(run.path / "model.keras", model)
    columns = columns_of(history)
    seconds = round(time.monotonic() - began, 1)
    run.save_part(
        part,
        probabilities=found.astype(np.float16),
        short=short.astype(np.float16),
        temperature=np.array(temperature),
        seconds=np.array(seconds),
        **columns,
    )
    truth = known["label"][np.isin(known["record"], test)]
    scored = rhythm_scores(confusion_matrix(truth, found.argmax(1), len(CLASSES)))
    each = ", ".join(f"F1 {c} {scored[f'classes.{c}.f1']:.3f}" for c in CLASSES)
    logger.info("%s: score %.4f, %s, %.0f s", part, scored["score"], each, seconds)


def run_rhythm_kfold(config: Config) -> RunFolder:
    """Run stratified k-fold cross-validation, once per seed; every recording is predicted out of fold.

    Returns:
        The finished run folder.

    Raises:
        InputError: fewer subjects than folds, damaged data, or an unknown hyperparameter.
    """
    seeds = config.evaluation.kfold_seeds
    run = open_rhythm_run(config, "kfold", seeds)
    if run.finished:
        return run
    known, folds = rhythm_folds(config)
    folds = folds[: config.evaluation.first_folds or None]
    tested = np.isin(known["record"], [record for _, test in folds for record in test])
    scored = {name: values[tested] for name, values in known.items()}
    count = len(scored["record"])
    fold, boosted = np.empty(count, np.int64), np.empty((count, len(CLASSES)), np.float16)
    long, short = (np.empty((len(seeds), count, len(CLASSES)), np.float16) for _ in range(2))
    temperature, history = np.empty((len(seeds), len(folds))), []
    for k, (train, test) in enumerate(folds):
        own = np.isin(scored["record"], test)
        fold[own] = k
        if config.evaluation.baselines:
            boosted[own] = boosting_on_recordings(train, test, config)
    # All folds of a seed come first, so that an interrupted run has complete seeds.
    parts = {(seed, k): f"seed_{seed}_fold_{k}" for seed in seeds for k in range(len(folds))}
    tasks = [(run, part, known, *folds[k], config, seed) for (seed, k), part in parts.items()]
    fit_folds(fit_rhythm_fold, tasks, config.evaluation.jobs)
    for i, seed in enumerate(seeds):
        for k in range(len(folds)):
            part = parts[seed, k]
            stored = run.load_part(part)
            temperature[i, k] = stored["temperature"]
            long[i, fold == k], short[i, fold == k] = stored["probabilities"], stored["short"]
            history += part_history(run, part, seed, k)
    write_rhythms(run, config, scored, fold, np.array(seeds), long, temperature, short, boosted)
    run.write_history(history)
    details = {"selection": selection(config), "seen_unlabelled": seen_unlabelled(config, scored["record"])}
    print(headline(run, run.finish(folds=len(folds), **details)))
    return run


def run_rhythm_final(config: Config) -> RunFolder:
    """Train on all folds but the first, once per seed, and test on the first; save the first seed's model.

    The saved model is also tested on corrupted recordings, and explained by occlusion maps.

    Returns:
        The finished run folder.

    Raises:
        InputError: as in `run_rhythm_kfold`, or an unreadable recording.
    """
    seeds = config.evaluation.seeds
    run = open_rhythm_run(config, "final_rhythm", seeds)
    if run.finished:
        return run
    known, folds = rhythm_folds(config)
    train, test = folds[0]
    tasks = [(run, f"seed_{seed}", known, train, test, config, seed, seed == seeds[0]) for seed in seeds]
    fit_folds(fit_rhythm_fold, tasks, config.evaluation.jobs)
    parts = [run.load_part(f"seed_{seed}") for seed in seeds]
    own = np.isin(known["record"], test)
    tested = {name: values[own] for name, values in known.items()}
    long, short = (np.stack([part[name] for part in parts]) for name in ("probabilities", "short"))
    temperature = np.array([[part["temperature"]] for part in parts])
    boosted = boosting_on_recordings(train, test, config) if config.evaluation.baselines else None
    write_rhythms(run, config, tested, np.zeros(len(short[0]), int), np.array(seeds), long, temperature, short, boosted)
    run.write_history([row for seed in seeds for row in part_history(run, f"seed_{seed}", seed)])
    model, robustness = load_model(run.path), config.rhythm.robustness
    if robustness.recordings:
        write_npz(run.path / "robustness.npz", **disturbed_predictions(model, config, known, test))
    if robustness.occlusion_recordings:
        write_npz(run.path / "occlusion.npz", **occlusion(model, config, known, test))
    classifier = RecordingClassifier(model, config, float(temperature[0, 0]))
    details = {"train": len(train), "test": len(test), "temperature": classifier.temperature}
    details["milliseconds_for_60_s"] = round(milliseconds(classifier), 1)
    details |= {"selection": selection(config), "seen_unlabelled": seen_unlabelled(config, test)}
    print(headline(run, run.finish(**details)))
    return run


def milliseconds(classifier: RecordingClassifier, turns: int = 15) -> float:
    """Measure the median latency in ms of classifying 60 s at 300 Hz, from millivolts to probabilities."""
    signal = np.random.default_rng(0).normal(size=60 * 300).astype(np.float32)
    latencies = []
    for _ in range(turns):
        began = time.perf_counter()
        classifier.probabilities(signal, 300.0)
        latencies.append(1000 * (time.perf_counter() - began))
    return float(np.median(latencies[1:]))  # the first includes compilation


def write_rhythms(run: RunFolder, config: Config, known: dict, fold, seeds, long, temperature, short, boosted) -> None:
    """Write the predictions of the model and its baselines, for `keras_ecg.evaluation.rhythm`."""
    truth = {"record": known["record"], "subject": known["subject"], "y_true": known["label"], "fold": fold}
    run.write_arrays("model", **truth, probabilities=long, temperature=temperature, seeds=seeds)
    run.write_arrays("first_30_seconds", **truth, probabilities=short, seeds=seeds)
    if config.evaluation.baselines:
        majority = majority_class(len(fold), len(CLASSES)).astype(np.float16)
        for name, baseline in (("majority_class", majority), ("gradient_boosting_rr", boosted)):
            run.write_arrays(name, **truth, probabilities=baseline[np.newaxis], seeds=np.array([0]))


def selection(config: Config) -> str:
    """Describe the data that the configuration was selected on."""
    return "; ".join(config.evaluation.selected_on) or "evaluation.selected_on of the configuration is empty"


def headline(run: RunFolder, metrics: dict) -> str:
    """Format the final message: scores, calibration, alarms, and the path of the report."""
    scores = metrics["model"]
    each = ", ".join(f"F1 {c} {scores['classes'][c]['f1']['mean']:.3f}" for c in CLASSES)
    lines = [f"{run.path.name}: score (mean F1 of N, A, O) {scores['score']['mean']:.3f}; {each}"]
    lines += [f"ECE {scores['ece_before']['mean']:.3f}, after temperature scaling {scores['ece']['mean']:.3f}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    return "\n".join([*lines, f"report: {run.path / 'report.html'}"])
