"""Learning from few labels on a pretrained encoder, with its controls, over many draws: normal beats or the rest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np

from keras_ecg import cli
from keras_ecg.config import Config
from keras_ecg.data.label_draws import Draw, draw_beats, protocol_records
from keras_ecg.data.pipeline import create_dataset, get_all_beats
from keras_ecg.data.tfrecords import data_fingerprint, label_position, read_manifest
from keras_ecg.encoders import load_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation.few_labels import rounded
from keras_ecg.experiments.study import check_contract, open_folder
from keras_ecg.files import fingerprint, sha256
from keras_ecg.models import build_model
from keras_ecg.models.loading import find_encoder
from keras_ecg.probing import draw_labels, embed_beats, fit_probe, halves, relative_to_record, standardized
from keras_ecg.runs import RunFolder
from keras_ecg.training import adamw, prepare_backend

IGNORED = ("windows", "tuning", "augment", "sequences", "evaluation")
RAW_SECONDS = 0.5  # on each side of the beat, of the control that sees samples


@dataclass(frozen=True)
class Beats:
    """All beats of a protocol's records."""

    columns: dict[str, np.ndarray]  # record, subject, sample, label (n,)
    windows: np.ndarray  # (n, T, 1) float16, z-scored
    rhythm: np.ndarray  # (n, R)

    @property
    def abnormal(self) -> np.ndarray:
        """(n,) int: 0 for N, 1 for the rest."""
        return (self.columns["label"] > 0).astype(int)


def read_beats(config: Config, records: tuple[str, ...]) -> Beats:
    """Reads the windows and rhythm features of all beats."""
    loader = replace(
        config.loader, scalograms=False, context=True, rr_features=True, waveforms=False, difference_quantiles=False
    )
    wanted, position = replace(config, loader=loader), label_position(config.sequences)
    windows, rhythm = [], []
    for inputs, _ in create_dataset(list(records), wanted, 1024, False).as_numpy_iterator():
        windows.append(inputs["context"].astype(np.float16))
        rhythm.append(inputs["rr"][:, position])
    return Beats(get_all_beats(list(records), wanted), np.concatenate(windows), np.concatenate(rhythm))


class Probe:
    """Logistic regression on frozen features (n, K), its regularization chosen inside the given labels."""

    def __init__(self, features: np.ndarray, beats: Beats):
        self.features, self.beats = features, beats
        self.scaled_for: np.ndarray | None = None

    def fit_predict(self, config: Config, draw: Draw, labelled: np.ndarray, seed: int) -> tuple[np.ndarray, list[dict]]:
        """The probability that each scored beat is abnormal, and the rows of history.csv.

        Args:
            config: of the study.
            draw: whose pool, unlabelled, standardizes the features.
            labelled: indices of the labelled beats.
            seed: of the cross-validation's folds.
        """
        if self.scaled_for is not draw.pool:
            self.scaled_for, self.scaled = draw.pool, standardized(self.features, draw.pool)
        record = self.beats.columns["record"][labelled]
        model = fit_probe(self.scaled[labelled], self.beats.abnormal[labelled], record, seed)
        return model.predict_proba(self.scaled[draw.test])[:, 1], [{"epoch": 1, "strength": model.C}]


