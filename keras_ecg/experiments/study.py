"""What the studies share: the run folder of a configuration, and one fitted and scored part of it."""

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

# Settings that change no result, and settings younger than published runs, which at their defaults change none.
WITHOUT_EFFECT = {"evaluation": ("jobs",)}
ALONE = ("adaptation",)  # sections on which a single study depends
LATER = {"model": ("ensemble_members",), "training": ("gradient_accumulation", "data_parallel", "ensemble_size")}


def packed_subjects(config: Config) -> dict[str, str]:
    """Record to subject, of every packed record."""
    return {r: entry["subject"] for r, entry in read_manifest(config.database.tfrecord_dir)["records"].items()}


def check_contract(config: Config) -> None:
    """Rejects a configuration that feeds a pretrained encoder anything but what its contract says.

    Raises:
        InputError: names the setting, and what the contract wants.
    """
    weights = config.model.options.get("weights")
    if not weights:
        return
    contract, context = read_contract(weights), config.beats.context
    wanted = Context(contract.window_seconds, contract.sampling_rate_hz, contract.bandpass_hz)
    if context != wanted:
        given = {k: v for k, v in to_dict(wanted).items() if to_dict(context)[k] != v}
        raise InputError("beats.context", str(to_dict(context)), f"{given} of {weights}", "set them, preprocess, pack")
    known = (*contract.leads, *contract.fallback_leads)
    if config.beats.lead not in known or contract.leads_at_once != 1:
        found = f"lead {config.beats.lead}, alone"
        raise InputError("beats.lead", found, f"{contract.leads_at_once} of {', '.join(known)}", "set another one")


def with_weights(config: Config, data: str) -> str:
    """A fingerprint of data, and of the pretrained encoder where the configuration names one."""
    weights = config.model.options.get("weights")
    return fingerprint([data, sha256(find_encoder(weights) / "encoder.keras")]) if weights else data


def needed_weights(config: Config) -> str:
    """The name of the pretrained encoder that a study needs.

    Raises:
        InputError: none is named, there is none of that name, or `check_contract`.
    """
    weights = config.model.options.get("weights")
    if not weights:
        raise InputError("model.options.weights", "none", "a pretrained encoder", "give --weights")
    check_contract(config)
    return str(weights)


def decisive(settings: dict) -> dict:
    """Plain settings without those of `WITHOUT_EFFECT`, and those of `LATER` that stand at their defaults."""
    defaults, out = to_dict(Config()), {}
    for section, values in settings.items():
        if isinstance(values, dict):
            same = {k for k in LATER.get(section, ()) if values[k] == defaults[section][k]}
            values = {k: v for k, v in values.items() if k not in {*same, *WITHOUT_EFFECT.get(section, ())}}
        out[section] = values
    return out


def settings_of(config: Config, ignored: tuple[str, ...]) -> dict:
    """What a result depends on: every section but the ignored ones, without names of folders."""
    if config.task != "rhythm":
        ignored = ("task", "rhythm", *ignored)
    out = {k: v for k, v in to_dict(config).items() if k not in ("title", "database", "tracking", *ignored)}
    if "windows" in out:
        places = {"tfrecord_dir": "", "sources": [{**source, "folder": ""} for source in out["windows"]["sources"]]}
        out["windows"] = {**out["windows"], **places}
    if "rhythm" in out:
        out["rhythm"] = {**out["rhythm"], "tfrecord_dir": ""}
    return decisive(out)


def open_folder(
    config: Config, study: str, ignored: tuple[str, ...], data: str, details: dict, own: str = ""
) -> RunFolder:
    """The run folder of a study under a configuration: the one there is for the same data and settings, or a new one.

    Args:
        config: its sections, but for the ignored ones, are what the result depends on.
        study: names it.
        ignored: sections on which the result does not depend.
        data: fingerprint of what it is computed from.
        details: for environment.json.
        own: the section of `ALONE` that is not ignored.

    Raises:
        InputError: no job, or as `check_devices`.
    """
    check_devices(config.training, config.loader.batch_size)
    if config.evaluation.jobs < 1:
        raise InputError("evaluation.jobs", str(config.evaluation.jobs), "at least 1", "correct it")
    run = find_or_create(
        config.database.runs_dir,
        study,
        config.model.name,
        fingerprint([study, settings_of(config, (*ignored, *(s for s in ALONE if s != own))), data, __version__]),
        to_dict(config),
        shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        {"data_hashes": data} | details,
    )
    if run.finished:
        print(f"{run.path}: finished before under the same data and settings; nothing to do")
    return run


