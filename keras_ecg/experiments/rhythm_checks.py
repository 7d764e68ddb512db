"""What a trained rhythm model makes of disturbed recordings, and whether its maps show what it looks at."""

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
    """Places (m,) in `known` of at most `count` test recordings, ascending; each class by its share, at least one."""
    rng = np.random.default_rng(seed)
    own = np.flatnonzero(np.isin(known["record"], test))
    chosen = []
    for k in range(len(CLASSES)):
        of_class = own[known["label"][own] == k]
        wanted = max(1, round(count * len(of_class) / len(own))) if len(of_class) else 0
        chosen.append(rng.permutation(of_class)[:wanted])
    return np.sort(np.concatenate(chosen))


def disturbed_predictions(
    model: keras.Model, config: Config, known: dict, test: tuple[str, ...], jobs: int | None = None
) -> dict[str, np.ndarray]:
    """Probabilities of drawn test recordings under every disturbance; beats are looked for anew in each.

    Returns:
        record (m,), y_true (m,), disturbance (c,) str, strength (c,), source: of the noise, probabilities (c, m, 4).

    Raises:
        InputError: a recording or a noise cannot be read.
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


def without_stretches(signal: np.ndarray, beats: np.ndarray, gone: np.ndarray, rate: float) -> tuple[list, list]:
    """Copies of a recording that each lack some of its equal stretches: flat there, and without the beats there.

    Args:
        signal: (T,).
        beats: (n,) seconds.
        gone: (V, S) bool, a row per copy.
        rate: samples per second.
    """
    count = gone.shape[1]
    of_sample = np.arange(len(signal)) * count // len(signal)
    of_beat = np.minimum(beats * rate * count // len(signal), count - 1).astype(int)
    return [np.where(row[of_sample], 0, signal) for row in gone], [beats[~row[of_beat]] for row in gone]


def occlusion(model: keras.Model, config: Config, known: dict, test: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Maps of what test recordings' answers depend on, and what deleting it does, beside deleting at random.

    A stretch's importance is what the probability of the answer loses when the stretch is taken away.

    Returns:
        record, y_true, y_pred (m,); base (m,), the answer's probability; mapped (m, shares), that after the most
        important stretches are deleted; random (m, shares, draws); shares; maps_drawn (k,), their indices; and
        of these signal (k, T) and importance (k, S), NaN-padded, and beats (k, n), -1-padded.

    Raises:
        InputError: a recording cannot be read.
    """
    rhythm, wanted, rate = config.rhythm, config.rhythm.robustness, config.rhythm.sampling_rate_hz
    place = draw_recordings(known, test, wanted.occlusion_recordings, wanted.seed)
    rng, shares = np.random.default_rng(wanted.seed), wanted.deletion_fractions
    longest = samples_of(rhythm.window_seconds, rhythm)
    out: dict[str, list] = {name: [] for name in ("y_pred", "base", "mapped", "random")}
    maps, shown = [], []

    def answers(signal: np.ndarray, beats: np.ndarray, gone: np.ndarray) -> np.ndarray:
        found = []
        for first in range(0, len(gone), BATCH):
            signals, left = without_stretches(signal, beats, gone[first : first + BATCH], rate)
            found.append(model.predict_on_batch(as_inputs(signals, left, rate)))
        return np.concatenate(found)

    for k in place.tolist():
        signal, beats = clean(*lead_of(config.database.data_dir, str(known["record"][k]), rhythm), rhythm)
        signal, beats = signal[:longest].astype(np.float32), beats[beats < longest / rate]
        count = max(4, round(len(signal) / rate / wanted.occlusion_seconds))
        found = answers(signal, beats, np.concatenate([np.zeros((1, count), bool), np.eye(count, dtype=bool)]))
        answer = int(found[0].argmax())
        importance = found[0, answer] - found[1:, answer]
        order = np.argsort(-importance, kind="stable")
        sizes = [max(1, round(share * count)) for share in shares]
        rows = [np.isin(np.arange(count), order[:size]) for size in sizes]
        rows += [rng.permutation(count) < size for size in sizes for _ in range(wanted.random_draws)]
        left = answers(signal, beats, np.stack(rows))[:, answer]
        out["y_pred"].append(answer)
        out["base"].append(found[0, answer])
        out["mapped"].append(left[: len(sizes)])
        out["random"].append(left[len(sizes) :].reshape(len(sizes), wanted.random_draws))
        if np.sum(known["label"][shown] == known["label"][k]) < -(-wanted.maps_drawn // len(CLASSES)):
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
    """Rows of any length as one float32 array, filled up."""
    out = np.full((len(rows), max(map(len, rows), default=0)), fill, np.float32)
    for to, row in zip(out, rows, strict=True):
        to[: len(row)] = row
    return out
