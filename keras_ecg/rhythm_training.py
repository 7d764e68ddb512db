"""Training of rhythm classifiers on whole recordings, and prediction."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from keras_ecg.config import Config
from keras_ecg.data.rhythm_records import SCRIPT, rhythm_manifest, samples_of
from keras_ecg.data.rhythm_stream import create_rhythm_dataset, crops_of, get_all_recordings
from keras_ecg.data.streams import naming_damaged_files, plain
from keras_ecg.databases.cinc2017 import CLASSES, RHYTHMS
from keras_ecg.devices import over_devices
from keras_ecg.errors import InputError
from keras_ecg.models import build_model
from keras_ecg.models.two_stage import two_stage
from keras_ecg.quiet import bars_hidden
from keras_ecg.training import MacroF1, check_finite_loss, compile_supervised, prepare_backend, with_seed

SHAPES = {"signals": (None, 1), "length": (), "beats": (None,)}  # of any length


STAGES = {  # target of each class of `CLASSES` in a stage; None: the class is excluded from its training set
    "all": (0, 1, 2, 3),
    "noise": (0, 0, 0, 1),
    "rhythm": (0, 1, 2, None),
}


def build_rhythm(config: Config, classes: int = len(CLASSES)) -> keras.Model:
    """Build the configured model, for recordings of any length."""
    options = {**config.model.options, "sampling_rate_hz": config.rhythm.sampling_rate_hz}
    return build_model(config.model.name, SHAPES, classes=classes, options=options)


def compile_rhythm(model: keras.Model, config: Config, batches: int) -> None:
    """Compile a model with `adamw`, cross-entropy, accuracy and, for four classes, the score of CinC 2017."""
    training, classes = config.training, model.output_shape[-1]
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)
    score = [MacroF1(len(RHYTHMS), len(CLASSES), name="score")] if classes == len(CLASSES) else []
    compile_supervised(model, training, batches, loss, ["accuracy", *score])


def class_weights(config: Config, stage: str = "all") -> dict[int, float]:
    """Return the class weights of a stage's loss; merged classes have the weight of the first of them.

    Raises:
        InputError: not one weight for each of `CLASSES`.
    """
    weights = config.training.class_weights
    if len(weights) != len(CLASSES):
        found = f"{len(weights)} weights"
        raise InputError("training.class_weights", found, f"{len(CLASSES)}, of {' '.join(CLASSES)}", "correct it")
    own = [(k, w) for k, w in zip(STAGES[stage], weights, strict=True) if k is not None]
    return dict(reversed(own))


def training_batch(records: Collection[str], config: Config) -> int:
    """Return the batch size of training: the configured one, or half of the recordings if that is less."""
    return max(1, min(config.loader.batch_size, len(get_all_recordings(config, records)["record"]) // 2))


def training_stream(records: Collection[str], config: Config, stage: str = "all") -> tuple[tf.data.Dataset, int]:
    """Create an endless stream of batches of random crops with one-hot targets; and the number of batches per epoch."""
    targets, count = STAGES[stage], len(get_all_recordings(config, records)["record"])
    size = training_batch(records, config)
    table = tf.one_hot([-1 if k is None else k for k in targets], 1 + max(k for k in targets if k is not None))
    stream = create_rhythm_dataset(config, size, True, records)
    # JAX compiles again for a smaller batch, so the incomplete last batch is dropped; every epoch is shuffled anew.
    stream = stream.filter(plain(lambda x, y: tf.shape(y)[0] == size)).repeat()
    return stream.map(plain(lambda x, y: (x, tf.gather(table, y))), tf.data.AUTOTUNE).prefetch(2), max(1, count // size)


def scoring_stream(records: Collection[str], config: Config) -> tf.data.Dataset:
    """Create a stream of one crop per recording, in order, with one-hot labels (B, 4)."""
    config = replace(config, rhythm=replace(config.rhythm, crops=1))
    stream = create_rhythm_dataset(config, config.loader.batch_size, False, records)
    return stream.map(plain(lambda x, y: (x, tf.one_hot(y, len(CLASSES)))), tf.data.AUTOTUNE)


def naming_damaged_chunks(config: Config) -> AbstractContextManager:
    """Apply `naming_damaged_files` to the TFRecords of recordings."""
    chunks = rhythm_manifest(config)["chunks"]
    return naming_damaged_files(config.rhythm.tfrecord_dir, chunks.values, SCRIPT)


def train_rhythm(
    records: Collection[str], config: Config, seed: int, stage: str = "all"
) -> tuple[keras.Model, list[dict]]:
    """Train the configured model on recordings for the configured number of epochs.

    Args:
        records: training recordings.
        config: see `Training`, `Loader`, `Rhythm`, `Model`.
        seed: seed of weights, order, crops and augmentation.
        stage: classes to distinguish, a key of `STAGES`.

    Returns:
        The model, without its optimizer, and one row of the training log per epoch.

    Raises:
        InputError: a damaged chunk, a wrong number of class weights, a loss that is not finite, or as in `adamw` and
            `check_devices`.
    """
    weights = class_weights(config, stage)
    prepare_backend(config)
    keras.utils.set_random_seed(seed)
    config = with_seed(config, seed)
    with naming_damaged_chunks(config), over_devices(config.training, training_batch(records, config)):
        stream, steps = training_stream(records, config, stage)
        model = build_rhythm(config, len(weights))
        compile_rhythm(model, config, steps * config.training.epochs)
        history = model.fit(
            stream,
            epochs=config.training.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the stream is shuffled
            class_weight=weights,
            callbacks=[keras.callbacks.TerminateOnNaN()],
            verbose=0 if bars_hidden() else 2,
        ).history
    check_finite_loss(history["loss"])
    rows = [{"epoch": e + 1, **{k: float(v[e]) for k, v in history.items()}} for e in range(len(history["loss"]))]
    model.optimizer = None  # its moments would be two thirds of the saved file
    return model, rows


def train_stages(records: Collection[str], config: Config, seed: int) -> tuple[keras.Model, list[dict]]:
    """Train a model of all four classes in one or two stages (`rhythm.stages`).

    With two stages, a noise gate is trained on all recordings, and a rhythm classifier on the clean recordings. Both
    have the configured architecture and training settings.

    Returns:
        The model, and one row of the training log per epoch, with the stage if there are two.

    Raises:
        InputError: as in `train_rhythm`.
    """
    if config.rhythm.stages == 1:
        return train_rhythm(records, config, seed)
    known = get_all_recordings(config, records)
    clean = known["record"][known["label"] != CLASSES.index("~")].tolist()
    noise, first = train_rhythm(records, config, seed, "noise")
    rhythm, second = train_rhythm(clean, config, seed, "rhythm")
    rows = [{**row, "stage": k} for k, part in enumerate((first, second), 1) for row in part]
    shared = ("epoch", "stage", "loss", "accuracy")
    return two_stage(noise, rhythm), [{k: row[k] for k in shared} for row in rows]


def predict_rhythm(
    model: keras.Model,
    config: Config,
    records: Collection[str],
    seconds: float | None = None,
    crops: int | None = None,
) -> np.ndarray:
    """Predict probabilities (n, classes) float32 of recordings, means over crops, in the order of `get_all_recordings`.

    Args:
        model: model of `train_rhythm`.
        config: see `Loader`, `Rhythm`.
        records: recordings to predict.
        seconds: length of a crop; None for `rhythm.window_seconds`.
        crops: crops per longer recording; None for `rhythm.crops`; 1 for its beginning only.

    Raises:
        InputError: a damaged chunk.
    """
    config = replace(config, rhythm=replace(config.rhythm, crops=crops or config.rhythm.crops))
    length = samples_of(seconds or config.rhythm.window_seconds, config.rhythm)
    count = crops_of(get_all_recordings(config, records)["samples"], length, config.rhythm.crops)
    with naming_damaged_chunks(config):
        stream = create_rhythm_dataset(config, config.loader.batch_size, False, records, length)
        per_crop = model.predict(stream, verbose=0)
    return np.add.reduceat(per_crop, np.cumsum(count) - count) / count[:, np.newaxis]
