"""Training step of the default CNN-Conformer against one with a front end of three 3x3 convolutions."""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np

from benchmarks import reference
from benchmarks.measure import Result, UnequalError, alternate
from benchmarks.workspace import Workspace
from keras_ecg.config import Config
from keras_ecg.data.pipeline import get_all_labels
from keras_ecg.data.statistics import training_statistics
from keras_ecg.data.tfrecords import label_position
from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.metrics import confusion_matrix, summary_scores
from keras_ecg.models import model_config
from keras_ecg.training import build_for, compile_classifier, labelled_stream, sequences_per_epoch

NAME, TARGET = "train-step", 10


class Side:
    """A model with its training stream; optimizer, loss, class weights and seed are equal for all models.

    Args:
        config: configuration of stream and training.
        train: training records.
        build: function of (stream, config) that builds the model.
    """

    def __init__(self, config: Config, train: tuple[str, ...], build: Callable):
        keras.utils.set_random_seed(config.loader.seed)
        self.config, self.train = config, train
        self.mean, self.scale = training_statistics(list(train), config)
        self.stream = labelled_stream(train, config, True, self.mean, self.scale)
        self.model = build(self.stream, config)
        self.per_epoch = max(1, sequences_per_epoch(train, config) // config.loader.batch_size)
        compile_classifier(self.model, config, self.per_epoch * config.training.epochs)
        self.batch = next(iter(self.stream))

    def steps(self, count: int) -> int:
        """Train `count` steps on one batch in memory, and return the number of sequences."""
        for _ in range(count):
            self.model.train_on_batch(*self.batch)
        return count * int(self.batch[1].shape[0])

    def macro_f1(self, held_out: tuple[str, ...]) -> float:
        """Train for the configured epochs, and return macro-F1 over N, S, V, F on records of other subjects."""
        training = self.config.training
        weights = dict(enumerate(training.class_weights))
        epochs = {"epochs": training.epochs, "steps_per_epoch": self.per_epoch}
        self.model.fit(self.stream, **epochs, shuffle=False, class_weight=weights, verbose=0)
        stream = labelled_stream(held_out, self.config, False, self.mean, self.scale)
        predicted = self.model.predict(stream, verbose=0).argmax(1)
        confusion = confusion_matrix(get_all_labels(list(held_out), self.config), predicted)
        return float(summary_scores(confusion)["macro_f1_nsvf"])


def reference_model(pool: bool) -> Callable:
    """Return a builder of the reference model with the default model's hyperparameters."""

    def build(stream, config: Config) -> keras.Model:
        shape = tuple(stream.element_spec[0]["scalograms"].shape[1:])
        hyperparameters = model_config("cnn_conformer")
        return reference.build_model(shape, label_position(config.sequences), len(CLASSES), hyperparameters, pool)

    return build


def check(ours: Side, others: list[Side]) -> str:
    """Check that all models get the same scalograms and labels, and have outputs of the same shape."""
    inputs, labels = ours.batch
    for other in others:
        values, theirs = other.batch[0]["scalograms"], other.batch[1]
        shapes = [side.model(side.batch[0]).shape for side in (ours, other)]
        if (
            not np.array_equal(inputs["scalograms"], values)
            or not np.array_equal(labels, theirs)
            or shapes[0] != shapes[1]
        ):
            raise UnequalError(f"first batch: different sequences, or different output shapes: {shapes}")
    return "equal: scalograms and labels of the first batch, largest difference 0; outputs of the same shape"


def run(workspace: Workspace) -> Result:
    size = workspace.scale
    train = tuple(r for r in size.train if r in workspace.records)
    held_out = tuple(r for r in size.held_out if r in workspace.records)

    def configured(extras: bool) -> Config:
        config = workspace.packed(extras=extras)
        loader = replace(config.loader, batch_size=size.batch)
        training, augment = (
            replace(config.training, epochs=size.epochs),
            replace(config.augment, normal_per_epoch=size.normal),
        )
        return replace(config, loader=loader, training=training, augment=augment)

    ours = Side(configured(True), train, build_for)
    pooled, full = (Side(configured(False), train, reference_model(pool)) for pool in (True, False))
    rows = [check(ours, [pooled, full])]
    for side, count in ((ours, 2), (pooled, 2), (full, 1)):
        side.steps(count)  # compiles
    fast = alternate(lambda: ours.steps(10 * size.steps), lambda: pooled.steps(size.steps), "sequence", size.turns)
    slow = alternate(lambda: ours.steps(10 * size.steps), lambda: full.steps(1), "sequence", 1)
    rows += fast.rows(
        f"default model with scalograms, waveforms and RR features, batch size {size.batch}",
        "three 3x3 convolutions (32, 64, 48) with max pooling after the first two, the same Conformer",
    )
    each = f"{1 / slow.reference[0]:,.0f} sequences/s, ratio {slow.ratio:.0f}"
    rows.append(f"reference without pooling: {each}")

    scores, fit = {}, ours.per_epoch * size.batch
    for name, extras, build in (
        ("ours", True, build_for),
        ("ours with scalograms only", False, build_for),
        ("reference", False, reference_model(True)),
    ):
        scores[name] = Side(configured(extras), train, build).macro_f1(held_out)
    rows.append(
        f"macro-F1 (N S V F) on {', '.join(held_out)} after {size.epochs} epochs "
        f"of {fit} sequences of {', '.join(train)}: "
        + "; ".join(f"{name} {score:.3f}" for name, score in scores.items())
    )
    higher = scores["ours"] > scores["reference"]
    rows.append(f"macro-F1 of ours is {'higher' if higher else 'NOT higher'}; one seed, equal training settings")
    return Result(NAME, fast.ratio, TARGET, rows, higher)
