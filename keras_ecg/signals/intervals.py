"""Intervals, frontal axis and amplitudes of a recording, from delineation by NeuroKit2.

Beats are detected in the norm over all leads. Waves are delineated by peak prominence: Emrich J et al.,
Physiology-Informed ECG Delineation Based on Peak Prominence, EUSIPCO (2024). NeuroKit2's default method, the discrete
wavelet transform, measures 0.17 s for normal QRS complexes in lead II, which is too long.

P and T waves are measured in one lead (II, or else the first). The method puts onset and offset of the QRS complex at
the feet of its main peak, which are the tips of Q and S in leads with these waves; therefore the longest QRS duration
over leads is used. Amplitudes of all leads are measured at the same times, relative to the level before the QRS
complex, in the unfiltered signal. All features are medians over beats.

Limits: QRS durations above 0.14 s are measured as 0.14 s; with few leads, QRS durations are underestimated; waves are
searched up to the middle between two beats, so that QT is underestimated above 100 beats per minute, and often missing
above 120.

Shapes: T samples, C leads, n beats, K features.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from keras_ecg.signals.filters import bandpass, resample
from keras_ecg.signals.qrs import detect_qrs

INTERVALS = (
    "heart_rate_bpm", "pr_seconds", "qrs_seconds", "qt_seconds", "qtc_seconds", "axis_cosine", "axis_sine",
)  # fmt: skip
AMPLITUDES = ("r_mv", "s_mv", "p_mv", "t_mv", "st_mv")  # for each lead

RATE_HZ = 500.0  # sampling rate of the delineation
BAND_HZ = (0.5, 40.0)
MIN_BEATS = 3
MIN_SECONDS = 2.0
MAX_MISSING = 0.1  # fraction of a lead's samples that may be NaN
EDGE_SECONDS = 0.2  # beats nearer to an end of the recording are incomplete
MIN_RR_SECONDS = 0.2  # nearer beats may be two detections of one beat
PEAK_RADIUS_SECONDS = 0.08  # largest distance between the peaks of a beat in two leads
QRS_WINDOW_MS = 140  # NeuroKit2's default of 100 truncates wide QRS complexes; longer windows include the ST segment
MAX_P_SPREAD_SECONDS = 0.04  # of P to R, between quartiles: exceeded in 93 % of PTB-XL's fibrillation, 3 % of normals
LEVEL_SECONDS = 0.02  # duration over which amplitudes are averaged: one period of 50 Hz mains noise
BASELINE_SECONDS = 0.02  # before the first QRS onset: the reference level of amplitudes
ST_SECONDS = 0.06  # after the QRS offset


@dataclass(frozen=True)
class _Waves:
    """Median times over beats, in seconds relative to the detected beat; NaN if missing."""

    qrs_onset: np.ndarray  # (C,), of each lead
    qrs_offset: np.ndarray  # (C,)
    p_onset: float  # of one lead, like the following times
    p_peak: float
    t_peak: float
    t_offset: float


def names(leads: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the K features of a recording with these leads: INTERVALS, then AMPLITUDES of each lead."""
    return (*INTERVALS, *(f"{lead}_{amplitude}" for lead in leads for amplitude in AMPLITUDES))


def interval_features(signal: np.ndarray, sampling_rate_hz: float, leads: tuple[str, ...]) -> np.ndarray:
    """Measure heart rate, intervals, frontal axis and amplitudes of a recording.

    The PR interval is from P onset to QRS onset, the QT interval from QRS onset to T offset, with the median QRS onset
    over leads. QTc is by Fridericia's formula. The axis is the angle of the net QRS amplitude (R + S) in I and aVF,
    without scaling: 0 points to the left arm, a positive sine to the feet. R is the maximum and S the minimum of the
    QRS complex (Q or S wave), ST the level 60 ms after the QRS offset.

    Args:
        signal: (T, C) mV; NaN for invalid samples.
        sampling_rate_hz: sampling rate of the signal.
        leads: C different names, compared case-insensitively.

    Returns:
        (K,) float32, in the order of `names`. NaN for features that cannot be measured: all features of recordings with
        fewer than MIN_BEATS beats (beats near the ends count only for the heart rate) or shorter than MIN_SECONDS; PR
        and P amplitude if the time from P to QRS varies, as in fibrillation; the axis without leads I and aVF; the
        amplitudes of leads that are flat or have more than MAX_MISSING NaN samples.
    """
    found = dict.fromkeys(names(leads), np.nan)
    usable = [k for k, lead in enumerate(signal.T) if _usable(lead)]
    if usable and len(signal) >= MIN_SECONDS * sampling_rate_hz:
        found |= _measured(signal[:, usable], sampling_rate_hz, tuple(leads[k] for k in usable))
    return np.array(list(found.values()), np.float32)


