"""Few-label learning on a pretrained encoder: binary normal/abnormal beats, with baselines and repeated label draws."""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.label_draws import Draw, draw_beats, protocol_records
from keras_ecg.data.tfrecords import data_fingerprint, read_manifest
from keras_ecg.errors import InputError
from keras_ecg.evaluation.few_labels import rounded
from keras_ecg.experiments.common import columns_of, open_run, required_weights, seen_unlabelled, with_weights
from keras_ecg.experiments.embed import run_embed
from keras_ecg.experiments.finetune_superclasses import run_finetune_superclasses
from keras_ecg.experiments.predictors import Beats, Probe, Training, feature_blocks, read_beats
from keras_ecg.experiments.probe import run_probe
from keras_ecg.experiments.superclasses import run_superclasses
from keras_ecg.probing import balanced_counts, draw_labels
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

logger = logging.getLogger(__name__)

IGNORED = ("windows", "tuning", "augment", "sequences", "evaluation")


def predictors(config: Config, beats: Beats) -> Iterator[tuple[str, Probe | Training]]:
    """Yield the model and its baselines, by name."""
    settings = config.finetuning
    probes = [name for name in ("random_init", "raw_signal", "rr_features") if name in settings.baselines]
    if settings.objective == "finetune":
        yield "model", Training(config, beats, pretrained=True)
    for name in ["model"] * (settings.objective == "probe") + probes:
        yield name, Probe(partial(feature_blocks, config, beats, name), beats)
    if "scratch" in settings.baselines:
        yield "scratch", Training(config, beats, pretrained=False)


def labelled_beats(config: Config, beats: Beats, draw: Draw, count: int, seed: int) -> np.ndarray:
    """Draw the labelled beats, balanced between both classes, and return their indices; `count` 0 for the whole pool.

    Raises:
        InputError: more labels than the pool has beats of a class.
    """
    if not count:
        return draw.pool
    per_class = {0: count, 1: count} if config.finetuning.protocol == "intra_patient" else balanced_counts(count)
    available = np.bincount(beats.abnormal[draw.pool], minlength=2)
    if any(available[k] < number for k, number in per_class.items()):
        pool = f"{available[0]} normal and {available[1]} abnormal beats in the pool of seed {seed}"
        expected = "at most the number of beats"
        raise InputError("finetuning.labels", f"{count} labels, {pool}", expected, "lower it, or pack more records")
    return draw.pool[draw_labels(beats.abnormal[draw.pool], per_class, seed)]


def run_few_labels(config: Config) -> RunFolder:
    """Train on few labels by the configured protocol, once for each number of labels and each seed.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, beats that do not meet their input specification, a missing record, fewer beats than
            labels, or `training.data_parallel`.
    """
    settings, weights = config.finetuning, required_weights(config)
    if config.training.data_parallel:
        expected = "false: training on few labels uses one device"
        raise InputError("training.data_parallel", "true", expected, "set it to false")
    if unknown := set(settings.scratch_labels) - set(settings.labels):
        found = f"{', '.join(map(str, sorted(unknown)))}"
        raise InputError("finetuning.scratch_labels", found, f"some of {settings.labels}", "correct it")
    manifest = read_manifest(config.database.tfrecord_dir)
    records = protocol_records(config, list(manifest["records"]))
    data = with_weights(config, data_fingerprint(manifest, list(records)))
    details = {"kind": "few_labels", "seeds": list(settings.seeds), "data_notes": manifest["notes"]}
    run = open_run(config, f"fewshot_{settings.protocol}", IGNORED, data, details)
    if run.finished:
        return run
    prepare_backend(config)
    beats = read_beats(config, records)
    draws = {seed: draw_beats(config, beats.columns, seed) for seed in settings.seeds}
    scored = np.unique(np.concatenate([draw.test for draw in draws.values()]))
    # With the intra-patient protocol every beat may be in a test set.
    stored = np.arange(len(beats.abnormal)) if settings.protocol == "intra_patient" else scored
    history = []
    for name, predictor in predictors(config, beats):
        sizes = settings.scratch_labels if name == "scratch" and settings.scratch_labels else settings.labels
        for seed, draw in draws.items():
            for count in sizes:
                part = f"{name}_{count}_{seed}"
                if not run.has_part(part):
                    labelled = labelled_beats(config, beats, draw, count, seed)
                    found, rows = predictor.fit_predict(config, draw, labelled, seed)
                    run.save_part(part, probability=found.astype(np.float32), **columns_of(rows))
                columns = run.load_part(part)
                columns.pop("probability")
                where = {"predictor": name, "labels": count, "seed": seed}
                history += [where | {k: v[e].item() for k, v in columns.items()} for e in range(len(columns["epoch"]))]
            logger.info("%s: seed %d of %d done", name, seed, len(draws))
        run.write_arrays(name, **prediction_arrays(run, name, sizes, config, beats, draws, stored))
    run.write_history(history)
    seen = seen_unlabelled(config, beats.columns["record"][scored])
    metrics = run.finish(weights=str(weights), records=list(records), seen_unlabelled=seen)
    print(headline(run, metrics))
    return run


