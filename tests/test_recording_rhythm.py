"""RR features of recordings against reference loops, with padding and on both backends."""

import keras
import numpy as np
import pytest
from layer_checks import run_layer_test
from rhythms import intervals

from keras_ecg.layers.beat_rhythm import BEAT_FEATURES, FEATURES, BeatMask, RecordingRhythm, TokensAtBeats
from keras_ecg.signals.rhythm import QUANTILES, intervals_of, masked_quantiles, recording_rhythm


def padded(rows, width=None) -> np.ndarray:
    out = np.full((len(rows), width or max(map(len, rows))), -1, np.float32)
    for to, row in zip(out, rows, strict=True):
        to[: len(row)] = row
    return out


def beats_of(kind: str, seconds: float = 30, seed: int = 0) -> np.ndarray:
    found = np.cumsum(intervals(kind, 200, np.random.default_rng(seed)))
    return found[found < seconds]


def plain(beats: np.ndarray, seconds: float) -> dict[str, float]:
    """Some of the features of one recording, by their definitions."""
    log = np.log(np.clip(np.diff(beats), 0.15, 4))
    median = np.sort(log)[int(np.floor(0.5 * (len(log) - 1) + 0.5))]
    off, step = log - median, np.diff(log)
    near = [(i, j) for i in range(len(log)) for j in range(len(log)) if i != j and abs(log[i] - log[j]) < 0.08]
    pairs = [(i, j) for i, j in near if i + 1 < len(log) and j + 1 < len(log) and abs(log[i + 1] - log[j + 1]) < 0.08]
    single, double = len(near) / len(log) / (len(log) - 1), len(pairs) / len(step) / (len(step) - 1)
    return {
        "rate": len(log) / seconds,
        "median": median,
        "mean step": np.abs(step).mean(),
        "early": (off < -0.1).mean(),
        "usual": (np.abs(off) < 0.04).mean(),
        "paused": np.mean((off[:-1] < -0.12) & (off[1:] > 0.05)),
        "uncovered": (seconds - (beats[-1] - beats[0])) / seconds,
        "single": np.log(single + 0.01),
        "entropy": np.log((double + 0.01) / (single + 0.01)),
    }


PLACES = {
    "rate": 0, "median": 11, "mean step": 19, "early": 25, "usual": 31, "paused": 32, "uncovered": 35, "single": 38,
    "entropy": 39,
}  # fmt: skip


@pytest.mark.parametrize("kind", "NAO")
def test_rr_features_equal_their_definitions(kind):
    beats = beats_of(kind)
    found = recording_rhythm(padded([beats], 120), np.array([30.0], np.float32))
    assert found.shape == (1, FEATURES)
    for name, expected in plain(beats.astype(np.float32), 30.0).items():
        assert found[0, PLACES[name]] == pytest.approx(expected, abs=2e-4), name


def test_quantiles_are_those_of_the_known_values():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 40)).astype(np.float32)
    count = np.array([1, 2, 7, 39, 40])
    known = np.arange(40) < count[:, None]
    found = masked_quantiles(values, known, QUANTILES)
    for row, n, own in zip(found, count, values, strict=True):
        expected = np.quantile(own[:n], QUANTILES, method="closest_observation") if n > 1 else own[:1]
        assert (row[0], row[-1]) == (own[:n].min(), own[:n].max())
        ranks = np.floor(np.array(QUANTILES) * (n - 1) + 0.5).astype(int)
        np.testing.assert_array_equal(row, np.sort(own[:n])[ranks])
        assert np.isin(row, own[:n]).all() and len(expected)


def test_padding_and_other_recordings_do_not_change_features():
    rows = [beats_of(kind, seconds) for kind, seconds in (("N", 30), ("A", 12), ("O", 60))]
    seconds = np.array([30, 12, 60], np.float32)
    together = recording_rhythm(padded(rows, 250), seconds)
    for k, row in enumerate(rows):
        alone = recording_rhythm(padded([row]), seconds[k : k + 1])
        np.testing.assert_allclose(alone[0], together[k], atol=1e-5)


def test_recordings_with_few_beats_have_finite_features():
    rows = [[], [1.0], [1, 2], [1, 2, 3, 4, 5.0]]
    found = recording_rhythm(padded(rows, 9), np.full(4, 10, np.float32))
    assert np.isfinite(found).all()
    assert found[:, 1].tolist() == [0, 0, 0, 1] and not found[:3, 2:].any()


def test_keras_and_numpy_features_are_equal():
    beats = padded([beats_of(kind) for kind in "NAO"] + [np.empty(0)], 130)
    seconds = np.full(4, 30, np.float32)
    found = keras.ops.convert_to_numpy(recording_rhythm(keras.ops.array(beats), keras.ops.array(seconds), keras.ops))
    np.testing.assert_allclose(found, recording_rhythm(beats, seconds), atol=1e-4)


def test_intervals_end_where_beats_do():
    log, known = intervals_of(padded([[1, 2, 2.5], [3.0]], 5))
    np.testing.assert_allclose(log[0, :2], np.log([1, 0.5]), atol=1e-6)
    assert known.tolist() == [[True, True, False, False], [False] * 4] and not log[~known].any()


def test_tokens_at_beats_are_gathered_at_r_peaks():
    tokens = np.arange(2 * 10 * 3, dtype=np.float32).reshape(2, 10, 3)
    beats = padded([[0.1, 1.3, 2.9, 3.3], [4.99]], 6)
    found = keras.ops.convert_to_numpy(TokensAtBeats(tokens_per_second=2.0)(tokens, beats))
    assert found.shape == (2, 6, 3 + BEAT_FEATURES)
    np.testing.assert_array_equal(found[0, :4, :3], tokens[0, [0, 2, 5, 6]])
    np.testing.assert_array_equal(found[1, 0, :3], tokens[1, 9])
    assert not found[0, 4:].any() and not found[1, 1:].any()
    log = np.log([1.2, 1.6, 0.4])
    off = log - np.median(log)
    expected = np.array([0, *off]), np.array([*off, 0])
    np.testing.assert_allclose(found[0, :4, 3:5].T, expected, atol=1e-5)
    np.testing.assert_allclose(found[0, :4, 5], expected[1] - expected[0], atol=1e-5)
    np.testing.assert_allclose(found[0, :4, 8], np.median(log), atol=1e-5)
    np.testing.assert_allclose(found[0, :4, 9], [0.2, 0.6, 0.8, 0.6], atol=1e-5)


LAYERS = {
    "rhythm": (RecordingRhythm, {"sampling_rate_hz": 50.0}, {"beats": (3, 20), "length": (3,)}, (3, FEATURES)),
    "mask": (BeatMask, {}, {"beats": (3, 20)}, (3, 20, 1)),
    "tokens": (TokensAtBeats, {"tokens_per_second": 3.0}, {"tokens": (3, 9, 4), "beats": (3, 20)}, (3, 20, 11)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, tmp_path, monkeypatch):
    import layer_checks

    def inputs_for(shapes, seed=0):
        rng = np.random.default_rng(seed)
        found = {k: rng.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}
        found["beats"] = padded([beats_of(kind, 10, seed)[:18] for kind in "NAO"], 20)
        return {k: np.array([500, 900, 1000], np.float32) if k == "length" else found[k] for k in shapes}

    monkeypatch.setattr(layer_checks, "inputs_for", inputs_for)
    run_layer_test(*LAYERS[name], tmp_path)
