"""Inputs of a beat classifier from one recording in memory, equal to those of the TFRecord stream.

Shapes: n beats, B batch, S beats in a sequence, F scales, T samples, R RR features.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.preprocess import extract_beats
from keras_ecg.data.tfrecords import label_position, rr_context
from keras_ecg.databases.recordings import Recording
from keras_ecg.signals.beats import difference_quantiles
from keras_ecg.signals.rhythm import CONTEXT, rr_features, rr_series
from keras_ecg.signals.scalogram import scalograms
from keras_ecg.signals.windows import zscore


class BeatInputs:
    """Beats of a recording, segmented and normalized like the training data of a classifier.

    Values are rounded to float16, as in the HDF5 and TFRecord files.

    Args:
        recording: signals, and the beats as annotations.
        config: `beats` and `sequences` define the segmentation, `loader` the inputs.
        mean: subtracted from the scalograms; broadcasts to (F, T, 1); None subtracts nothing.
        scale: divisor of the scalograms; broadcasts to (F, T, 1); None means 1.
        where: name of the recording in error messages.

    Raises:
        InputError: as `extract_beats`.
    """

    def __init__(
        self,
        recording: Recording,
        config: Config,
        mean: np.ndarray | None,
        scale: np.ndarray | None,
        where: Path | str,
    ):
        self.config = config
        self.mean, self.scale = np.float32(0 if mean is None else mean), np.float32(1 if scale is None else scale)
        arrays = extract_beats(recording, config.beats, where)
        self.sample = arrays["sample"]  # (n,) at the sampling rate of the recording
        self._cut = arrays["samples"]
        self._stored = self._cut.astype(np.float16).astype(np.float32)
        self._level = np.median(self._stored, axis=1)
        self._median = arrays["median_beat"].astype(np.float16).astype(np.float32)
        self._quantiles = difference_quantiles(self._stored, self._median)
        self._rr = rr_series(arrays["rr_before"], arrays["rr_after"], rr_context(config.sequences))
        self._context, self._context_start = arrays["context"], arrays["context_start"]

    def __len__(self) -> int:
        return len(self.sample)

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of B = `size` consecutive beats; the last batch is filled by repeating the last beat."""
        for start in range(0, len(self), size):
            yield self.batch(np.minimum(np.arange(start, start + size), len(self) - 1))

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the inputs of selected beats.

        Args:
            rows: (B,) indices of beats.

        Returns:
            The inputs selected by `loader` among `scalograms` (B, S, F, T, 1), `context` (B, T, 1), `waveforms`
            (B, S, T, 2), `difference_quantiles` (B, 4) and `rr` (B, S, R), float32.
        """
        loader, length = self.config.loader, self.config.sequences.length
        position = label_position(self.config.sequences)
        beats = np.clip(rows[:, None] - position + np.arange(length), 0, len(self) - 1)  # (B, S)
        samples = self._stored[beats] - self._level[beats][..., None]
        inputs = {}
        if loader.scalograms:
            inputs["scalograms"] = self._scalograms(beats)
        if loader.context:
            inputs["context"] = self._windows(rows)
        if loader.waveforms:
            inputs["waveforms"] = np.stack([samples, samples - self._median], -1)
        if loader.difference_quantiles:
            inputs["difference_quantiles"] = np.repeat(self._quantiles[None], len(rows), 0)
        if loader.rr_features:
            inputs["rr"] = self._rr_features(rows, position, length)
        return inputs

    def _scalograms(self, beats: np.ndarray) -> np.ndarray:
        """Compute normalized scalograms (B, S, F, T, 1) of sequences (B, S) of beats, each beat once."""
        unique, place = np.unique(beats, return_inverse=True)
        settings = self.config.beats.scales, self.config.beats.wavelet
        if self.config.loader.center:
            values = scalograms(self._stored[unique] - self._level[unique][:, None], *settings)
        elif self.config.sequences.storage == "samples":
            values = scalograms(self._stored[unique], *settings)
        else:
            values = scalograms(self._cut[unique], *settings, np.float16).astype(np.float32)
        values = ((values[..., None] - self.mean) / self.scale).astype(np.float32)
        return values[place.reshape(beats.shape)]

    def _windows(self, rows: np.ndarray) -> np.ndarray:
        index = self._context_start[rows][:, None] + np.arange(self.config.beats.context.samples)
        return zscore(self._context[index][..., None].astype(np.float32))

    def _rr_features(self, rows: np.ndarray, position: int, length: int) -> np.ndarray:
        first = rows[:, None] + rr_context(self.config.sequences) - CONTEXT - position + np.arange(length)  # (B, S)
        intervals = self._rr[first[..., None] + np.arange(2 * CONTEXT + 1)]  # (B, S, 2 CONTEXT + 1)
        features = rr_features(intervals.reshape(-1, 2 * CONTEXT + 1))
        return features.reshape(*first.shape, -1).astype(np.float32)
