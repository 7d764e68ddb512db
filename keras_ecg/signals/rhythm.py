"""RR intervals of a record's beats, and features of the rhythm around a beat."""

from types import SimpleNamespace
from typing import Any

import numpy as np

CONTEXT = 32  # intervals on each side of a beat's own that its features see: half a minute each way

NUMPY = SimpleNamespace(
    log=np.log,
    clip=np.clip,
    sort=np.sort,
    join=np.concatenate,
    std=np.std,
    mean=np.mean,
    abs=np.abs,
    number=lambda truth: truth.astype(np.float32),
)


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
    """Features of the rhythm around beats, most of them logarithms of ratios of intervals.

    Beside the interval before the beat and after it (log seconds), they compare it with the short, usual and long
    intervals of the minute around (quantiles: robust where ectopic beats are the majority), with its near neighbours,
    and say how irregular the rhythm is and how many intervals are like this one: fibrillation against ectopy.

    Args:
        windows: (n, 2 W + 1) seconds, as `rr_windows` gives them; W at least 13.
        xp: the functions used, NumPy's by default.

    Returns:
        (n, 40) float32 within -1.5 and 1.5.
    """
    width = windows.shape[1] // 2
    log = xp.log(xp.clip(windows, 0.15, 4.0))
    before, after = log[:, width : width + 1], log[:, width + 1 : width + 2]
    ordered = xp.sort(log, axis=1)
    last = ordered.shape[1] - 1
    quantile = [ordered[:, round(last * q)][:, None] for q in (0.1, 0.25, 0.5, 0.75, 0.9)]
    near = xp.sort(log[:, width - 8 : width + 10], axis=1)  # 18 intervals
    usual_near, usual_past = (near[:, 8:9] + near[:, 9:10]) / 2, middle(log[:, width - 4 : width], xp)
    features = [before, after, before - after]
    features += [before - q for q in quantile] + [after - q for q in quantile[2:]]
    features += [before - usual_near, before - near[:, 14:15], before - near[:, 17:18], before - usual_past]
    features += [xp.std(log[:, width - 8 : width], 1)[:, None], xp.std(log[:, width + 1 : width + 9], 1)[:, None]]
    features += [quantile[3] - quantile[1], quantile[4] - quantile[0]]
    features += [log[:, width + k : width + k + 1] - before for k in (*range(-6, 0), *range(2, 8))]
    jumps = xp.abs(log[:, 1:] - log[:, :-1])
    usual, spread = quantile[2], quantile[3] - quantile[1] + 0.05
    features += [
        5 * middle(jumps, xp),
        3 * xp.mean(jumps, 1)[:, None],
        5 * middle(jumps[:, width - 12 : width + 12], xp),
    ]
    features += [(before - usual) / spread / 4, (before - quantile[3]) / spread / 4]
    alike = (xp.abs(log - quantile[3]), xp.abs(log - usual), xp.abs(log - before))
    features += [xp.mean(xp.number(distance < 0.06), 1)[:, None] for distance in alike]
    features += [xp.mean(xp.number(log < before - 0.06), 1)[:, None]]
    return xp.clip(xp.join(features, 1), -1.5, 1.5)


def middle(values: Any, xp: SimpleNamespace = NUMPY) -> Any:
    """The median (n, 1) of rows (n, K) with K even."""
    ordered, half = xp.sort(values, axis=1), values.shape[1] // 2
    return (ordered[:, half - 1 : half] + ordered[:, half : half + 1]) / 2