def _usable(lead: np.ndarray) -> bool:
    known = lead[np.isfinite(lead)]
    return len(known) > (1 - MAX_MISSING) * len(lead) and np.ptp(known) > 0


def _measured(signal: np.ndarray, rate: float, leads: tuple[str, ...]) -> dict[str, float]:
    """Measure features of usable leads (T, C), by name; omits those for which there are too few beats."""
    whole = resample(np.stack([_interpolated(lead) for lead in signal.T], 1), rate, RATE_HZ)
    filtered = bandpass(whole, RATE_HZ, *BAND_HZ)
    beats = _find_beats(filtered)
    if len(beats) < MIN_BEATS:
        return {}
    rr = float(np.median(np.diff(beats))) / RATE_HZ
    found = {"heart_rate_bpm": 60 / rr}
    edge = EDGE_SECONDS * RATE_HZ
    beats = beats[(beats >= edge) & (beats < len(whole) - edge)]
    if len(beats) < MIN_BEATS:
        return found
    known = [lead.casefold() for lead in leads]
    waves = _delineate(whole[:, known.index("ii") if "ii" in known else 0], filtered, beats)
    onset = _median_or_nan(waves.qrs_onset, 1)
    lengths = waves.qrs_offset - waves.qrs_onset
    found["pr_seconds"] = onset - waves.p_onset
    found["qrs_seconds"] = np.fmax.reduce(lengths)  # the longest measured one
    found["qt_seconds"] = waves.t_offset - onset
    found["qtc_seconds"] = found["qt_seconds"] / np.cbrt(rr)
    measured = _amplitudes(signal, rate, beats / RATE_HZ, waves)
    for lead, row in zip(leads, measured, strict=True):
        found |= {f"{lead}_{name}": value for name, value in zip(AMPLITUDES, row, strict=True)}
    net = dict(zip(known, measured[:, 0] + measured[:, 1], strict=True))
    x, y = net.get("i", np.nan), net.get("avf", np.nan)
    if np.hypot(x, y) > 0:
        found |= {"axis_cosine": x / np.hypot(x, y), "axis_sine": y / np.hypot(x, y)}
    return found


def _interpolated(lead: np.ndarray) -> np.ndarray:
    """Return a lead (T,) as float64 with NaN samples linearly interpolated."""
    known = np.flatnonzero(np.isfinite(lead))
    return np.interp(np.arange(len(lead)), known, lead[known].astype(float))


def _find_beats(filtered: np.ndarray) -> np.ndarray:
    """Detect beats, sample indices (n,), in the norm over leads (T, C)."""
    size = np.linalg.norm(filtered - np.median(filtered, axis=0), axis=1)
    beats = detect_qrs(size, RATE_HZ)
    return beats[np.diff(beats, prepend=-np.inf) >= MIN_RR_SECONDS * RATE_HZ]


