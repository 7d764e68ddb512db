"""Training of beat classifiers on records, and prediction; the optimizer and compilation shared by all trainings."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_ecg.config import Config, Training
from keras_ecg.data.pipeline import create_dataset, get_all_labels, keep_shares
from keras_ecg.data.statistics import training_statistics
from keras_ecg.data.streams import naming_damaged_files, plain
from keras_ecg.data.tfrecords import SCRIPT, label_position, read_manifest
from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.devices import over_devices
from keras_ecg.errors import InputError
from keras_ecg.models import build_model
from keras_ecg.models.loading import save_normalized
from keras_ecg.quiet import bars_hidden

MEMBER_SEEDS = 1000  # distance between the seeds of ensemble members, so that neighbouring seeds share no member


@dataclass
class Classifier:
    """A trained model with the normalization statistics of its training set and its training log."""

    model: keras.Model
    mean: np.ndarray | None
    scale: np.ndarray | None
    history: list[dict]

    def save(self, folder: Path | str) -> None:
        """Write model.keras and normalization.json."""
        save_normalized(folder, self.model, self.mean, self.scale)


@keras.saving.register_keras_serializable(package="keras_ecg")
class MacroF1(keras.metrics.Metric):
    """Macro F1 over the first `classes` of K = `width` classes, from one-hot labels and probabilities (B, K)."""

    def __init__(self, classes: int = 4, width: int = len(CLASSES), name: str = "macro_f1", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes, self.width = classes, width
        self.confusion = self.add_weight(shape=(width, width), initializer="zeros", name="confusion")

    def update_state(self, y_true, y_pred, sample_weight=None):
        predicted = ops.one_hot(ops.argmax(y_pred, -1), self.width, dtype=self.dtype)
        truth = ops.one_hot(ops.argmax(y_true, -1), self.width, dtype=self.dtype)
        self.confusion.assign_add(ops.matmul(ops.transpose(truth), predicted))

    def result(self):
        hits = ops.diagonal(self.confusion)
        total = ops.sum(self.confusion, 0) + ops.sum(self.confusion, 1)
        return ops.mean((2 * hits / ops.maximum(total, 1))[: self.classes])

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "width": self.width}


def prepare_backend(config: Config) -> None:
    """Set the precision policy, and let TensorFlow allocate GPU memory on demand."""
    keras.mixed_precision.set_dtype_policy(config.training.precision)
    for gpu in tf.config.list_physical_devices("GPU"):
        if keras.backend.backend() == "tensorflow":
            tf.config.experimental.set_memory_growth(gpu, True)
        else:
            tf.config.set_visible_devices([], "GPU")  # the other backend uses it; TensorFlow only runs tf.data
            break


def with_seed(config: Config, seed: int) -> Config:
    """Return the configuration with `seed` as the seed of the data stream."""
    return replace(config, loader=replace(config.loader, seed=seed))


def sequences_per_epoch(records: tuple[str, ...], config: Config) -> int:
    """Return the expected number of sequences per epoch of these records, after class balancing."""
    keep = keep_shares(list(records), config)
    total = sum(keep[r][get_all_labels([r], config)].sum() for r in records)
    return int(total)


def training_batch(records: tuple[str, ...], config: Config) -> int:
    """Return the batch size of training: the configured one, or half an epoch if that is less."""
    return max(1, min(config.loader.batch_size, sequences_per_epoch(records, config) // 2))


@keras.saving.register_keras_serializable(package="keras_ecg")
class AccumulatedCosineDecay(keras.optimizers.schedules.CosineDecay):
    """Cosine decay over optimizer steps under gradient accumulation, where Keras counts batches.

    Args:
        batches: batches per optimizer step.
        **kwargs: arguments of `CosineDecay`, in optimizer steps.
    """

    def __init__(self, *args, batches: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.batches = batches

    def __call__(self, step):
        return super().__call__(step // self.batches)

    def get_config(self):
        return {**super().get_config(), "batches": self.batches}


def check_finite_loss(losses: Sequence[float]) -> None:
    """Raise `InputError` if a loss is not finite."""
    if not np.isfinite(losses).all():
        raise InputError("training", "a loss that is not finite", "a finite loss", "lower training.learning_rate")


def adamw(training: Training, batches: int) -> keras.optimizers.Optimizer:
    """Create AdamW with linear warm-up and cosine decay; biases, norms and embedding tables have no weight decay.

    With `gradient_accumulation` k, a step uses the mean gradient of k batches, and clipping, weight decay, learning
    rate and weight averaging behave as with a batch k times as large. Keras averages the weights after every batch, so
    the k-th root of the momentum is applied k times per step, which is exact for all but the last step.

    Args:
        training: training settings.
        batches: number of batches of the whole training; an incomplete last step has no effect.

    Raises:
        InputError: `gradient_accumulation` below 1, or above the number of batches.
    """
    accumulated = training.gradient_accumulation
    if not 1 <= accumulated <= max(1, batches):
        expected = f"1 to {batches}, the batches of the whole training"
        raise InputError("training.gradient_accumulation", str(accumulated), expected, "correct it, or train longer")
    steps = batches // accumulated
    warmup = max(1, int(training.warmup_fraction * steps))
    schedule, counted = keras.optimizers.schedules.CosineDecay, {}
    if accumulated > 1:
        schedule, counted = AccumulatedCosineDecay, {"batches": accumulated}
    rate = schedule(
        0.0, max(1, steps - warmup), alpha=0.01, warmup_target=training.learning_rate, warmup_steps=warmup, **counted
    )
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=training.weight_decay,
        beta_2=training.beta_2,
        clipnorm=training.clip_norm,
        use_ema=training.ema_momentum > 0,
        ema_momentum=(training.ema_momentum or 0.99) ** (1 / accumulated),
        gradient_accumulation_steps=accumulated if accumulated > 1 else None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "table"])
    return optimizer


def compile_objective(
    model: keras.Model,
    training: Training,
    batches: int,
    loss: keras.losses.Loss | None = None,
    metrics: list | None = None,
) -> None:
    """Compile a model with `adamw`, and create the variables of the optimizer.

    If the first training step creates them, TensorFlow traces the step twice, which takes longer than a short epoch.
    """
    model.compile(adamw(training, batches), loss, metrics=metrics, jit_compile=training.jit_compile)
    model.optimizer.build(model.trainable_variables)


def compile_supervised(
    model: keras.Model, training: Training, batches: int, loss: keras.losses.Loss, metrics: list
) -> None:
    """Compile a model of one output as in `compile_objective`, and create the variables of its metrics likewise."""
    compile_objective(model, training, batches, loss, metrics)
    zeros = np.zeros((1, *model.output_shape[1:]), np.float32)
    model.compute_metrics(None, zeros, zeros)
    model.reset_metrics()


def compile_classifier(model: keras.Model, config: Config, batches: int) -> None:
    """Compile a model with `adamw`, cross-entropy, accuracy and macro-F1 over N, S, V and F."""
    training = config.training
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)
    compile_supervised(model, training, batches, loss, ["accuracy", MacroF1()])


def naming_damaged_chunks(records: tuple[str, ...], config: Config) -> AbstractContextManager:
    """Apply `naming_damaged_files` to the TFRecords of these records."""
    folder = config.database.tfrecord_dir
    return naming_damaged_files(folder, lambda: map(read_manifest(folder)["records"].get, records), SCRIPT)


def labelled_stream(records: tuple[str, ...], config: Config, is_training: bool, mean, scale) -> tf.data.Dataset:
    """Create a stream of named inputs and one-hot labels (B, K); in training, endless, of complete batches only."""
    size = training_batch(records, config) if is_training else config.loader.batch_size
    stream = create_dataset(list(records), config, size, is_training, mean, scale)

    @plain
    def named_one_hot(x, y):
        return x if isinstance(x, dict) else {"scalograms": x}, tf.one_hot(y, len(CLASSES))

    stream = stream.map(named_one_hot, tf.data.AUTOTUNE)
    if is_training:
        # JAX compiles again for a smaller batch, so the incomplete last batch is dropped; every epoch is shuffled anew.
        stream = stream.filter(plain(lambda x, y: tf.shape(y)[0] == size)).repeat()
    else:
        count = -(-len(get_all_labels(list(records), config)) // size)
        stream = stream.apply(tf.data.experimental.assert_cardinality(count))
    return stream.prefetch(2)


def input_shapes(stream: tf.data.Dataset) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a stream's named inputs, without the batch axis."""
    return {name: tuple(value.shape[1:]) for name, value in stream.element_spec[0].items()}


