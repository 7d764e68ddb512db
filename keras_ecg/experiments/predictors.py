"""What learns from the labels of some beats and predicts others: a probe of frozen features, or end-to-end training."""

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
from keras_ecg.training import compile_supervised, reject_no_number

logger = logging.getLogger(__name__)

RAW_SECONDS = 0.5  # on each side of the beat, of the baseline that sees samples


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
    """Logistic regression on blocks of frozen features (n, K), its regularization chosen inside the given labels."""

    def __init__(self, blocks: Callable[[], list[np.ndarray]], beats: Beats):
        self.make_blocks, self.beats = blocks, beats  # blocks are made when first wanted: a resumed study may need none
        self.blocks: list[np.ndarray] | None = None
        self.scaled_for: np.ndarray | None = None

    def fit_predict(self, config: Config, draw: Draw, labelled: np.ndarray, seed: int) -> tuple[np.ndarray, list[dict]]:
        """The probability that each scored beat is abnormal, and the rows of history.csv.

        Args:
            config: of the study.
            draw: whose pool, unlabelled, standardizes the features.
            labelled: indices of the labelled beats.
            seed: of the cross-validation's folds.
        """
        self.blocks = self.make_blocks() if self.blocks is None else self.blocks
        if self.scaled_for is not draw.pool:
            self.scaled_for, self.scaled = draw.pool, standardized(self.blocks, draw.pool)
        # The folds are drawn as the test beats were: of other records, or of any.
        record = self.beats.columns["record"]
        groups = labelled if np.isin(record[labelled], record[draw.test]).any() else record[labelled]
        model = fit_probe(self.scaled[labelled], self.beats.abnormal[labelled], groups, seed)
        return model.predict_proba(self.scaled[draw.test])[:, 1], [{"epoch": 1, "strength": model.C}]


class Training:
    """End-to-end training of the configured classifier, from its weights or from random ones."""

    def __init__(self, config: Config, beats: Beats, pretrained: bool):
        self.beats, self.scorer = beats, None  # compiled once for all trainings
        self.options = config.model.options | ({} if pretrained else {"random": True, "frozen_stages": 0})

    def inputs(self, index: np.ndarray, config: Config) -> dict[str, np.ndarray]:
        """What the classifier takes of the beats at `index`."""
        out = {"context": self.beats.windows[index].astype(np.float32)}
        return out | {"rr": self.beats.rhythm[index][:, np.newaxis]} if config.finetuning.rr_features else out

    def fit_predict(self, config: Config, draw: Draw, labelled: np.ndarray, seed: int) -> tuple[np.ndarray, list[dict]]:
        """As `Probe.fit_predict`; stops early where the draw has beats to validate on."""
        keras.utils.set_random_seed(seed)
        training, size = config.training, min(config.loader.batch_size, len(labelled))
        x, y = self.inputs(labelled, config), self.beats.abnormal[labelled]
        model = build_model(config.model.name, {k: v.shape[1:] for k, v in x.items()}, 0, 2, self.options)
        steps = -(-len(labelled) // size) * training.epochs
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)
        compile_supervised(model, training, steps, loss, ["accuracy"])
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
        reject_no_number(history["loss"])
        rows = [{"epoch": e + 1, **{k: v[e] for k, v in history.items()}} for e in range(len(history["loss"]))]
        if self.scorer is None:
            self.scorer = keras.models.clone_model(model)
            self.scorer.compile(jit_compile=True)
        self.scorer.set_weights(model.get_weights())
        return predict_batches(self.scorer, self.inputs(draw.test, config))[:, 1], rows


def feature_blocks(config: Config, beats: Beats, name: str) -> list[np.ndarray]:
    """The blocks of features (n, K) of a named probe: `model`, `untrained`, `raw`, `rhythm`."""
    wanted, context = config.finetuning, config.beats.context
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
    blocks = [features] if wanted.keep_absolute_features or not wanted.subtract_record_median else []
    blocks += [relative_to_record(features, beats.columns["record"])] if wanted.subtract_record_median else []
    return [*blocks, *([beats.rhythm] if wanted.rr_features else [])]
