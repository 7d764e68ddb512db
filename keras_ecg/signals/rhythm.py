"""RR intervals, RR features of beats, and RR features of whole recordings."""

from types import SimpleNamespace
from typing import Any

import numpy as np

CONTEXT = 32  # RR intervals on each side of a beat that its features use: about half a minute

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
    """Compute the RR intervals before and after each beat.

    Args:
        samples: (n,) sample indices of the beats, ascending.
        sampling_rate_hz: sampling rate of the indices.

    Returns:
        Two arrays (n,) float32 in seconds; NaN before the first beat and after the last one.
    """
    gaps = np.diff(samples).astype(np.float32) / np.float32(sampling_rate_hz)
    before = np.concatenate([[np.float32(np.nan)], gaps])
    after = np.concatenate([gaps, [np.float32(np.nan)]])
    return before, after


def rr_series(before: np.ndarray, after: np.ndarray, context: int) -> np.ndarray:
    """Return the RR intervals of a record, padded by reflection.

    Args:
        before: (n,) seconds, from `rr_intervals`.
        after: (n,) seconds, from `rr_intervals`.
        context: number C of intervals added on each side.

    Returns:
        (n + 1 + 2 C,) float32 seconds; element i + C is the interval before beat i. The unknown intervals at the ends
        are replaced by the median of their neighbours.
    """
    series = np.concatenate([before, after[-1:]])
    known = np.isfinite(series)
    for end, near in ((0, series[1:10]), (len(series) - 1, series[-10:-1])):
        if not known[end]:
            near = near[np.isfinite(near)]
            series[end] = np.median(near) if len(near) else 1.0
    return np.pad(series, context, mode="reflect").astype(np.float32)


def rr_windows(series: np.ndarray, beats: int, context: int) -> np.ndarray:
    """Return the RR intervals around each beat, (n, 2 C + 1) seconds; column C is before the beat, C + 1 after it."""
    return np.lib.stride_tricks.sliding_window_view(series, 2 * context + 1)[:beats]


