"""Linear probe of a frozen encoder on all labels of a split's training records (N S V F Q), with baselines."""

import logging

import numpy as np

from keras_ecg.baselines import majority_class
from keras_ecg.config import Config
from keras_ecg.data.label_draws import draw_normal
from keras_ecg.data.splits import resolve_split
from keras_ecg.data.tfrecords import data_fingerprint, read_manifest
from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.experiments.common import (
    headline,
    open_run,
    packed_subjects,
    required_weights,
    seen_unlabelled,
    selection_note,
    with_weights,
)
from keras_ecg.experiments.predictors import feature_blocks, read_beats
from keras_ecg.probing import fit_probe, standardized
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

logger = logging.getLogger(__name__)

IGNORED = ("windows", "tuning", "augment", "sequences", "training")


def run_probe(config: Config) -> RunFolder:
    """Fit a linear probe on the configured split's training records, and score it on the test records.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, beats that do not meet their input specification, or a split with a shared subject.
    """
    weights, settings = required_weights(config), config.finetuning
    split, manifest = resolve_split(config, packed_subjects(config)), read_manifest(config.database.tfrecord_dir)
    records = (*split.train, *split.test)
    data = with_weights(config, data_fingerprint(manifest, sorted(records)))
    details = {"kind": "beats", "seeds": list(settings.seeds), "data_notes": manifest["notes"]}
    run = open_run(config, f"probe_{split.name}", IGNORED, data, details)
    if run.finished:
        return run
    prepare_backend(config)
    beats = read_beats(config, records)
    label, record = beats.columns["label"], beats.columns["record"]
    train, test = (np.flatnonzero(np.isin(record, side)) for side in (split.train, split.test))
    truth = {k: beats.columns[k][test] for k in ("record", "subject", "sample")} | {"y_true": label[test]}
    names = tuple(
        name for name in ("model", "random_init", "raw_signal", "rr_features") if name in ("model", *settings.baselines)
    )
    history = []
    for name in names:
        parts = [f"{name}_{seed}" for seed in settings.seeds]
        if not all(map(run.has_part, parts)):
            scaled = standardized(feature_blocks(config, beats, name), train)
        found = []
        for seed, part in zip(settings.seeds, parts, strict=True):
            if not run.has_part(part):
                drawn = draw_normal(label, train, settings.normal_beats, seed)
                model = fit_probe(scaled[drawn], label[drawn], record[drawn], seed, balanced=False)
                probabilities = np.zeros((len(test), len(CLASSES)), np.float32)
                probabilities[:, model.classes_] = model.predict_proba(scaled[test])
                run.save_part(part, probabilities=probabilities, strength=np.array(model.C))
            stored = run.load_part(part)
            found.append(stored["probabilities"])
            history.append({"predictor": name, "seed": seed, "epoch": 1, "strength": float(stored["strength"])})
            logger.info("%s: seed %d done", name, seed)
        run.write_predictions(name, **truth, probabilities=np.stack(found), seeds=np.array(settings.seeds))
    constant = majority_class(len(test))[np.newaxis].astype(np.float16)
    run.write_predictions("majority_class", **truth, probabilities=constant, seeds=np.array([0]))
    run.write_history(history)
    regularization = "regularization selected by cross-validation over the training records"
    note = f"{selection_note(config, split.test)}; {regularization}"
    details = {"selection": note, "weights": weights, "seen_unlabelled": seen_unlabelled(config, split.test)}
    print(headline(run, run.finish(train=list(split.train), test=list(split.test), **details)))
    return run
