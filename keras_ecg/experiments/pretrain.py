"""Self-supervised pretraining on unlabelled windows: a run folder with encoder, input specification and scores."""

import logging
import sys
from collections.abc import Callable
from functools import partial

import keras
import numpy as np

from keras_ecg.baselines import interpolate_masked
from keras_ecg.checkpoints import Checkpoint
from keras_ecg.config import Config
from keras_ecg.contract import Contract
from keras_ecg.data.splits import named_records
from keras_ecg.data.window_sources import subject_name, window_samples
from keras_ecg.data.window_stream import (
    count_windows,
    create_window_dataset,
    create_window_epochs,
    split_subjects,
    window_subjects,
)
from keras_ecg.data.windows import reject_subjects, window_manifest
from keras_ecg.databases import mitdb, ptbxl
from keras_ecg.devices import WholeEvaluation, over_devices
from keras_ecg.encoders import save_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation.pretraining import KINDS
from keras_ecg.evaluation.schema import REFERENCES
from keras_ecg.experiments.common import open_run
from keras_ecg.files import fingerprint
from keras_ecg.metrics import effective_rank
from keras_ecg.models.loading import save_model
from keras_ecg.models.mae import MaskedAutoencoder
from keras_ecg.models.objectives import build_objective, objective_config
from keras_ecg.models.vqvae import VQVAE
from keras_ecg.predictions import write_npz
from keras_ecg.quiet import bars_hidden
from keras_ecg.runs import RunFolder
from keras_ecg.training import check_finite_loss, compile_objective, prepare_backend

logger = logging.getLogger(__name__)

IGNORED = ("beats", "sequences", "augment", "tuning", "finetuning")
PICTURES = 6  # windows in the report's figure; divided by the number of leads, which are all drawn
BEGIN = 256  # training windows given to the objective before training


def test_subjects(config: Config) -> set[str]:
    """Return the subjects excluded from pretraining: the split's test subjects, and PTB-XL's folds 9 and 10."""
    _, test = named_records(config.evaluation)
    out = {subject_name("mitdb", mitdb.subject_of(record)) for record in test}
    for source in config.windows.sources:
        if source.database == "ptbxl":
            folds = (ptbxl.SELECT_FOLD, ptbxl.TEST_FOLD)
            out |= {subject_name("ptbxl", s) for s in ptbxl.patients_of_folds(source.folder, folds).values()}
    return out


class History(keras.callbacks.Callback):
    """Callback that writes history.csv after each epoch, including the epochs before training was resumed.

    Args:
        run: run folder.
        seed: seed to write in the rows.
        checkpoint: checkpoint callback, which must precede this one and keeps the logs.
    """

    def __init__(self, run: RunFolder, seed: int, checkpoint: Checkpoint):
        super().__init__()
        self.run, self.seed, self.checkpoint = run, seed, checkpoint

    def write(self) -> None:
        rows = [{"seed": self.seed, "epoch": k, **logs} for k, logs in enumerate(self.checkpoint.logs, 1)]
        self.run.write_history(rows)
        self.run.update()

    def on_train_begin(self, logs=None):
        if self.checkpoint.logs:  # the process may have been killed between the checkpoint and its row
            self.write()

    def on_epoch_end(self, epoch, logs=None):
        self.write()


class EffectiveRank(keras.callbacks.Callback):
    """Callback that logs the effective rank of the mean tokens of windows (n, T, L): 1 for collapsed representations.

    It is NaN if training has diverged and the tokens are not finite.
    """

    def __init__(self, signals: np.ndarray):
        super().__init__()
        self.signals = signals

    def on_epoch_end(self, epoch, logs=None):
        embeddings = embed(self.model.encoder, self.signals)
        logs["effective_rank"] = effective_rank(embeddings) if np.isfinite(embeddings).all() else np.nan


def embed(encoder: keras.Model, signals: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Compute the mean tokens (n, D) of windows (n, T, L), cropped to the encoder's length and number of leads."""
    samples, leads = encoder.input_shape[1:]
    return encoder.predict(signals[:, :samples, :leads], batch_size=batch_size, verbose=0).mean(1)


def trackers(run: RunFolder, config: Config) -> list[keras.callbacks.Callback]:
    """Create the callbacks configured in `tracking`: TensorBoard, Weights & Biases.

    Raises:
        InputError: Weights & Biases is configured but not installed.
    """
    out: list[keras.callbacks.Callback] = []
    if config.tracking.tensorboard:
        out.append(keras.callbacks.TensorBoard(str(run.path / "logs")))
    if config.tracking.wandb_project:
        try:
            import wandb
        except ImportError:
            found = "no package wandb"
            raise InputError("tracking.wandb_project", found, "wandb", "pip install wandb, or leave it empty") from None
        tracked = wandb.init(project=config.tracking.wandb_project, name=run.path.name, config=run.config)
        out.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tracked.log(dict(logs), step=epoch)))
    return out


