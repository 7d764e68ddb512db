"""Training: the default CNN-Conformer against one with three 3x3 convolutions as its front end, three beats each."""

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
    """A model and the stream it is trained on; both sides share optimizer, loss, class weights and seed.

    Args:
        config: of the stream and the training.
        train: records.
        build: of (stream, config), the model.
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
        """Trains `count` steps on one batch that is already in memory; returns the number of sequences."""
        for _ in range(count):
            self.model.train_on_batch(*self.batch)
        return count * int(self.batch[1].shape[0])

    def macro_f1(self, held_out: tuple[str, ...]) -> float:
        """Macro-F1 over N, S, V, F on other subjects' records, after training for the configured epochs."""
        training = self.config.training
        weights = dict(enumerate(training.class_weights))
        epochs = {"epochs": training.epochs, "steps_per_epoch": self.per_epoch}
        self.model.fit(self.stream, **epochs, shuffle=False, class_weight=weights, verbose=0)
        stream = labelled_stream(held_out, self.config, False, self.mean, self.scale)
        guess = self.model.predict(stream, verbose=0).argmax(1)
        return float(
            summary_scores(confusion_matrix(get_all_labels(list(held_out), self.config), guess))["macro_f1_nsvf"]
        )


def reference_model(pool: bool) -> Callable:
    """A builder with the default model's hyperparameters behind the front end."""

    def build(stream, config: Config) -> keras.Model:
        shape = tuple(stream.element_spec[0]["scalograms"].shape[1:])
        hyperparameters = model_config("cnn_conformer")
        return reference.build_model(shape, label_position(config.sequences), len(CLASSES), hyperparameters, pool)

    return build


def check(ours: Side, others: list[Side]) -> str:
    """All sides are trained on the same scalograms and labels and give probabilities of the same classes."""
    inputs, labels = ours.batch
    for other in others:
        values, theirs = other.batch[0]["scalograms"], other.batch[1]
        shapes = [side.model(side.batch[0]).shape for side in (ours, other)]
        if (
            not np.array_equal(inputs["scalograms"], values)
            or not np.array_equal(labels, theirs)
            or shapes[0] != shapes[1]
        ):
            raise UnequalError(f"first batch: other sequences, or other outputs: {shapes}")
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
        f"the default, scalograms, waveforms and RR features, batch {size.batch}",
        "three 3x3 convolutions (32, 64, 48), halved by pooling after the first two, the same Conformer",
    )
    each = f"{1 / slow.reference[0]:,.0f} sequences/s, ratio {slow.ratio:.0f}"
    rows.append(f"reference without pooling, all three at full resolution: {each}")

    scores, fit = {}, ours.per_epoch * size.batch
    for name, extras, build in (
        ("ours", True, build_for),
        ("ours, scalograms alone", False, build_for),
        ("reference", False, reference_model(True)),
    ):
        scores[name] = Side(configured(extras), train, build).macro_f1(held_out)
    rows.append(
        f"macro-F1 (N S V F) on {', '.join(held_out)} after {size.epochs} epochs "
        f"of {fit} sequences of {', '.join(train)}: "
        + "; ".join(f"{name} {score:.3f}" for name, score in scores.items())
    )
    higher = scores["ours"] > scores["reference"]
    rows.append(f"ours is {'higher' if higher else 'NOT higher'}; one seed, the same optimizer and class weights")
    return Result(NAME, fast.ratio, TARGET, rows, higher)