def build_for(stream: tf.data.Dataset, config: Config) -> keras.Model:
    """Build the configured model for the inputs of a stream."""
    return build_model(
        config.model.name,
        input_shapes(stream),
        config.model.options,
        token=label_position(config.sequences),
        classes=len(CLASSES),
    )


def train_member(records: tuple[str, ...], config: Config, seed: int, mean, scale) -> Classifier:
    """Train one ensemble member of `train_classifier`, with the given normalization."""
    keras.utils.set_random_seed(seed)
    config = with_seed(config, seed)
    size = training_batch(records, config)
    with naming_damaged_chunks(records, config), over_devices(config.training, size):
        stream = labelled_stream(records, config, True, mean, scale)
        model = build_for(stream, config)
        per_epoch = max(1, sequences_per_epoch(records, config) // size)
        compile_classifier(model, config, per_epoch * config.training.epochs)
        history = model.fit(
            stream,
            epochs=config.training.epochs,
            steps_per_epoch=per_epoch,
            shuffle=False,  # the stream is shuffled
            class_weight=dict(enumerate(config.training.class_weights)),
            callbacks=[keras.callbacks.TerminateOnNaN()],
            verbose=0 if bars_hidden() else 2,
        ).history
    check_finite_loss(history["loss"])
    rows = [{"epoch": e + 1, **{k: float(v[e]) for k, v in history.items()}} for e in range(len(history["loss"]))]
    return Classifier(model, mean, scale, rows)


def average_model(models: Sequence[keras.Model]) -> keras.Model:
    """Build a deep ensemble: a model whose probabilities are the mean of those of models with the same named inputs.

    Lakshminarayanan B et al., Simple and Scalable Predictive Uncertainty Estimation Using Deep Ensembles, NeurIPS 2017,
    https://arxiv.org/abs/1612.01474.
    """
    inputs = {name: keras.Input(value.shape[1:], name=name) for name, value in models[0].input.items()}
    # New models of the same layers have no optimizers, whose states would triple the size of the saved file.
    members = [keras.Model(model.input, model.output, name=f"member_{k}") for k, model in enumerate(models)]
    return keras.Model(inputs, keras.layers.Average()([member(inputs) for member in members]), name="ensemble")


def check_training(config: Config) -> None:
    """Raise `InputError` for a wrong number of class weights, or an ensemble smaller than its number of models."""
    weights, members, models = (
        config.training.class_weights,
        config.training.ensemble_size,
        1 + len(config.model.ensemble_members),
    )
    if len(weights) != len(CLASSES):
        raise InputError("training.class_weights", f"{len(weights)} weights", f"{len(CLASSES)}", "give one per class")
    if members < models:
        raise InputError("training.ensemble_size", str(members), f"at least {models}, one per model", "correct it")


def train_classifier(records: tuple[str, ...], config: Config, seed: int) -> Classifier:
    """Train the configured model on whole records for the configured number of epochs.

    If `training.ensemble_size` is above 1, as many models are trained with different seeds and averaged; they cycle
    through the configured model and `model.ensemble_members`.

    Args:
        records: training records.
        config: see `Training`, `Loader`, `Augment`, `Model`.
        seed: seed of weights, order and augmentation.

    Raises:
        InputError: a damaged chunk, a loss that is not finite, or as in `check_training`, `adamw` and `check_devices`.
    """
    check_training(config)
    models, members = (config.model, *config.model.ensemble_members), config.training.ensemble_size
    prepare_backend(config)
    with naming_damaged_chunks(records, config):
        mean, scale = training_statistics(list(records), config)
    trained = []
    for k in range(members):
        member_config = replace(config, model=models[k % len(models)])
        trained.append(train_member(records, member_config, seed + MEMBER_SEEDS * k, mean, scale))
    if members == 1:
        return trained[0]
    rows = [{"member": k, **row} for k, member in enumerate(trained) for row in member.history]
    return Classifier(average_model([member.model for member in trained]), mean, scale, rows)


def predict_records(classifier: Classifier, records: tuple[str, ...], config: Config) -> np.ndarray:
    """Predict probabilities (n, 5) float32 of every beat of the records, in the order of `get_all_beats`.

    Raises:
        InputError: a damaged chunk.
    """
    with naming_damaged_chunks(records, config):
        stream = labelled_stream(records, config, False, classifier.mean, classifier.scale)
        return classifier.model.predict(stream, verbose=0)