def open_study(
    config: Config, study: str, records: tuple[str, ...], seeds: tuple[int, ...], own: str = ""
) -> RunFolder:
    """`open_folder` for a study of beats; `own` names the section of `ALONE` that is its own.

    Raises:
        InputError: no such model, or no such hyperparameter; as `check_training` and `open_folder`.
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
    return open_folder(config, study, ignored, data, details, own)


def fit_part(
    run: RunFolder, part: str, train: tuple[str, ...], test: tuple[str, ...], config: Config, seed: int, keep: bool
) -> None:
    """Trains on `train` with `seed`, predicts `test` once, and stores the part, unless it is stored already.

    Args:
        run: the run folder.
        part: its name in it.
        train: training records.
        test: test records.
        config: of model, training and stream.
        seed: of everything random.
        keep: whether the model is saved in the run folder.
    """
    if run.has_part(part) and (not keep or (run.path / "model.keras").is_file()):
        print(f"{run.path.name}: {part} is done")
        return
    print(f"{run.path.name}: {part}: training on {len(train)} records, scoring {len(test)}", flush=True)
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
    print(
        f"{part}: accuracy {scored['accuracy']:.4f}, macro-F1 (N S V F) {scored['macro_f1_nsvf']:.4f}, {seconds:.0f} s",
        flush=True,
    )


def columns_of(history: list[dict]) -> dict[str, np.ndarray]:
    """Rows of a history as arrays (epochs,), as a part stores them."""
    return {k: np.array([row[k] for row in history]) for k in history[0]}


def part_history(run: RunFolder, part: str, seed: int, fold: int | None = None) -> list[dict]:
    """A stored part's rows of history.csv."""
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
    """Writes the predictions of scored beats, and of the baselines that never look at a waveform.

    Args:
        run: the run folder.
        beats: `get_all_beats` of those that are scored.
        models: probabilities (seeds, n, 5) of the model and of what was trained beside it, by name.
        seeds: theirs.
        boosted: probabilities (n, 5) of `boosting_on_rhythm`; None for no baselines.
        **columns: whatever else is stored of each beat.
    """
    truth = {k: beats[k] for k in ("record", "subject", "sample")} | {"y_true": beats["label"], **columns}
    for name, probabilities in models.items():
        run.write_predictions(name, **truth, probabilities=probabilities, seeds=np.array(seeds))
    if boosted is not None:
        for name, baseline in (("majority_class", majority_class(len(boosted))), ("gradient_boosting_rr", boosted)):
            run.write_predictions(name, **truth, probabilities=baseline[None].astype(np.float16), seeds=np.array([0]))


def headline(run: RunFolder, metrics: dict) -> str:
    """The lines that a script ends with."""
    scores = metrics["model"]
    names = (("accuracy", "accuracy"), ("macro_f1_nsvf", "macro-F1 (N S V F)"))
    shown = ", ".join(f"{title} {scores[k]['mean']:.3f}" for k, title in names)
    return f"{run.path.name}: {shown}\nreport: {run.path / 'report.html'}"


def selection_note(config: Config, test: tuple[str, ...]) -> str:
    """What the configuration was chosen on, and whether any of that is scored here."""
    chosen_on = config.evaluation.selected_on
    if not chosen_on:
        return "the configuration was chosen on no record of this database, or does not say on which"
    text = f"configuration chosen by cross-validation inside records {' '.join(chosen_on)}"
    scored = [r for r in test if r in chosen_on]
    if not scored:
        return f"{text}, none of which is scored; each test beat predicted once per seed"
    return (
        f"{text}; {len(scored)} of the {len(test)} scored records are among them (their scores may be optimistic), "
        "though no model was trained on a scored subject"
    )


def seen_unlabelled(config: Config, records: Iterable[str]) -> str:
    """What a pretrained encoder saw, without labels, of the records that a study scores; empty for nothing."""
    weights, scored = config.model.options.get("weights"), set(records)
    if not weights or config.model.options.get("random"):
        return ""
    seen = read_contract(weights).seen.get(config.database.name)
    if seen and seen.get("named"):
        scored &= set(seen["named"])
    return f"{weights} was pretrained on {len(scored):,} of them, without labels" if seen and scored else ""


def need_labels(labels: np.ndarray, what: str) -> None:
    """Rejects training data of a single class."""
    if len(np.unique(labels)) < 2:
        raise InputError(what, "beats of one class", "at least two classes to tell apart", "add records")
