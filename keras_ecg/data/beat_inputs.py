"""The inputs of a beat classifier for one recording, in memory: what the TFRecord stream yields, without files.

Shapes: n beats, B beats of a batch, S beats of a sequence, F scales, T samples, R rhythm features.
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
    """The beats of a recording, cut and normalized as those that a classifier was trained on.

    Values are rounded to the precision in which HDF5 and TFRecord files store them.

    Args:
        recording: signals, and the positions of the beats as its annotations.
        config: `beats`, `sequences` and `loader` say how beats are cut and what a model takes.
        mean: of the scalograms of the training split, broadcasting against (F, T, 1); None for none.
        scale: by which they are divided; the same.
        where: names the recording in errors.

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
        self.sample = arrays["sample"]  # (n,) in the recording's own rate
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
        """Inputs of B = `size` beats at a time, in order; the last beat is repeated to fill the last batch."""
        for start in range(0, len(self), size):
            yield self.batch(np.minimum(np.arange(start, start + size), len(self) - 1))

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs of some beats.

        Args:
            rows: (B,) indices of beats.

        Returns:
            Those of `scalograms` (B, S, F, T, 1), `context` (B, T, 1), `waveforms` (B, S, T, 2),
            `difference_quantiles` (B, 4) and `rr` (B, S, R) that `loader` asks for, float32.
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
            inputs["rr"] = self._rhythm(rows, position, length)
        return inputs

    def _scalograms(self, beats: np.ndarray) -> np.ndarray:
        """Normalized scalograms (B, S, F, T, 1) of sequences of beats, each beat transformed once."""
        kept, place = np.unique(beats, return_inverse=True)
        settings = self.config.beats.scales, self.config.beats.wavelet
        if self.config.loader.center:
            found = scalograms(self._stored[kept] - self._level[kept][:, None], *settings)
        elif self.config.sequences.storage == "samples":
            found = scalograms(self._stored[kept], *settings)
        else:
            found = scalograms(self._cut[kept], *settings, np.float16).astype(np.float32)
        found = ((found[..., None] - self.mean) / self.scale).astype(np.float32)
        return found[place.reshape(beats.shape)]

    def _windows(self, rows: np.ndarray) -> np.ndarray:
        index = self._context_start[rows][:, None] + np.arange(self.config.beats.context.samples)
        return zscore(self._context[index][..., None].astype(np.float32))

    def _rhythm(self, rows: np.ndarray, position: int, length: int) -> np.ndarray:
        first = rows[:, None] + rr_context(self.config.sequences) - CONTEXT - position + np.arange(length)  # (B, S)
        intervals = self._rr[first[..., None] + np.arange(2 * CONTEXT + 1)]  # (B, S, 2 CONTEXT + 1)
        features = rr_features(intervals.reshape(-1, 2 * CONTEXT + 1))
        return features.reshape(*first.shape, -1).astype(np.float32)
