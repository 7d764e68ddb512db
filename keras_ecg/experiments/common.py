"""Functions shared by the experiments: opening the run folder of a configuration, and fitting and scoring one fold."""

import logging
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_ecg import __version__
from keras_ecg.baselines import majority_class
from keras_ecg.config import Config, Context, to_dict
from keras_ecg.data.pipeline import get_all_beats
from keras_ecg.data.tfrecords import data_fingerprint, read_manifest
from keras_ecg.devices import check_devices
from keras_ecg.encoders import read_contract
from keras_ecg.errors import InputError
from keras_ecg.files import fingerprint, sha256
from keras_ecg.metrics import confusion_matrix, summary_scores
from keras_ecg.models import model_config
from keras_ecg.models.loading import find_encoder
from keras_ecg.runs import RunFolder, find_or_create
from keras_ecg.training import check_training, predict_records, train_classifier

logger = logging.getLogger(__name__)

# Settings that change no result, and settings added after runs were published, whose defaults change no result.
WITHOUT_EFFECT = {"evaluation": ("jobs",)}
ALONE = ("adaptation",)  # sections that only one experiment depends on
LATER = {"model": ("ensemble_members",), "training": ("gradient_accumulation", "data_parallel", "ensemble_size")}


def packed_subjects(config: Config) -> dict[str, str]:
    """Map every packed record to its subject."""
    return {r: entry["subject"] for r, entry in read_manifest(config.database.tfrecord_dir)["records"].items()}


def check_contract(config: Config) -> None:
    """Check that the configured windows meet the input specification of the pretrained encoder.

    Raises:
        InputError: a setting that differs from the input specification.
    """
    weights = config.model.options.get("weights")
    if not weights:
        return
    contract, context = read_contract(weights), config.beats.context
    required = Context(contract.window_seconds, contract.sampling_rate_hz, contract.bandpass_hz)
    if context != required:
        different = {k: v for k, v in to_dict(required).items() if to_dict(context)[k] != v}
        expected = f"{different}, as {weights} requires"
        raise InputError("beats.context", str(to_dict(context)), expected, "set it, then run preprocess and pack again")
    accepted = (*contract.leads, *contract.fallback_leads)
    if config.beats.lead not in accepted or contract.leads_at_once != 1:
        expected = f"{contract.leads_at_once} of {', '.join(accepted)}, as {weights} requires"
        raise InputError("beats.lead", f"the lead {config.beats.lead}", expected, "set another lead or other weights")


def with_weights(config: Config, data: str) -> str:
    """Combine the fingerprint of the data with that of the configured pretrained encoder, if there is one."""
    weights = config.model.options.get("weights")
    return fingerprint([data, sha256(find_encoder(weights) / "encoder.keras")]) if weights else data


def required_weights(config: Config) -> str:
    """Return the name of the pretrained encoder, which this experiment requires.

    Raises:
        InputError: no or an unknown encoder, or as in `check_contract`.
    """
    weights = config.model.options.get("weights")
    if not weights:
        raise InputError("model.options.weights", "none", "a pretrained encoder", "give --weights")
    check_contract(config)
    return str(weights)


def relevant_settings(settings: dict) -> dict:
    """Remove settings of `WITHOUT_EFFECT`, and settings of `LATER` that have their default values."""
    defaults, out = to_dict(Config()), {}
    for section, values in settings.items():
        if isinstance(values, dict):
            same = {k for k in LATER.get(section, ()) if values[k] == defaults[section][k]}
            values = {k: v for k, v in values.items() if k not in {*same, *WITHOUT_EFFECT.get(section, ())}}
        out[section] = values
    return out


def settings_of(config: Config, ignored: tuple[str, ...]) -> dict:
    """Return the settings that a result depends on: all sections but the ignored ones, without folder names."""
    if config.task != "rhythm":
        ignored = ("task", "rhythm", *ignored)
    out = {k: v for k, v in to_dict(config).items() if k not in ("title", "database", "tracking", *ignored)}
    if "windows" in out:
        places = {"tfrecord_dir": "", "sources": [{**source, "folder": ""} for source in out["windows"]["sources"]]}
        out["windows"] = {**out["windows"], **places}
    if "rhythm" in out:
        out["rhythm"] = {**out["rhythm"], "tfrecord_dir": ""}
    return relevant_settings(out)