class Training:
    """End-to-end training of the configured classifier, from its weights or from random ones."""

    def __init__(self, config: Config, beats: Beats, pretrained: bool):
        self.beats = beats
        self.options = config.model.options | ({} if pretrained else {"random": True, "frozen_stages": 0})

    def inputs(self, index: np.ndarray, config: Config) -> dict[str, np.ndarray]:
        """What the classifier takes of the beats at `index`."""
        out = {"context": self.beats.windows[index].astype(np.float32)}
        return out | {"rr": self.beats.rhythm[index][:, np.newaxis]} if config.finetuning.rhythm else out

    def fit_predict(self, config: Config, draw: Draw, labelled: np.ndarray, seed: int) -> tuple[np.ndarray, list[dict]]:
        """As `Probe.fit_predict`; stops early where the draw has beats to validate on."""
        keras.utils.set_random_seed(seed)
        training, size = config.training, min(config.loader.batch_size, len(labelled))
        x, y = self.inputs(labelled, config), self.beats.abnormal[labelled]
        model = build_model(config.model.name, {k: v.shape[1:] for k, v in x.items()}, 0, 2, self.options)
        steps = -(-len(labelled) // size) * training.epochs
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)
        model.compile(adamw(training, steps), loss, metrics=["accuracy"], jit_compile=training.jit_compile)
        callbacks, held = [keras.callbacks.TerminateOnNaN()], None
        if len(draw.validation):
            held = (
                self.inputs(draw.validation, config),
                keras.utils.to_categorical(self.beats.abnormal[draw.validation], 2),
            )
            callbacks.append(
                keras.callbacks.EarlyStopping(patience=config.finetuning.patience, restore_best_weights=True)
            )
        counts = np.bincount(y, minlength=2)
        weights = dict(enumerate(len(y) / (2 * np.maximum(counts, 1))))
        history = model.fit(
            x, keras.utils.to_categorical(y, 2), batch_size=size, epochs=training.epochs, class_weight=weights,
            validation_data=held, callbacks=callbacks, verbose=0,
        ).history  # fmt: skip
        if not np.isfinite(history["loss"]).all():
            raise InputError("training", "a loss that is not a number", "a finite one", "lower training.learning_rate")
        rows = [{"epoch": e + 1, **{k: v[e] for k, v in history.items()}} for e in range(len(history["loss"]))]
        parts = np.array_split(draw.test, -(-len(draw.test) // 512))
        return np.concatenate([model.predict_on_batch(self.inputs(part, config))[:, 1] for part in parts]), rows


def feature_sets(config: Config, beats: Beats, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The features (n, K) of each named probe: `model`, `untrained`, `raw`, `rhythm`."""
    wanted, record = config.finetuning, beats.columns["record"]
    for name in names:
        if name == "rhythm":
            yield name, beats.rhythm
            continue
        if name == "raw":
            context = config.beats.context
            middle, reach = beats.windows.shape[1] // 2, round(RAW_SECONDS * context.sampling_rate_hz)
            features = beats.windows[:, middle - reach : middle + reach, 0]
        else:
            encoder = load_encoder(config.model.options["weights"]).model
            if name == "untrained":
                keras.utils.set_random_seed(0)
                encoder = keras.models.clone_model(encoder)
            print(f"{name}: embedding {len(record)} beats", flush=True)
            features = embed_beats(encoder, beats.windows, config.beats.context.sampling_rate_hz)
        if wanted.relative:
            features = relative_to_record(features, record)
        yield name, np.concatenate([features, beats.rhythm], 1) if wanted.rhythm else features


def predictors(config: Config, beats: Beats) -> Iterator[tuple[str, Probe | Training]]:
    """The model and its controls, by name."""
    wanted = config.finetuning
    probes = [name for name in ("untrained", "raw", "rhythm") if name in wanted.controls]
    if wanted.mode == "train":
        yield "model", Training(config, beats, pretrained=True)
    for name, features in feature_sets(config, beats, tuple(["model"] * (wanted.mode == "probe") + probes)):
        yield name, Probe(features, beats)
    if "scratch" in wanted.controls:
        yield "scratch", Training(config, beats, pretrained=False)


def labelled_beats(config: Config, beats: Beats, draw: Draw, count: int, seed: int) -> np.ndarray:
    """Indices of the beats whose labels are given: balanced, uniform over the pool of each class, by seed."""
    if not count:
        return draw.pool
    per_class = {0: count, 1: count} if config.finetuning.protocol == "random" else halves(count)
    return draw.pool[draw_labels(beats.abnormal[draw.pool], per_class, seed)]


def run_few_labels(config: Config) -> RunFolder:
    """Learns from few labels by the configured protocol, once for each number of labels and each seed.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, beats that break their contract, a missing record, or fewer beats than labels.
    """
    wanted, weights = config.finetuning, config.model.options.get("weights")
    if not weights:
        raise InputError("model.options.weights", "none", "a pretrained encoder", "give --weights")
    check_contract(config)
    manifest = read_manifest(config.database.tfrecord_dir)
    records = protocol_records(config, list(manifest["records"]))
    data = fingerprint([data_fingerprint(manifest, list(records)), sha256(find_encoder(weights) / "encoder.keras")])
    run = open_folder(config, f"fewshot_{wanted.protocol}", IGNORED, data, {"seeds": list(wanted.seeds)})
    if run.finished:
        return run
    prepare_backend(config)
    beats = read_beats(config, records)
    draws = {seed: draw_beats(config, beats.columns, seed) for seed in wanted.seeds}
    stored = np.unique(np.concatenate([draw.test for draw in draws.values()]))
    history = []
    for name, predictor in predictors(config, beats):
        for seed, draw in draws.items():
            for count in wanted.labels:
                part = f"{name}_{count}_{seed}"
                if not run.has_part(part):
                    labelled = labelled_beats(config, beats, draw, count, seed)
                    found, rows = predictor.fit_predict(config, draw, labelled, seed)
                    columns = {k: np.array([row[k] for row in rows]) for k in rows[0]}
                    run.save_part(part, probability=found.astype(np.float32), **columns)
                columns = run.load_part(part)
                columns.pop("probability")
                where = {"predictor": name, "labels": count, "seed": seed}
                history += [where | {k: v[e].item() for k, v in columns.items()} for e in range(len(columns["epoch"]))]
            print(f"{name}: seed {seed} of {len(draws)} done", flush=True)
        run.write_arrays(name, **prediction_arrays(run, name, config, beats, draws, stored))
    run.write_history(history)
    metrics = run.finish(weights=str(weights), records=list(records))
    print(headline(run, metrics))
    return run


def prediction_arrays(
    run: RunFolder, name: str, config: Config, beats: Beats, draws: dict[int, Draw], stored: np.ndarray
) -> dict[str, np.ndarray]:
    """What `keras_ecg.evaluation.few_labels` wants of one predictor."""
    wanted, place = config.finetuning, {beat: k for k, beat in enumerate(stored.tolist())}
    width = max(len(draw.test) for draw in draws.values())
    probabilities = np.zeros((len(wanted.labels), len(draws), width, 2), np.float16)
    test_index = np.full((len(draws), width), -1, np.int32)
    for k, (seed, draw) in enumerate(draws.items()):
        test_index[k, : len(draw.test)] = [place[beat] for beat in draw.test.tolist()]
        for z, count in enumerate(wanted.labels):
            probabilities[z, k, : len(draw.test)] = rounded(run.load_part(f"{name}_{count}_{seed}")["probability"])
    columns = {k: beats.columns[k][stored] for k in ("record", "subject", "sample")}
    double = 2 if wanted.protocol == "random" else 1  # there the sizes are those of each class
    out = {
        **columns,
        "y_true": beats.abnormal[stored],
        "labels_total": np.array([double * count for count in wanted.labels]),
        "seeds": np.array(list(draws)),
        "probabilities": probabilities,
    }
    if any(len(draw.test) < len(stored) for draw in draws.values()):
        out["test_index"] = test_index
    return out


def headline(run: RunFolder, metrics: dict) -> str:
    """The lines that the script ends with: figures by number of labels, alarms, the report."""
    lines = [f"{run.path.name}:"]
    for size, figures in metrics["model"]["labels"].items():
        shown = ", ".join(f"{m.replace('_', '-')} {figures[m]['mean']:.3f}" for m in ("accuracy", "macro_f1", "auroc"))
        lines.append(f"  {size} labels: {shown}")
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    return "\n".join([*lines, f"report: {run.path / 'report.html'}"])


def main() -> None:
    parser = cli.parser(run_few_labels.__doc__.splitlines()[0], "finetune_config.yaml")
    cli.add_model(parser)
    parser.add_argument("--protocol", choices=("disjoint", "random", "subsampling", "split"))
    parser.add_argument("--mode", choices=("probe", "train"))
    parser.add_argument("--labels", nargs="+", type=int, help="numbers of labels; 0 for all")
    parser.add_argument("--seeds", nargs="+", type=int)
    args = parser.parse_args()
    config = cli.with_model(cli.config(args), args)
    given = {k: getattr(args, k) for k in ("protocol", "mode", "labels", "seeds") if getattr(args, k) is not None}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    config = replace(config, finetuning=replace(config.finetuning, **given))
    run_few_labels(config)
