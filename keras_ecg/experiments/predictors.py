"""Predictors for few-label learning: linear probe on frozen features, and end-to-end training."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.label_draws import Draw
from keras_ecg.data.pipeline import create_dataset, get_all_beats
from keras_ecg.data.tfrecords import label_position
from keras_ecg.encoders import load_encoder
from keras_ecg.models import build_model
from keras_ecg.probing import embed_beats, fit_probe, predict_batches, relative_to_record, standardized
from keras_ecg.training import check_finite_loss, compile_supervised

logger = logging.getLogger(__name__)

RAW_SECONDS = 0.5  # on each side of the beat, for the raw-signal baseline


@dataclass(frozen=True)
class Beats:
    """All beats of a protocol's records, with windows around them and RR features."""

    columns: dict[str, np.ndarray]  # record, subject, sample, label (n,)
    windows: np.ndarray  # (n, T, 1) float16, z-scored
    rhythm: np.ndarray  # (n, R)

    @property
    def abnormal(self) -> np.ndarray:
        """Binary labels (n,) int: 0 for normal (N), 1 for abnormal (S, V, F, Q)."""
        return (self.columns["label"] > 0).astype(int)


def read_beats(config: Config, records: tuple[str, ...]) -> Beats:
    """Read the windows and RR features of all beats of the records."""
    loader = replace(
        config.loader, scalograms=False, context=True, rr_features=True, waveforms=False, difference_quantiles=False
    )
    config, position = replace(config, loader=loader), label_position(config.sequences)
    windows, rhythm = [], []
    for inputs, _ in create_dataset(list(records), config, 1024, False).as_numpy_iterator():
        windows.append(inputs["context"].astype(np.float16))
        rhythm.append(inputs["rr"][:, position])
    return Beats(get_all_beats(list(records), config), np.concatenate(windows), np.concatenate(rhythm))


class Probe:
    """Logistic regression on frozen features, with regularization selected on the given labels.

    Args:
        blocks: function that computes blocks of features (n, K), called at the first fit: a resumed run may need none.
        beats: beats of the features.
    """

    def __init__(self, blocks: Callable[[], list[np.ndarray]], beats: Beats):
        self.make_blocks, self.beats = blocks, beats
        self.blocks: list[np.ndarray] | None = None
        self.scaled_for: np.ndarray | None = None

    def fit_predict(self, config: Config, draw: Draw, labelled: np.ndarray, seed: int) -> tuple[np.ndarray, list[dict]]:
        """Fit on the labelled beats: probability of abnormal for each test beat, and the rows of history.csv.

        Args:
            config: configuration.
            draw: test beats, and the unlabelled pool that standardizes the features.
            labelled: indices of the labelled beats.
            seed: seed of the inner cross-validation.
        """
        self.blocks = self.make_blocks() if self.blocks is None else self.blocks
        if self.scaled_for is not draw.pool:
            self.scaled_for, self.scaled = draw.pool, standardized(self.blocks, draw.pool)
        # Inner folds are split like the test beats: by record, or by beat if test records have labelled beats.
        record = self.beats.columns["record"]
        groups = labelled if np.isin(record[labelled], record[draw.test]).any() else record[labelled]
        model = fit_probe(self.scaled[labelled], self.beats.abnormal[labelled], groups, seed)
        return model.predict_proba(self.scaled[draw.test])[:, 1], [{"epoch": 1, "strength": model.C}]


class Training:
    """End-to-end training of the configured classifier, from pretrained or random weights.

    Args:
        config: configuration with the model.
        beats: all beats.
        pretrained: start from the pretrained weights.
    """

    def __init__(self, config: Config, beats: Beats, pretrained: bool):
        self.beats, self.scorer = beats, None  # the scorer is compiled once for all trainings
        self.options = config.model.options | ({} if pretrained else {"random": True, "frozen_stages": 0})

    def inputs(self, index: np.ndarray, config: Config) -> dict[str, np.ndarray]:
        """Select the classifier's inputs of the beats at `index`."""
        out = {"context": self.beats.windows[index].astype(np.float32)}
        return out | {"rr": self.beats.rhythm[index][:, np.newaxis]} if config.finetuning.rr_features else out

    def fit_predict(self, config: Config, draw: Draw, labelled: np.ndarray, seed: int) -> tuple[np.ndarray, list[dict]]:
        """Train as in `Probe.fit_predict`, with early stopping if the draw has validation beats."""
        keras.utils.set_random_seed(seed)
        training, size = config.training, min(config.loader.batch_size, len(labelled))
        x, y = self.inputs(labelled, config), self.beats.abnormal[labelled]
        model = build_model(config.model.name, {k: v.shape[1:] for k, v in x.items()}, self.options, token=0, classes=2)
        steps = -(-len(labelled) // size) * training.epochs
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)
        compile_supervised(model, training, steps, loss, ["accuracy"])
        callbacks, validation = [keras.callbacks.TerminateOnNaN()], None
        if len(draw.validation):
            validation = (
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
            validation_data=validation, callbacks=callbacks, verbose=0,
        ).history  # fmt: skip
        check_finite_loss(history["loss"])
        rows = [{"epoch": e + 1, **{k: v[e] for k, v in history.items()}} for e in range(len(history["loss"]))]
        if self.scorer is None:
            self.scorer = keras.models.clone_model(model)
            self.scorer.compile(jit_compile=True)
        self.scorer.set_weights(model.get_weights())
        return predict_batches(self.scorer, self.inputs(draw.test, config))[:, 1], rows


def feature_blocks(config: Config, beats: Beats, name: str) -> list[np.ndarray]:
    """Compute the blocks of features (n, K) of a probe: `model`, `random_init`, `raw_signal` or `rr_features`."""
    settings, context = config.finetuning, config.beats.context
    if name == "rr_features":
        return [beats.rhythm]
    if name == "raw_signal":
        middle, reach = beats.windows.shape[1] // 2, round(RAW_SECONDS * context.sampling_rate_hz)
        features = beats.windows[:, middle - reach : middle + reach, 0]
    else:
        encoder = load_encoder(config.model.options["weights"]).model
        if name == "random_init":
            keras.utils.set_random_seed(0)
            encoder = keras.models.clone_model(encoder)
        logger.info("%s: embedding %d beats", name, len(beats.windows))
        features = embed_beats(encoder, beats.windows, context.sampling_rate_hz)
    blocks = [features] if settings.keep_absolute_features or not settings.subtract_record_median else []
    blocks += [relative_to_record(features, beats.columns["record"])] if settings.subtract_record_median else []
    return [*blocks, *([beats.rhythm] if settings.rr_features else [])]
