"""Rhythms of whole recordings: k-fold, every recording named out of fold; and one fold, with weights.

A model is trained on the training recordings but for a share of them, on which its temperature is set.
"""

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
from keras_ecg.experiments.parts import fit_parts
from keras_ecg.experiments.rhythm_checks import disturbed_predictions, occlusion
from keras_ecg.experiments.study import columns_of, open_folder, part_history, seen_unlabelled, with_weights
from keras_ecg.files import fingerprint
from keras_ecg.metrics import confusion_matrix
from keras_ecg.models import load_model, model_config
from keras_ecg.models.loading import save_model
from keras_ecg.predictions import write_npz
from keras_ecg.presets.recordings import RecordingClassifier
from keras_ecg.rhythm_training import class_weights, predict_rhythm, train_stages
from keras_ecg.runs import RunFolder

Names = tuple[str, ...]
IGNORED = ("beats", "sequences", "augment", "windows", "finetuning", "tuning")
SHORT_SECONDS = 30.72  # the baseline that is shown half a minute of each recording


def rhythm_folds(config: Config) -> tuple[dict[str, np.ndarray], list[tuple[Names, Names]]]:
    """Every packed recording, and the training and test recordings of each fold: stratified, no subject on both sides.

    Raises:
        InputError: nothing is packed, or fewer subjects than folds.
    """
    known, wanted = get_all_recordings(config), config.evaluation
    return known, patient_folds(known["record"], known["subject"], known["label"], wanted.folds, wanted.fold_seed)


def hold_out(known: dict[str, np.ndarray], records: Names, fraction: float, seed: int) -> tuple[Names, Names]:
    """Records parted into those to train on and a stratified share, at least a subject, that is kept from it.

    Raises:
        InputError: a share that is not between 0 and a half, or too few subjects.
    """
    if not 0 < fraction <= 0.5:
        raise InputError("rhythm.calibration_fraction", str(fraction), "more than 0, at most 0.5", "correct it")
    own = np.isin(known["record"], records)
    parts = (known[k][own] for k in ("record", "subject", "label"))
    return patient_folds(*parts, round(1 / fraction), seed)[0]


def open_rhythm(config: Config, study: str, seeds: tuple[int, ...]) -> RunFolder:
    """The run folder of a study of rhythms.

    Raises:
        InputError: no such model or hyperparameter, or nothing packed under this configuration.
    """
    model_config(config.model.name, config.model.options)
    check_rhythm_contract(config)
    class_weights(config)
    counts = rhythm_manifest(config)["class_counts"]
    details = {"kind": "rhythm", "seeds": list(seeds), "labels": config.rhythm.labels, "class_counts": counts}
    return open_folder(config, study, IGNORED, rhythm_data(config), details)


def rhythm_data(config: Config) -> str:
    """A fingerprint of everything that the stream holds, and of the pretrained encoder where there is one."""
    manifest = rhythm_manifest(config)
    files = {name: entry["files"] for name, entry in manifest["chunks"].items()}
    return with_weights(config, fingerprint([manifest["parameters"], files]))


def check_rhythm_contract(config: Config) -> None:
    """Rejects recordings cleaned otherwise than a pretrained encoder's contract says.

    Raises:
        InputError: names the setting, and what the contract wants.
    """
    weights = config.model.options.get("weights")
    if not weights:
        return
    contract, rhythm = read_contract(weights), config.rhythm
    for name in ("sampling_rate_hz", "bandpass_hz"):
        given, wanted = getattr(rhythm, name), getattr(contract, name)
        if given != wanted:
            raise InputError(f"rhythm.{name}", str(given), f"{wanted} of {weights}", "set it, and pack again")


def fit_rhythm_part(
    run: RunFolder, part: str, known: dict, train: Names, test: Names, config: Config, seed: int, keep: bool = False
) -> None:
    """Trains on `train` with `seed`, sets the temperature, names `test` once, and stores the part, unless it is there.

    Args:
        run: the run folder.
        part: its name in it.
        known: `get_all_recordings` of all.
        train: training records, of which `rhythm.calibration_fraction` only set the temperature.
        test: test records.
        config: of model, training and stream.
        seed: of everything random.
        keep: whether the model is saved in the run folder.
    """
    if run.has_part(part) and (not keep or (run.path / "model.keras").is_file()):
        print(f"{run.path.name}: {part} is done")
        return
    wanted = config.rhythm
    fitted, held_out = hold_out(known, train, wanted.calibration_fraction, config.evaluation.fold_seed)
    print(
        f"{run.path.name}: {part}: training on {len(fitted)} recordings, {len(held_out)} set the temperature, "
        f"scoring {len(test)}",
        flush=True,
    )
    began = time.monotonic()
    model, history = train_stages(fitted, config, seed)
    found = predict_rhythm(model, config, test)
    short = predict_rhythm(model, config, test, min(SHORT_SECONDS, wanted.window_seconds), crops=1)
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
    print(f"{part}: score {scored['score']:.4f}, {each}, {seconds:.0f} s", flush=True)