def _delineate(lead: np.ndarray, filtered: np.ndarray, beats: np.ndarray) -> _Waves:
    """Delineate beats (n,): P and T waves in one unfiltered lead (T,), QRS complexes in all leads (T, C)."""
    edges = []
    for values in filtered.T:
        peaks, sign = _peaks_near(values, beats)
        waves = _waves(sign * values, peaks, max_r_basepoint_interval=QRS_WINDOW_MS)
        edges.append([_median_or_nan(waves[name] - beats) for name in ("ECG_R_Onsets", "ECG_R_Offsets")])
    with _neurokit() as neurokit2:
        smooth = neurokit2.ecg_clean(
            lead, int(RATE_HZ)
        )  # with its filter, PR separates AV block better than in BAND_HZ
    waves = _waves(smooth, _peaks_near(smooth, beats)[0])
    p = waves["ECG_P_Peaks"] - beats
    finite = p[np.isfinite(p)]
    if len(finite) and np.subtract(*np.quantile(finite, (0.75, 0.25))) > MAX_P_SPREAD_SECONDS * RATE_HZ:
        waves |= dict.fromkeys(("ECG_P_Onsets", "ECG_P_Peaks"), np.full(len(beats), np.nan))
    slow = [_median_or_nan(waves[f"ECG_{name}"] - beats) for name in ("P_Onsets", "P_Peaks", "T_Peaks", "T_Offsets")]
    return _Waves(*(np.array(edges).T / RATE_HZ), *(np.array(slow) / RATE_HZ))


@contextmanager
def _neurokit() -> Iterator[ModuleType]:
    """Import NeuroKit2, and suppress its warnings about peaks without prominence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import neurokit2  # imported late, because it takes seconds

        yield neurokit2


def _peaks_near(lead: np.ndarray, beats: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the largest deflections (n,) of a lead (T,) near beats, and 1 if most are upward, else -1."""
    radius = round(PEAK_RADIUS_SECONDS * RATE_HZ)
    around = beats[:, None] + np.arange(-radius, radius + 1)
    deflection = lead[around] - np.median(lead[around], axis=1, keepdims=True)
    place = np.abs(deflection).argmax(1)[:, None]
    upward = np.median(np.take_along_axis(deflection, place, 1)) >= 0
    return np.take_along_axis(around, place, 1)[:, 0], 1.0 if upward else -1.0


def _waves(lead: np.ndarray, peaks: np.ndarray, **limits: float) -> dict[str, np.ndarray]:
    """Delineate a lead (T,) with NeuroKit2: sample indices (n,) by name, such as "ECG_P_Onsets"; NaN if missing."""
    with _neurokit() as neurokit2:
        waves = neurokit2.ecg_delineate(lead, peaks, int(RATE_HZ), method="prominence", **limits)[1]
    # NeuroKit2 omits a wave at sample 0, which can only belong to the first beat.
    missing = {name: (len(peaks) - len(at), 0) for name, at in waves.items()}
    return {name: np.pad(np.array(at, float), missing[name], constant_values=np.nan) for name, at in waves.items()}


def _amplitudes(signal: np.ndarray, rate: float, beats_seconds: np.ndarray, waves: _Waves) -> np.ndarray:
    """Measure AMPLITUDES (C, 5) of leads (T, C), medians over beats (n,)."""
    first, last = np.fmin.reduce(waves.qrs_onset), np.fmax.reduce(waves.qrs_offset)
    half = LEVEL_SECONDS / 2

    def cut(start: float, stop: float) -> np.ndarray:
        """Return samples (n, W, C) between two times relative to each beat; NaN beyond the ends."""
        if not np.isfinite(start + stop):
            return np.full((len(beats_seconds), 1, signal.shape[1]), np.nan)
        steps = round(start * rate) + np.arange(max(1, round((stop - start) * rate)))
        at = np.rint(beats_seconds * rate).astype(int)[:, None] + steps
        inside = (at >= 0) & (at < len(signal))
        return np.where(inside[..., None], signal[np.clip(at, 0, len(signal) - 1)], np.nan)

    qrs = cut(first, last)
    points = [qrs.max(1), qrs.min(1)]
    before = first - BASELINE_SECONDS
    for at in (waves.p_peak, waves.t_peak, _median_or_nan(waves.qrs_offset, 1) + ST_SECONDS, before):
        points.append(cut(at - half, at + half).mean(1))
    return np.array([[_median_or_nan(lead) for lead in (point - points[-1]).T] for point in points[:-1]]).T


def _median_or_nan(values: np.ndarray, least: int = MIN_BEATS) -> float:
    """Return the median of the finite values; NaN if there are fewer than `least`."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) >= least else np.nan