def rr_features(windows: Any, xp: SimpleNamespace = NUMPY) -> Any:
    """Compute RR features of beats, most of them logarithms of ratios of RR intervals.

    The features are the intervals before and after the beat (log seconds); their ratios to quantiles of the intervals
    of the minute around, which are robust against many ectopic beats, and to neighbouring intervals; the irregularity
    of the rhythm; and the fraction of intervals similar to that of the beat, which separates fibrillation from ectopic
    beats.

    Args:
        windows: (n, 2 W + 1) seconds, from `rr_windows`; W is at least 13.
        xp: namespace of array functions, by default those of NumPy.

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
    """Return the median (n, 1) of rows (n, K), with K even."""
    ordered, half = xp.sort(values, axis=1), values.shape[1] // 2
    return (ordered[:, half - 1 : half] + ordered[:, half : half + 1]) / 2


QUANTILES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)
MIN_INTERVALS = 4  # of a recording; with fewer, all features except for two are 0
UNKNOWN = 1e4  # stands for missing intervals: larger than any value, so that it is sorted last


def intervals_of(beats: Any, xp: Any = np) -> tuple[Any, Any]:
    """Compute the logarithms of the RR intervals of recordings.

    Args:
        beats: (B, K) seconds, ascending, -1 after the last.
        xp: NumPy, or a module with the same functions such as `keras.ops`.

    Returns:
        (B, K - 1) log seconds, 0 for missing intervals; (B, K - 1) bool, False for missing intervals.
    """
    known = beats[:, 1:] >= 0
    gaps = xp.where(known, beats[:, 1:] - beats[:, :-1], xp.ones_like(beats[:, 1:]))
    return xp.log(xp.clip(gaps, 0.15, 4.0)), known


def masked_quantiles(values: Any, known: Any, shares: tuple[float, ...], xp: Any = np) -> Any:
    """Compute quantiles (B, len(shares)) of the known values (B, K): the nearest value, without interpolation."""
    ordered = xp.sort(xp.where(known, values, UNKNOWN * xp.ones_like(values)), axis=1)
    count = xp.sum(xp.where(known, xp.ones_like(values), xp.zeros_like(values)), axis=1, keepdims=True)
    last = xp.maximum(count - 1, xp.zeros_like(count))
    place = xp.concatenate([xp.floor(share * last + 0.5) for share in shares], axis=1)
    return xp.take_along_axis(ordered, xp.array(place, "int32"), axis=1)


def recording_rhythm(beats: Any, seconds: Any, xp: Any = np) -> Any:
    """Compute RR features of whole recordings of any length; no classes of beats are needed.

    The features are rate and coverage; quantiles of the RR intervals, absolute and relative to the median; differences
    of successive intervals; fractions of short, long and usual intervals, and of short ones followed by a pause; and
    the similarity of all pairs of intervals and of successive intervals, as in the sample entropy of short records
    (Lake DE, Moorman JR, Am J Physiol Heart 300:H319, 2011), which separates fibrillation from ectopic beats.

    Args:
        beats: (B, K) seconds, ascending, -1 after the last.
        seconds: (B,) duration of the recordings.
        xp: NumPy, or a module with the same functions such as `keras.ops`.

    Returns:
        (B, R) float32; except for the first two, features are 0 with fewer than MIN_INTERVALS intervals.
    """
    log, known = intervals_of(beats, xp)
    one, none = xp.ones_like(log), xp.zeros_like(log)
    there = xp.where(known, one, none)
    count = xp.maximum(xp.sum(there, axis=1, keepdims=True), xp.ones_like(log[:, :1]))

    def share(truth: Any) -> Any:
        return xp.sum(xp.where(truth & known, one, none), axis=1, keepdims=True) / count

    quantiles = masked_quantiles(log, known, QUANTILES, xp)
    median = quantiles[:, 4:5]
    off = xp.where(known, log - median, none)
    pair = known[:, 1:] & known[:, :-1]
    step = xp.where(pair, log[:, 1:] - log[:, :-1], none[:, 1:])
    size = xp.abs(step)
    steps = masked_quantiles(size, pair, (0.25, 0.5, 0.75, 0.9, 1.0), xp)
    pairs = xp.maximum(xp.sum(xp.where(pair, one[:, 1:], none[:, 1:]), axis=1, keepdims=True), one[:, :1])

    def pair_share(truth: Any) -> Any:
        return xp.sum(xp.where(truth & pair, one[:, 1:], none[:, 1:]), axis=1, keepdims=True) / pairs

    def mean(values: Any, by: Any) -> Any:
        return xp.sum(values, axis=1, keepdims=True) / by

    spread = xp.sqrt(mean(off * off, count) + 1e-6)
    early, paused = off[:, :-1] < -0.12, off[:, 1:] > 0.05
    length = seconds[:, None]
    last = xp.max(beats, axis=1, keepdims=True)
    first = xp.where(beats[:, :1] >= 0, beats[:, :1], length)
    features = [
        *(quantiles[:, k : k + 1] - median for k in (0, 1, 2, 3, 5, 6, 7, 8)),
        *(quantiles[:, k : k + 1] for k in (0, 4, 8)),
        *(steps[:, k : k + 1] for k in range(5)),
        spread,
        mean(size, pairs),
        xp.sqrt(mean(step * step, pairs) + 1e-6),
        *(pair_share(size > limit) for limit in (0.02, 0.05, 0.1, 0.2)),
        *(share(off < -limit) for limit in (0.1, 0.2, 0.35)),
        *(share(off > limit) for limit in (0.1, 0.25, 0.5)),
        share(xp.abs(off) < 0.04),
        pair_share(early & paused),
        pair_share(early & (step > 0.2)),
        mean(xp.where(pair, off[:, 1:] * off[:, :-1], none[:, 1:]), pairs) / (spread * spread),
        (length - (last - first)) / length,
    ]
    alike = []  # over all pairs of intervals, single and together with the following interval
    both = known[:, :, None] & known[:, None, :]
    distance = xp.abs(log[:, :, None] - log[:, None, :])
    for limit in (0.03, 0.08):
        near = xp.where(both & (distance < limit), xp.ones_like(distance), xp.zeros_like(distance))
        single = (xp.sum(near, axis=(1, 2))[:, None] - count) / xp.maximum(count * (count - 1), one[:, :1])
        double = (xp.sum(near[:, 1:, 1:] * near[:, :-1, :-1], axis=(1, 2))[:, None] - pairs) / xp.maximum(
            pairs * (pairs - 1), one[:, :1]
        )
        single, double = (0.01 + xp.maximum(value, xp.zeros_like(value)) for value in (single, double))
        alike += [xp.log(single), xp.log(double / single)]
    enough = count >= MIN_INTERVALS
    out = xp.concatenate([*features, *alike], axis=1)
    out = xp.where(enough, out, xp.zeros_like(out))
    return xp.concatenate([count / length, xp.where(enough, one[:, :1], none[:, :1]), out], axis=1)
