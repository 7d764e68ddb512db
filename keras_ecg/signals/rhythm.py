"""RR intervals of a record's beats, and features of the rhythm around a beat."""

from types import SimpleNamespace
from typing import Any

import numpy as np

CONTEXT = 32  # intervals on each side of a beat's own that its features see: half a minute each way

NUMPY = SimpleNamespace(log=np.log, clip=np.clip, sort=np.sort, join=np.concatenate, std=np.std)


def rr_intervals(samples: np.ndarray, sampling_rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """The intervals before and after each beat.

    Args:
        samples: (n,) sample indices of the beats, ascending.
        sampling_rate_hz: of those indices.

    Returns:
        Two arrays (n,) float32 in seconds; NaN before the first beat and after the last.
    """
    gaps = np.diff(samples).astype(np.float32) / np.float32(sampling_rate_hz)
    before = np.concatenate([[np.float32(np.nan)], gaps])
    after = np.concatenate([gaps, [np.float32(np.nan)]])
    return before, after


def rr_series(before: np.ndarray, after: np.ndarray, context: int) -> np.ndarray:
    """A record's intervals with `context` more on each side, reflected at its ends.

    Args:
        before: (n,) seconds, as `rr_intervals` gives them.
        after: (n,) seconds.
        context: C, intervals added on each side.

    Returns:
        (n + 1 + 2 C,) float32 seconds. Interval i + C is the one before beat i.
    """
    series = np.concatenate([before, after[-1:]])
    known = np.isfinite(series)
    for end, near in ((0, series[1:10]), (len(series) - 1, series[-10:-1])):
        if not known[end]:
            near = near[np.isfinite(near)]
            series[end] = np.median(near) if len(near) else 1.0
    return np.pad(series, context, mode="reflect").astype(np.float32)


def rr_windows(series: np.ndarray, beats: int, context: int) -> np.ndarray:
    """The intervals around each beat, (n, 2 C + 1) seconds: column C is the one before it, C + 1 the one after."""
    return np.lib.stride_tricks.sliding_window_view(series, 2 * context + 1)[:beats]


def rr_features(windows: Any, xp: SimpleNamespace = NUMPY) -> Any:
    """Features of the rhythm around beats; every one is a logarithm of a ratio, but for the first two.

    Beside the interval before the beat and after it (log seconds), they compare it with the short, usual and long
    intervals of the minute around (quantiles: robust where ectopic beats are the majority), with its near neighbours,
    and say how irregular the rhythm is.

    Args:
        windows: (n, 2 W + 1) seconds, as `rr_windows` gives them; W at least 9.
        xp: the five functions used, NumPy's by default.

    Returns:
        (n, 31) float32 within -1.5 and 1.5.
    """
    width = windows.shape[1] // 2
    log = xp.log(xp.clip(windows, 0.15, 4.0))
    before, after = log[:, width : width + 1], log[:, width + 1 : width + 2]
    ordered = xp.sort(log, axis=1)
    last = ordered.shape[1] - 1
    quantile = [ordered[:, round(last * q)][:, None] for q in (0.1, 0.25, 0.5, 0.75, 0.9)]
    near = xp.sort(log[:, width - 8 : width + 10], axis=1)  # 18 intervals
    past = xp.sort(log[:, width - 4 : width], axis=1)
    usual_near, usual_past = (near[:, 8:9] + near[:, 9:10]) / 2, (past[:, 1:2] + past[:, 2:3]) / 2
    features = [before, after, before - after]
    features += [before - q for q in quantile] + [after - q for q in quantile[2:]]
    features += [before - usual_near, before - near[:, 14:15], before - near[:, 17:18], before - usual_past]
    features += [xp.std(log[:, width - 8 : width], 1)[:, None], xp.std(log[:, width + 1 : width + 9], 1)[:, None]]
    features += [quantile[3] - quantile[1], quantile[4] - quantile[0]]
    features += [log[:, width + k : width + k + 1] - before for k in (*range(-6, 0), *range(2, 8))]
    return xp.clip(xp.join(features, 1), -1.5, 1.5)