def prediction_arrays(
    run: RunFolder,
    name: str,
    sizes: tuple[int, ...],
    config: Config,
    beats: Beats,
    draws: dict[int, Draw],
    stored: np.ndarray,
) -> dict[str, np.ndarray]:
    """Collect the arrays for `keras_ecg.evaluation.few_labels` of one predictor, for the numbers of labels `sizes`."""
    width = max(len(draw.test) for draw in draws.values())
    probabilities = np.zeros((len(sizes), len(draws), width, 2), np.float16)
    test_index = np.full((len(draws), width), -1, np.int32)
    for k, (seed, draw) in enumerate(draws.items()):
        test_index[k, : len(draw.test)] = np.searchsorted(stored, draw.test)
        for z, count in enumerate(sizes):
            probabilities[z, k, : len(draw.test)] = rounded(run.load_part(f"{name}_{count}_{seed}")["probability"])
    columns = {k: beats.columns[k][stored] for k in ("record", "subject", "sample")}
    double = 2 if config.finetuning.protocol == "intra_patient" else 1  # its numbers of labels are per class
    out = {
        **columns,
        "y_true": beats.abnormal[stored],
        "labels_total": np.array([double * count for count in sizes]),
        "seeds": np.array(list(draws)),
        "probabilities": probabilities,
    }
    if any(len(draw.test) < len(stored) for draw in draws.values()):
        out["test_index"] = test_index
    return out


def headline(run: RunFolder, metrics: dict) -> str:
    """Format the final message: scores by number of labels, alarms, and the path of the report."""
    lines = [f"{run.path.name}:"]
    for size, scores in metrics["model"]["labels"].items():
        shown = ", ".join(f"{m.replace('_', '-')} {scores[m]['mean']:.3f}" for m in ("accuracy", "macro_f1", "auroc"))
        lines.append(f"  {size} labels: {shown}")
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    return "\n".join([*lines, f"report: {run.path / 'report.html'}"])


def study_of(config: Config) -> Callable[[Config], RunFolder]:
    """Select the function that runs the configured protocol and objective.

    Raises:
        InputError: the protocol does not support the objective.
    """
    settings = config.finetuning
    few = {"probe": run_few_labels, "finetune": run_few_labels}
    experiments = {
        "split": {"probe": run_probe},
        "superclasses": {
            "probe": run_superclasses,
            "finetune": run_finetune_superclasses,
            "embed": run_embed,
            "triplet": run_embed,
        },
    }.get(settings.protocol, few)
    if settings.objective not in experiments:
        found = f"{settings.objective} with protocol {settings.protocol}"
        do = "give another --objective, or --config ptbxl_probe, whose protocol supports all objectives"
        raise InputError("finetuning.objective", found, f"one of {', '.join(experiments)}", do)
    return experiments[settings.objective]