def recorded_command() -> str:
    """Return the command line of this process, as a user would repeat it in the root folder."""
    script, *arguments = sys.argv
    name = Path(script).name
    if name.endswith(".py") and name != "__main__.py":
        return shlex.join(["python", name, *arguments])
    inside = name == "__main__.py" and Path(script).parent.name == "experiments"  # of run_full_pipeline.sh
    return shlex.join(["keras-ecg", *(["pipeline"] if inside else []), *arguments])


def open_run(
    config: Config, experiment: str, ignored: tuple[str, ...], data: str, details: dict, own: str = ""
) -> RunFolder:
    """Open the run folder of an experiment: an existing one of the same data and settings, or a new one.

    Args:
        config: configuration.
        experiment: name of the experiment, the beginning of the folder's name.
        ignored: sections of the configuration that the result does not depend on.
        data: fingerprint of the data.
        details: entries for environment.json.
        own: the section of `ALONE` that this experiment depends on.

    Raises:
        InputError: `evaluation.jobs` below 1, or as in `check_devices`.
    """
    check_devices(config.training, config.loader.batch_size)
    if config.evaluation.jobs < 1:
        raise InputError("evaluation.jobs", str(config.evaluation.jobs), "at least 1", "correct it")
    run = find_or_create(
        config.database.runs_dir,
        experiment,
        config.model.name,
        fingerprint([experiment, settings_of(config, (*ignored, *(s for s in ALONE if s != own))), data, __version__]),
        to_dict(config),
        recorded_command(),
        {"data_hashes": data} | details,
    )
    if run.finished:
        logger.info("%s: finished before under the same data and settings; nothing to do", run.path)
    return run


def open_beat_run(
    config: Config, experiment: str, records: tuple[str, ...], seeds: tuple[int, ...], own: str = ""
) -> RunFolder:
    """Open the run folder of a beat classification experiment, see `open_run`.

    Raises:
        InputError: unknown model or hyperparameter, or as in `check_training` and `open_run`.
    """
    check_training(config)
    for model in (config.model, *config.model.ensemble_members):
        model_config(model.name, model.options)
    check_contract(config)
    manifest = read_manifest(config.database.tfrecord_dir)
    data = with_weights(config, data_fingerprint(manifest, sorted(records)))
    skipped = [f"{r}: {why}" for r, why in manifest["skipped"].items()]
    ignored = ("windows", "tuning", "finetuning")
    details = {"kind": "beats", "skipped_records": skipped, "data_notes": manifest["notes"], "seeds": list(seeds)}
    return open_run(config, experiment, ignored, data, details, own)


def fit_fold(
    run: RunFolder, part: str, train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int, keep: bool
) -> None:
    """Train on `train`, predict `test` once, and store the probabilities in the run folder; skip a stored fold.

    Args:
        run: run folder.
        part: name of the fold's file in the run folder.
        train: training records.
        test: test records.
        config: configuration of model, training and stream.
        seed: seed of the training.
        keep: save the model in the run folder.
    """
    if run.has_part(part) and (not keep or (run.path / "model.keras").is_file()):
        logger.info("%s: %s is done", run.path.name, part)
        return
    logger.info("%s: %s: training on %d records, scoring %d", run.path.name, part, len(train), len(test))
    began = time.monotonic()
    classifier = train_classifier(train, config, seed)
    probabilities = predict_records(classifier, test, config)
    if keep:
        classifier.save(run.path)
    seconds = round(time.monotonic() - began, 1)
    columns = columns_of(classifier.history)
    run.save_part(part, probabilities=probabilities.astype(np.float16), seconds=np.array(seconds), **columns)
    truth = get_all_beats(test, config)["label"]
    scored = summary_scores(confusion_matrix(truth, probabilities.argmax(1)))
    logger.info(
        f"{part}: accuracy {scored['accuracy']:.4f}, macro-F1 (N S V F) {scored['macro_f1_nsvf']:.4f}, {seconds:.0f} s"
    )