def fit_objective(
    run: RunFolder, model: keras.Model, config: Config, manifest: dict, train: list[str], held_out: list[str]
) -> None:
    """Fit an objective on the windows of the training subjects, resuming from the run's last checkpoint.

    A resumed training gives the same result as an uninterrupted one.

    Raises:
        InputError: fewer windows than the batch size, a loss that is not finite, or as in `adamw`.
    """
    size, training = config.loader.batch_size, config.training
    counts = [count_windows(manifest, side) for side in (train, held_out)]
    logger.info(f"{counts[0]} windows of {len(train)} subjects; {counts[1]} of {len(held_out)} subjects held out")
    steps = counts[0] // size
    if not steps:
        found = f"{counts[0]} training windows"
        raise InputError("loader.batch_size", found, f"at least one batch of {size}", "pack more records, or lower it")
    # Shuffled, as contrastive batches need several subjects; with equal batches after each epoch.
    held = create_window_dataset(config, size, True, held_out, epoch=0)
    batches = steps * training.epochs
    compile_objective(model, training, batches)
    if hasattr(model, "begin"):
        signals = first_windows(create_window_dataset(config, size, True, train), BEGIN)
        begin(model, signals, batches, training.gradient_accumulation)
    checkpoint = Checkpoint(run.path / "parts")
    finished = checkpoint.restore(model)
    callbacks = [
        WholeEvaluation(),
        EffectiveRank(first_windows(held, 1024)),
        checkpoint,
        History(run, config.loader.seed, checkpoint),
        *trackers(run, config),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = model.fit(
        create_window_epochs(config, size, train, finished),
        initial_epoch=finished,
        epochs=training.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the stream is shuffled
        validation_data=held,
        callbacks=callbacks,
        verbose=0 if bars_hidden() else 1 if sys.stdout.isatty() else 2,
    ).history
    check_finite_loss(history.get("loss", ()))


def begin(model: keras.Model, signals: np.ndarray, batches: int, accumulated: int) -> None:
    """Call `begin` of an objective before training, see `keras_ecg.models.objectives`.

    Raises:
        InputError: too few windows.
    """
    try:
        model.begin(signals, batches, accumulated)
    except ValueError as error:
        do = "pack more records, or lower codes"
        raise InputError("model.options", str(error), "more tokens than codes", do) from error


def first_windows(stream, count: int) -> np.ndarray:
    """Return the first `count` windows (n, T, L) of a stream, or all of a shorter one."""
    found, total = [], 0
    for batch in stream.as_numpy_iterator():
        found.append(batch["signals"])
        total += len(found[-1])
        if total >= count:
            break
    return np.concatenate(found)[:count]


def window_scores(
    stream, names: np.ndarray, scores: Callable[[np.ndarray, int], dict], codes: int = 0
) -> dict[str, np.ndarray]:
    """Collect the arrays for `keras_ecg.evaluation.pretraining` of an objective that scores single windows.

    Args:
        stream: held-out windows, in order.
        names: names of the subjects.
        scores: function of signals (B, T, L) and a seed, such as a model's `scores`; equal seeds give equal masks.
        codes: number of codes, for a model with a codebook.
    """
    rows = []
    for k, batch in enumerate(stream.as_numpy_iterator()):
        found = {name: keras.ops.convert_to_numpy(v) for name, v in scores(batch["signals"], k).items()}
        rows.append({"subject": names[batch["subject"]], **found})
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    if "codes" in joined:  # the scores need only the counts
        joined["code_counts"] = np.bincount(joined.pop("codes").ravel(), minlength=codes)
    return joined


def interpolated(model: keras.Model, signals: np.ndarray, seed: int) -> dict:
    """Score the linear-interpolation baseline with the masks of a masked autoencoder."""
    mask = model(signals, training=False, seed=seed)[1]
    hidden = keras.ops.convert_to_numpy(model.reconstruct(signals, seed)[1])
    errors = model.errors(signals, model.patches(interpolate_masked(signals, hidden)), mask)
    return dict(zip(("error", "mean_error"), errors, strict=True))


def contrastive_losses(model: keras.Model, stream, names: np.ndarray, windows: int = 2048) -> dict[str, np.ndarray]:
    """Collect the arrays for `keras_ecg.evaluation.pretraining` of a contrastive model; views are seeded by batch."""
    out: dict[str, list] = {"loss": [], "log_n": [], "subject": [], "embeddings": []}
    total = 0
    for k, batch in enumerate(stream.as_numpy_iterator()):
        x = {"views": model.views(batch["signals"], seed=k), "subject": batch["subject"]}
        found = model(x, training=False)
        out["loss"].append(float(model.compute_loss(x, y_pred=found)))
        out["log_n"].append(float(model.chance(batch["subject"])))
        if total < windows:
            total += len(batch["subject"])
            out["subject"].append(names[batch["subject"]])
            out["embeddings"].append(keras.ops.convert_to_numpy(found["embeddings"])[:, 0])
    joined = {name: np.concatenate(out[name]) for name in ("subject", "embeddings")}
    return {"loss": np.array(out["loss"]), "log_n": np.array(out["log_n"]), **joined}


def score(run: RunFolder, model: keras.Model, config: Config, manifest: dict, held_out: list[str]) -> None:
    """Score the model and its baselines on the held-out windows, and write the arrays to the run folder."""
    names = np.array(window_subjects(manifest))
    random_init = build_objective(config.model.name, model_shape(config), config.model.options, config.loader.seed)
    if hasattr(model, "scores"):
        held = create_window_dataset(config, config.loader.batch_size, False, held_out)
        codes = getattr(model.config, "codes", 0)
        run.write_arrays("model", **window_scores(held, names, model.scores, codes))
        run.write_arrays("random_init", **window_scores(held, names, random_init.scores, codes))
        if isinstance(model, MaskedAutoencoder) and not model.config.normalize_targets:
            run.write_arrays("interpolation", **window_scores(held, names, partial(interpolated, model)))
        if hasattr(model, "reconstruct"):
            count = max(1, PICTURES // len(config.windows.leads))
            drawn = first_windows(create_window_dataset(config, count, True, held_out), count)
            filled, hidden = map(keras.ops.convert_to_numpy, model.reconstruct(drawn, seed=0))
            write_npz(run.path / "pictures.npz", signals=drawn, filled=filled, hidden=hidden)
    else:

        def held():  # a new stream for each model: a second pass over one stream has other batches
            return create_window_dataset(config, config.loader.batch_size, True, held_out)

        run.write_arrays("model", **contrastive_losses(model, held(), names))
        run.write_arrays("random_init", **contrastive_losses(random_init, held(), names))
        drawn = first_windows(held(), PICTURES)
        views = keras.ops.convert_to_numpy(model.views(drawn, seed=0))
        write_npz(run.path / "pictures.npz", signals=drawn, views=views)


def model_shape(config: Config) -> tuple[int, int]:
    """Return the shape (T, L) of the configured windows."""
    return window_samples(config.windows), len(config.windows.leads)


def run_pretraining(config: Config) -> RunFolder:
    """Pretrain the configured objective on the configured windows, without the held-out subjects.

    Returns:
        The finished run folder, which `Encoder.from_preset` loads.

    Raises:
        InputError: no packed windows, windows of test subjects, an unknown objective or hyperparameter, or as in
            `check_devices`.
    """
    options = objective_config(config.model.name, config.model.options)
    manifest = window_manifest(config)
    reject_subjects(manifest, test_subjects(config))
    train, held_out = split_subjects(config)
    if getattr(options, "objective", "nt_xent") != "nt_xent" and len(held_out) < 2:
        found, expected = f"{len(held_out)} held-out subjects", "at least two, as the loss contrasts subjects"
        raise InputError("windows.validation_fraction", found, expected, "raise it, or pack more records")
    data = fingerprint({name: group["files"] for name, group in manifest["groups"].items()})
    details = {"kind": KINDS[config.model.name], "seeds": [config.loader.seed], "data_notes": manifest["notes"]}
    run = open_run(config, "pretrain", IGNORED, data, details)
    if run.finished:
        return run
    prepare_backend(config)
    keras.utils.set_random_seed(config.loader.seed)
    with over_devices(config.training, config.loader.batch_size):
        model = build_objective(config.model.name, model_shape(config), config.model.options, config.loader.seed)
        fit_objective(run, model, config, manifest, train, held_out)
    save_encoder(run.path, model.encoder, contract_of(config, model, manifest, run.path.name))
    if isinstance(model, VQVAE):  # the encoder alone has neither codebook nor decoder
        save_model(run.path / "model.keras", model)
    score(run, model, config, manifest, held_out)
    metrics = run.finish(training_subjects=len(train), held_out_subjects=len(held_out), totals=manifest["totals"])
    print(headline(run, metrics))
    return run


def contract_of(config: Config, model: keras.Model, manifest: dict, run: str) -> Contract:
    """Create the input specification of the encoder, with its pretraining data."""
    windows, (samples, leads) = config.windows, model.encoder.input_shape[1:]
    named = {source.database: list(source.records) for source in windows.sources}  # empty for all records
    seen = {
        name: {"records": t["records"], "subjects": t["subjects"], "hours": round(t["unique_hours"], 2)}
        | ({"named": named[name]} if named.get(name) else {})
        for name, t in manifest["totals"].items()
        if name != "all"
    }
    return Contract(
        window_seconds=samples / windows.sampling_rate_hz,
        sampling_rate_hz=windows.sampling_rate_hz,
        leads=windows.leads,
        leads_at_once=leads,
        fallback_leads=windows.fallback_leads,
        bandpass_hz=windows.bandpass_hz,
        seen=seen,
        run=run,
    )


def headline(run: RunFolder, metrics: dict) -> str:
    """Format the final message: score, alarms, and the path of the report."""
    score = metrics["model"]["relative_loss"]
    lines = [f"{run.path.name}: held-out loss {score['mean']:.3f} of {REFERENCES[metrics['kind']]}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    return "\n".join([*lines, f"report: {run.path / 'report.html'}"])
