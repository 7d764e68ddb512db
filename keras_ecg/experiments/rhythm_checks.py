"""Robustness of a rhythm classifier to corrupted recordings, and occlusion maps with a deletion test."""

import keras
import numpy as np

from keras_ecg.config import Config
from keras_ecg.data.disturbed import disturbed_recording, source_of_noise
from keras_ecg.data.rhythm_records import clean, lead_of, samples_of
from keras_ecg.data.rhythm_stream import as_inputs
from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.parallel import each

BATCH = 64


def draw_recordings(known: dict[str, np.ndarray], test: tuple[str, ...], count: int, seed: int) -> np.ndarray:
    """Draw about `count` test recordings, stratified by class, at least one each: sorted indices (m,) into `known`."""
    rng = np.random.default_rng(seed)
    own = np.flatnonzero(np.isin(known["record"], test))
    chosen = []
    for k in range(len(CLASSES)):
        of_class = own[known["label"][own] == k]
        number = max(1, round(count * len(of_class) / len(own))) if len(of_class) else 0
        chosen.append(rng.permutation(of_class)[:number])
    return np.sort(np.concatenate(chosen))


def disturbed_predictions(
    model: keras.Model, config: Config, known: dict, test: tuple[str, ...], jobs: int | None = None
) -> dict[str, np.ndarray]:
    """Predict test recordings under every corruption; R peaks are detected again in each corrupted recording.

    Returns:
        Arrays record (m,), y_true (m,), disturbance (c,) str, strength (c,), source of the noise, and probabilities
        (c, m, 4), for m recordings and c corruptions.

    Raises:
        InputError: an unreadable recording or noise record.
    """
    rhythm = config.rhythm
    place = draw_recordings(known, test, rhythm.robustness.recordings, rhythm.robustness.seed)
    longest = samples_of(rhythm.window_seconds, rhythm)

    def disturb(k: int) -> tuple[int, list]:
        return k, disturbed_recording(str(known["record"][k]), config, rhythm.robustness.seed + k)

    with each(disturb, place.tolist(), "disturb", jobs, unit="recording") as results:
        found = dict(results)
    conditions = [(name, size) for name, size, *_ in found[int(place[0])]]
    probabilities = np.empty((len(conditions), len(place), len(CLASSES)), np.float16)
    for c in range(len(conditions)):
        for first in range(0, len(place), BATCH):
            own = [found[k][c] for k in place[first : first + BATCH].tolist()]
            signals = [signal[:longest] for *_, signal, _ in own]
            inputs = as_inputs(signals, [beats for *_, beats in own], rhythm.sampling_rate_hz, longest)
            probabilities[c, first : first + BATCH] = model.predict_on_batch(inputs)
    return {
        "record": known["record"][place],
        "y_true": known["label"][place],
        "disturbance": np.array([name for name, _ in conditions]),
        "strength": np.array([size for _, size in conditions]),
        "source": np.array(source_of_noise(config)),
        "probabilities": probabilities,
    }


def occlude(signal: np.ndarray, beats: np.ndarray, occluded: np.ndarray, rate: float) -> tuple[list, list]:
    """Make copies of a recording with occluded segments: zero samples, and no beats.

    Args:
        signal: (T,).
        beats: R-peak times (n,) in seconds.
        occluded: (V, M) bool, which of M equal segments are occluded in each of V copies.
        rate: sampling rate in Hz.
    """
    count = occluded.shape[1]
    of_sample = np.arange(len(signal)) * count // len(signal)
    of_beat = np.minimum(beats * rate * count // len(signal), count - 1).astype(int)
    return [np.where(row[of_sample], 0, signal) for row in occluded], [beats[~row[of_beat]] for row in occluded]


def occlusion(model: keras.Model, config: Config, known: dict, test: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Compute occlusion maps of test recordings, and the deletion test, compared with deletion at random.

    The importance of a segment is the decrease of the predicted class's probability when the segment is occluded.

    Returns:
        Arrays record, y_true, y_pred (m,); base (m,), probability of the predicted class; mapped (m, f), probability
        after deletion of the most important segments, for f fractions; random (m, f, draws), after random deletion;
        shares (f,); maps_drawn (k,), indices of the recordings in the report's figure, with signal (k, T) and
        importance (k, M) padded with NaN, and beats (k, n) padded with -1.

    Raises:
        InputError: an unreadable recording.
    """
    rhythm, settings, rate = config.rhythm, config.rhythm.robustness, config.rhythm.sampling_rate_hz
    place = draw_recordings(known, test, settings.occlusion_recordings, settings.seed)
    rng, shares = np.random.default_rng(settings.seed), settings.deletion_fractions
    longest = samples_of(rhythm.window_seconds, rhythm)
    out: dict[str, list] = {name: [] for name in ("y_pred", "base", "mapped", "random")}
    maps, shown = [], []

    def predict(signal: np.ndarray, beats: np.ndarray, occluded: np.ndarray) -> np.ndarray:
        probabilities = []
        for first in range(0, len(occluded), BATCH):
            signals, remaining = occlude(signal, beats, occluded[first : first + BATCH], rate)
            probabilities.append(model.predict_on_batch(as_inputs(signals, remaining, rate)))
        return np.concatenate(probabilities)

    for k in place.tolist():
        signal, beats = clean(*lead_of(config.database.data_dir, str(known["record"][k]), rhythm), rhythm)
        signal, beats = signal[:longest].astype(np.float32), beats[beats < longest / rate]
        count = max(4, round(len(signal) / rate / settings.occlusion_seconds))
        found = predict(signal, beats, np.concatenate([np.zeros((1, count), bool), np.eye(count, dtype=bool)]))
        predicted = int(found[0].argmax())
        importance = found[0, predicted] - found[1:, predicted]
        order = np.argsort(-importance, kind="stable")
        sizes = [max(1, round(share * count)) for share in shares]
        rows = [np.isin(np.arange(count), order[:size]) for size in sizes]
        rows += [rng.permutation(count) < size for size in sizes for _ in range(settings.random_draws)]
        deleted = predict(signal, beats, np.stack(rows))[:, predicted]
        out["y_pred"].append(predicted)
        out["base"].append(found[0, predicted])
        out["mapped"].append(deleted[: len(sizes)])
        out["random"].append(deleted[len(sizes) :].reshape(len(sizes), settings.random_draws))
        if np.sum(known["label"][shown] == known["label"][k]) < -(-settings.maps_drawn // len(CLASSES)):
            shown.append(k)
            maps.append((signal, importance, beats))
    arrays = {name: np.array(values) for name, values in out.items()}
    names = {"record": known["record"][place], "y_true": known["label"][place], "shares": np.array(shares)}
    names["maps_drawn"] = np.flatnonzero(np.isin(place, shown))
    pictures = {
        name: padded([picture[k] for picture in maps], fill)
        for k, (name, fill) in enumerate({"signal": np.nan, "importance": np.nan, "beats": -1.0}.items())
    }
    return {**names, **arrays, **pictures}


def padded(rows: list[np.ndarray], fill: float) -> np.ndarray:
    """Stack rows of different lengths as one float32 array, padded with `fill`."""
    out = np.full((len(rows), max(map(len, rows), default=0)), fill, np.float32)
    for to, row in zip(out, rows, strict=True):
        to[: len(row)] = row
    return out