def columns_of(history: list[dict]) -> dict[str, np.ndarray]:
    """Convert the rows of a training log to arrays (epochs,), for storage."""
    return {k: np.array([row[k] for row in history]) for k in history[0]}


def part_history(run: RunFolder, part: str, seed: int, fold: int | None = None) -> list[dict]:
    """Return a stored fold's rows of history.csv."""
    stored = run.load_part(part)
    names = [k for k in stored if stored[k].shape == stored["epoch"].shape]
    where = {"seed": seed} if fold is None else {"seed": seed, "fold": fold}
    return [{**where, **{k: stored[k][i].item() for k in names}} for i in range(len(stored["epoch"]))]


def write_beats(
    run: RunFolder,
    beats: dict[str, np.ndarray],
    models: dict[str, np.ndarray],
    seeds: tuple[int, ...],
    boosted: np.ndarray | None,
    **columns: np.ndarray,
) -> None:
    """Write the predictions of the models and of the baselines without waveforms.

    Args:
        run: run folder.
        beats: scored beats, as `get_all_beats` returns them.
        models: probabilities (seeds, n, 5) by name of the model.
        seeds: seeds of the models.
        boosted: probabilities (n, 5) of `boosting_on_rhythm`; None for no baselines.
        **columns: further arrays (n,) to store.
    """
    truth = {k: beats[k] for k in ("record", "subject", "sample")} | {"y_true": beats["label"], **columns}
    for name, probabilities in models.items():
        run.write_predictions(name, **truth, probabilities=probabilities, seeds=np.array(seeds))
    if boosted is not None:
        for name, baseline in (("majority_class", majority_class(len(boosted))), ("gradient_boosting_rr", boosted)):
            run.write_predictions(name, **truth, probabilities=baseline[None].astype(np.float16), seeds=np.array([0]))


def headline(run: RunFolder, metrics: dict) -> str:
    """Format the final message: scores, and the path of the report."""
    scores = metrics["model"]
    names = (("accuracy", "accuracy"), ("macro_f1_nsvf", "macro-F1 (N S V F)"))
    shown = ", ".join(f"{title} {scores[k]['mean']:.3f}" for k, title in names)
    return f"{run.path.name}: {shown}\nreport: {run.path / 'report.html'}"


def selection_note(config: Config, test: tuple[str, ...]) -> str:
    """Describe which records the configuration was selected on, and whether any of them is scored."""
    chosen_on = config.evaluation.selected_on
    if not chosen_on:
        return "evaluation.selected_on is empty: the configuration was selected on no record of this database"
    text = f"configuration selected by cross-validation within records {' '.join(chosen_on)}"
    scored = [r for r in test if r in chosen_on]
    if not scored:
        return f"{text}, none of which is scored; each test beat is predicted once per seed"
    return (
        f"{text}; {len(scored)} of the {len(test)} scored records are among them (their scores may be optimistic), "
        "though no model was trained on a scored subject"
    )


def seen_unlabelled(config: Config, records: Iterable[str]) -> str:
    """Describe which scored records are in the encoder's pretraining set (unlabelled); empty for none."""
    weights, scored = config.model.options.get("weights"), set(records)
    if not weights or config.model.options.get("random"):
        return ""
    seen = read_contract(weights).seen.get(config.database.name)
    if seen and seen.get("named"):
        scored &= set(seen["named"])
    return f"{weights} was pretrained on {len(scored):,} of the scored records" if seen and scored else ""


def check_two_classes(labels: np.ndarray, what: str) -> None:
    """Raise `InputError` if the training data has only one class."""
    if len(np.unique(labels)) < 2:
        raise InputError(what, "beats of one class", "beats of at least two classes", "add records")
