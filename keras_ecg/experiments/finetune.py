"""Learning from labels on a pretrained encoder, with its baselines, over many draws: normal beats or the rest."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.label_draws import Draw, draw_beats, protocol_records
from keras_ecg.data.tfrecords import data_fingerprint, read_manifest
from keras_ecg.errors import InputError
from keras_ecg.evaluation.few_labels import rounded
from keras_ecg.experiments.embed import run_embed
from keras_ecg.experiments.finetune_superclasses import run_finetune_superclasses
from keras_ecg.experiments.predictors import Beats, Probe, Training, feature_blocks, read_beats
from keras_ecg.experiments.probe import run_probe
from keras_ecg.experiments.study import columns_of, needed_weights, open_folder, seen_unlabelled, with_weights
from keras_ecg.experiments.superclasses import run_superclasses
from keras_ecg.probing import draw_labels, halves
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

IGNORED = ("windows", "tuning", "augment", "sequences", "evaluation")


def predictors(config: Config, beats: Beats) -> Iterator[tuple[str, Probe | Training]]:
    """The model and its baselines, by name."""
    wanted = config.finetuning
    probes = [name for name in ("random_init", "raw_signal", "rr_features") if name in wanted.baselines]
    if wanted.objective == "finetune":
        yield "model", Training(config, beats, pretrained=True)
    for name in ["model"] * (wanted.objective == "probe") + probes:
        yield name, Probe(partial(feature_blocks, config, beats, name), beats)
    if "scratch" in wanted.baselines:
        yield "scratch", Training(config, beats, pretrained=False)


def labelled_beats(config: Config, beats: Beats, draw: Draw, count: int, seed: int) -> np.ndarray:
    """Indices of the beats whose labels are given: balanced, uniform over the pool of each class, by seed.

    Raises:
        InputError: more labels than the pool has beats of a class.
    """
    if not count:
        return draw.pool
    per_class = {0: count, 1: count} if config.finetuning.protocol == "intra_patient" else halves(count)
    there = np.bincount(beats.abnormal[draw.pool], minlength=2)
    if any(there[k] < wanted for k, wanted in per_class.items()):
        found = f"{count} labels, of {there[0]} normal and {there[1]} other beats in the pool of seed {seed}"
        raise InputError("finetuning.labels", found, "at most as many", "lower it, or pack more records")
    return draw.pool[draw_labels(beats.abnormal[draw.pool], per_class, seed)]


def run_few_labels(config: Config) -> RunFolder:
    """Learns from few labels by the configured protocol, once for each number of labels and each seed.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, beats that break their contract, a missing record, fewer beats than labels, or
            `training.data_parallel`.
    """
    wanted, weights = config.finetuning, needed_weights(config)
    if config.training.data_parallel:
        raise InputError("training.data_parallel", "true", "false: a few labels fit on one device", "leave it out")
    if unknown := set(wanted.scratch_labels) - set(wanted.labels):
        found = f"{', '.join(map(str, sorted(unknown)))}"
        raise InputError("finetuning.scratch_labels", found, f"some of {wanted.labels}", "correct it")
    manifest = read_manifest(config.database.tfrecord_dir)
    records = protocol_records(config, list(manifest["records"]))
    data = with_weights(config, data_fingerprint(manifest, list(records)))
    details = {"kind": "few_labels", "seeds": list(wanted.seeds), "data_notes": manifest["notes"]}
    run = open_folder(config, f"fewshot_{wanted.protocol}", IGNORED, data, details)
    if run.finished:
        return run
    prepare_backend(config)
    beats = read_beats(config, records)
    draws = {seed: draw_beats(config, beats.columns, seed) for seed in wanted.seeds}
    scored = np.unique(np.concatenate([draw.test for draw in draws.values()]))
    stored = (
        np.arange(len(beats.abnormal)) if wanted.protocol == "intra_patient" else scored
    )  # there any beat may be drawn
    history = []
    for name, predictor in predictors(config, beats):
        sizes = wanted.scratch_labels if name == "scratch" and wanted.scratch_labels else wanted.labels
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
            print(f"{name}: seed {seed} of {len(draws)} done", flush=True)
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
    """What `keras_ecg.evaluation.few_labels` wants of one predictor, with each number of labels of `sizes`."""
    width = max(len(draw.test) for draw in draws.values())
    probabilities = np.zeros((len(sizes), len(draws), width, 2), np.float16)
    test_index = np.full((len(draws), width), -1, np.int32)
    for k, (seed, draw) in enumerate(draws.items()):
        test_index[k, : len(draw.test)] = np.searchsorted(stored, draw.test)
        for z, count in enumerate(sizes):
            probabilities[z, k, : len(draw.test)] = rounded(run.load_part(f"{name}_{count}_{seed}")["probability"])
    columns = {k: beats.columns[k][stored] for k in ("record", "subject", "sample")}
    double = 2 if config.finetuning.protocol == "intra_patient" else 1  # there the sizes are those of each class
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
    """The lines that the script ends with: scores by number of labels, alarms, the report."""
    lines = [f"{run.path.name}:"]
    for size, scores in metrics["model"]["labels"].items():
        shown = ", ".join(f"{m.replace('_', '-')} {scores[m]['mean']:.3f}" for m in ("accuracy", "macro_f1", "auroc"))
        lines.append(f"  {size} labels: {shown}")
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    return "\n".join([*lines, f"report: {run.path / 'report.html'}"])


def study_of(config: Config) -> Callable[[Config], RunFolder]:
    """The study of a protocol and an objective.

    Raises:
        InputError: the protocol has no study of this objective.
    """
    wanted = config.finetuning
    few = {"probe": run_few_labels, "finetune": run_few_labels}
    studies = {
        "split": {"probe": run_probe},
        "superclasses": {
            "probe": run_superclasses,
            "finetune": run_finetune_superclasses,
            "embed": run_embed,
            "triplet": run_embed,
        },
    }.get(wanted.protocol, few)
    if wanted.objective not in studies:
        found = f"{wanted.objective}, of protocol {wanted.protocol}"
        do = "give --config configs/ptbxl_probe.yaml, whose protocol has all of them, or another --objective"
        raise InputError("finetuning.objective", found, f"one of {', '.join(studies)}", do)
    return studies[wanted.objective]