def run_rhythm_kfold(config: Config) -> RunFolder:
    """Trains and scores the configured model in stratified folds, once per seed; every recording is named out of fold.

    Returns:
        The finished run folder.

    Raises:
        InputError: fewer subjects than folds, damaged data, a misspelt hyperparameter.
    """
    seeds = config.evaluation.kfold_seeds
    run = open_rhythm(config, "kfold", seeds)
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
    # A seed's folds first: an interrupted study has whole seeds.
    parts = {(seed, k): f"seed_{seed}_fold_{k}" for seed in seeds for k in range(len(folds))}
    tasks = [(run, part, known, *folds[k], config, seed) for (seed, k), part in parts.items()]
    fit_parts(fit_rhythm_part, tasks, config.evaluation.jobs)
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
    """Trains on all folds but the first, once per seed, and tests on that; keeps the first seed's model for use.

    That model is also given disturbed recordings, and asked which stretches its answers depend on.

    Returns:
        The finished run folder.

    Raises:
        InputError: as `run_rhythm_kfold`; or a recording to be disturbed cannot be read.
    """
    seeds = config.evaluation.seeds
    run = open_rhythm(config, "final_rhythm", seeds)
    if run.finished:
        return run
    known, folds = rhythm_folds(config)
    train, test = folds[0]
    tasks = [(run, f"seed_{seed}", known, train, test, config, seed, seed == seeds[0]) for seed in seeds]
    fit_parts(fit_rhythm_part, tasks, config.evaluation.jobs)
    parts = [run.load_part(f"seed_{seed}") for seed in seeds]
    own = np.isin(known["record"], test)
    tested = {name: values[own] for name, values in known.items()}
    long, short = (np.stack([part[name] for part in parts]) for name in ("probabilities", "short"))
    temperature = np.array([[part["temperature"]] for part in parts])
    boosted = boosting_on_recordings(train, test, config) if config.evaluation.baselines else None
    write_rhythms(run, config, tested, np.zeros(len(short[0]), int), np.array(seeds), long, temperature, short, boosted)
    run.write_history([row for seed in seeds for row in part_history(run, f"seed_{seed}", seed)])
    model, wanted = load_model(run.path), config.rhythm.robustness
    if wanted.recordings:
        write_npz(run.path / "robustness.npz", **disturbed_predictions(model, config, known, test))
    if wanted.occlusion_recordings:
        write_npz(run.path / "occlusion.npz", **occlusion(model, config, known, test))
    classifier = RecordingClassifier(model, config, float(temperature[0, 0]))
    details = {"train": len(train), "test": len(test), "temperature": classifier.temperature}
    details["milliseconds_for_60_s"] = round(milliseconds(classifier), 1)
    details |= {"selection": selection(config), "seen_unlabelled": seen_unlabelled(config, test)}
    print(headline(run, run.finish(**details)))
    return run


def milliseconds(classifier: RecordingClassifier, turns: int = 15) -> float:
    """What naming a recording of 60 s at 300 Hz takes, from millivolts to probabilities: the median of some turns."""
    signal = np.random.default_rng(0).normal(size=60 * 300).astype(np.float32)
    taken = []
    for _ in range(turns):
        began = time.perf_counter()
        classifier(signal, 300.0)
        taken.append(1000 * (time.perf_counter() - began))
    return float(np.median(taken[1:]))  # the first compiles


def write_rhythms(run: RunFolder, config: Config, known: dict, fold, seeds, long, temperature, short, boosted) -> None:
    """Writes the predictions of the model and its baselines, as `keras_ecg.evaluation.rhythm` wants them."""
    truth = {"record": known["record"], "subject": known["subject"], "y_true": known["label"], "fold": fold}
    run.write_arrays("model", **truth, probabilities=long, temperature=temperature, seeds=seeds)
    run.write_arrays("30s", **truth, probabilities=short, seeds=seeds)
    if config.evaluation.baselines:
        majority = majority_class(len(fold), len(CLASSES)).astype(np.float16)
        for name, baseline in (("majority_class", majority), ("gradient_boosting_rr", boosted)):
            run.write_arrays(name, **truth, probabilities=baseline[np.newaxis], seeds=np.array([0]))


def selection(config: Config) -> str:
    """What the configuration was chosen on."""
    return "; ".join(config.evaluation.selected_on) or "the configuration does not say what it was chosen on"


def headline(run: RunFolder, metrics: dict) -> str:
    """The lines that a script ends with."""
    scores = metrics["model"]
    each = ", ".join(f"F1 {c} {scores['classes'][c]['f1']['mean']:.3f}" for c in CLASSES)
    lines = [f"{run.path.name}: score (mean F1 of N, A, O) {scores['score']['mean']:.3f}; {each}"]
    lines += [f"calibration error {scores['ece_before']['mean']:.3f}, calibrated {scores['ece']['mean']:.3f}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    return "\n".join([*lines, f"report: {run.path / 'report.html'}"])
