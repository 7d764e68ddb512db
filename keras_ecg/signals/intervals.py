"""Intervals, frontal axis and amplitudes of a recording, on waves that NeuroKit2 delineates.

Beats are detected in the magnitude of all leads together. Waves are delineated by peak prominence: Emrich J et al.,
Physiology-Informed ECG Delineation Based on Peak Prominence, EUSIPCO (2024). By NeuroKit2's default, the discrete
wavelet transform, normal QRS in II last 0.17 seconds.

P and T waves are those of one lead (II, else the first). A QRS begins and ends at the feet of its main peak, which are
the tips of Q and S in a lead that has them; so the lead where it is longest counts. Amplitudes of all leads are taken
at the same times, from the level before the QRS, in the signal as it is given. All features are medians over beats.

What falls short: QRS beyond 0.14 seconds count as 0.14; with few leads QRS come out shorter than they are; no wave is
sought beyond the middle between two beats, so QT is short above 100 beats a minute, and often missing above 120.

Shapes: T samples, L leads, n beats, K features.
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
AMPLITUDES = ("r_mv", "s_mv", "p_mv", "t_mv", "st_mv")  # of each lead

RATE_HZ = 500.0  # at which waves are delineated, whatever the recording's
BAND_HZ = (0.5, 40.0)
LEAST_BEATS = 3
LEAST_SECONDS = 2.0
MOST_MISSING = 0.1  # share of a lead's samples that may be NaN
EDGE_SECONDS = 0.2  # beats nearer to an end lack a part
APART_SECONDS = 0.2  # beats at least: else both may be found at one peak of another lead
REACH_SECONDS = 0.08  # between the peaks of a beat in two leads
QRS_WINDOW_MS = 140  # NeuroKit2's 100 cut wide QRS off; in more, the ST segment counts
MOST_P_SPREAD_SECONDS = 0.04  # of P to R, between quartiles: more in 93 % of PTB-XL's fibrillation, 3 % of its normals
LEVEL_SECONDS = 0.02  # what an amplitude is the mean of: a period of the mains at 50 Hz
BEFORE_SECONDS = 0.02  # the first onset of the QRS: the level from which amplitudes are measured
ST_SECONDS = 0.06  # after the end of the QRS


@dataclass(frozen=True)
class _Waves:
    """Medians over beats, in seconds from where a beat was found; NaN for what there is not."""

    qrs_onset: np.ndarray  # (L,), of each lead
    qrs_offset: np.ndarray  # (L,)
    p_onset: float  # of one lead, as those below
    p_peak: float
    t_peak: float
    t_offset: float


def names(leads: tuple[str, ...]) -> tuple[str, ...]:
    """Names (K,) of the features of a recording with these leads: INTERVALS, then AMPLITUDES lead by lead."""
    return (*INTERVALS, *(f"{lead}_{amplitude}" for lead in leads for amplitude in AMPLITUDES))


def interval_features(signal: np.ndarray, sampling_rate_hz: float, leads: tuple[str, ...]) -> np.ndarray:
    """What a cardiologist measures on a recording.

    The PR interval runs from the onset of the P wave to that of the QRS, the QT interval from there to the end of the T
    wave; the onset of the QRS is the median over leads. QTc is Fridericia's. The axis is the angle of the vector of the
    net QRS (R + S) in I and in aVF, as they are: 0 to the left arm, its sine positive to the feet. R is the highest and
    S the lowest point of the QRS, be it Q or S; ST the level 60 ms after the QRS.

    Args:
        signal: (T, L) mV; NaN where a sample is invalid.
        sampling_rate_hz: of it.
        leads: L different names; upper and lower case are one.

    Returns:
        (K,) float32, as `names` calls them. NaN where something cannot be measured: everything with fewer than
        LEAST_BEATS beats (those near the ends count for the rate alone) or LEAST_SECONDS seconds; PR and P where the
        distance of what looks like a P wave from the QRS varies, as in fibrillation; the axis without leads I and aVF;
        the amplitudes of a lead that is flat, or NaN in more than MOST_MISSING of its samples.
    """
    found = dict.fromkeys(names(leads), np.nan)
    usable = [k for k, lead in enumerate(signal.T) if _usable(lead)]
    if usable and len(signal) >= LEAST_SECONDS * sampling_rate_hz:
        found |= _measured(signal[:, usable], sampling_rate_hz, tuple(leads[k] for k in usable))
    return np.array(list(found.values()), np.float32)


def _usable(lead: np.ndarray) -> bool:
    known = lead[np.isfinite(lead)]
    return len(known) > (1 - MOST_MISSING) * len(lead) and np.ptp(known) > 0


def _measured(signal: np.ndarray, rate: float, leads: tuple[str, ...]) -> dict[str, float]:
    """Features by name, of leads (T, L) that are usable; without those that need more beats than there are."""
    whole = resample(np.stack([_bridged(lead) for lead in signal.T], 1), rate, RATE_HZ)
    filtered = bandpass(whole, RATE_HZ, *BAND_HZ)
    beats = _find_beats(filtered)
    if len(beats) < LEAST_BEATS:
        return {}
    rr = float(np.median(np.diff(beats))) / RATE_HZ
    found = {"heart_rate_bpm": 60 / rr}
    edge = EDGE_SECONDS * RATE_HZ
    beats = beats[(beats >= edge) & (beats < len(whole) - edge)]
    if len(beats) < LEAST_BEATS:
        return found
    known = [lead.casefold() for lead in leads]
    waves = _delineate(whole[:, known.index("ii") if "ii" in known else 0], filtered, beats)
    onset = _middle(waves.qrs_onset, 1)
    lengths = waves.qrs_offset - waves.qrs_onset
    found["pr_seconds"] = onset - waves.p_onset
    found["qrs_seconds"] = np.fmax.reduce(lengths)  # the longest of those known
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


def _bridged(lead: np.ndarray) -> np.ndarray:
    """A lead (T,) float64 with straight lines where it was NaN."""
    known = np.flatnonzero(np.isfinite(lead))
    return np.interp(np.arange(len(lead)), known, lead[known].astype(float))


def _find_beats(filtered: np.ndarray) -> np.ndarray:
    """Where all leads (T, L) together are farthest from their levels: sample indices (n,)."""
    size = np.linalg.norm(filtered - np.median(filtered, axis=0), axis=1)
    beats = detect_qrs(size, RATE_HZ)
    return beats[np.diff(beats, prepend=-np.inf) >= APART_SECONDS * RATE_HZ]


def _delineate(lead: np.ndarray, filtered: np.ndarray, beats: np.ndarray) -> _Waves:
    """The waves around beats (n,): P and T of one lead (T,) that is not filtered, the QRS of all leads (T, L)."""
    edges = []
    for own in filtered.T:
        peaks, sign = _peaks_near(own, beats)
        waves = _waves(sign * own, peaks, max_r_basepoint_interval=QRS_WINDOW_MS)
        edges.append([_middle(waves[name] - beats) for name in ("ECG_R_Onsets", "ECG_R_Offsets")])
    with _neurokit() as neurokit2:
        smooth = neurokit2.ecg_clean(lead, int(RATE_HZ))  # its own filter: PR tells AV block better than in BAND_HZ
    waves = _waves(smooth, _peaks_near(smooth, beats)[0])
    p = waves["ECG_P_Peaks"] - beats
    there = p[np.isfinite(p)]
    if len(there) and np.subtract(*np.quantile(there, (0.75, 0.25))) > MOST_P_SPREAD_SECONDS * RATE_HZ:
        waves |= dict.fromkeys(("ECG_P_Onsets", "ECG_P_Peaks"), np.full(len(beats), np.nan))
    slow = [_middle(waves[f"ECG_{name}"] - beats) for name in ("P_Onsets", "P_Peaks", "T_Peaks", "T_Offsets")]
    return _Waves(*(np.array(edges).T / RATE_HZ), *(np.array(slow) / RATE_HZ))


@contextmanager
def _neurokit() -> Iterator[ModuleType]:
    """NeuroKit2, without its warnings, of every peak that has no prominence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import neurokit2  # here, as it takes seconds that most who import this module do not need

        yield neurokit2


def _peaks_near(lead: np.ndarray, beats: np.ndarray) -> tuple[np.ndarray, float]:
    """The largest deflections (n,) of a lead (T,) near the beats; 1 where most are upward, -1 where downward."""
    reach = round(REACH_SECONDS * RATE_HZ)
    around = beats[:, None] + np.arange(-reach, reach + 1)
    deflection = lead[around] - np.median(lead[around], axis=1, keepdims=True)
    place = np.abs(deflection).argmax(1)[:, None]
    upward = np.median(np.take_along_axis(deflection, place, 1)) >= 0
    return np.take_along_axis(around, place, 1)[:, 0], 1.0 if upward else -1.0


def _waves(lead: np.ndarray, peaks: np.ndarray, **limits: float) -> dict[str, np.ndarray]:
    """NeuroKit2's waves of a lead (T,), such as "ECG_P_Onsets": sample indices (n,), NaN where there is none."""
    with _neurokit() as neurokit2:
        waves = neurokit2.ecg_delineate(lead, peaks, int(RATE_HZ), method="prominence", **limits)[1]
    # It leaves out what lies at the first sample, which of the first beat alone can be true.
    missing = {name: (len(peaks) - len(at), 0) for name, at in waves.items()}
    return {name: np.pad(np.array(at, float), missing[name], constant_values=np.nan) for name, at in waves.items()}


def _amplitudes(signal: np.ndarray, rate: float, beats_seconds: np.ndarray, waves: _Waves) -> np.ndarray:
    """AMPLITUDES (L, 5) of leads (T, L): medians over beats (n,)."""
    first, last = np.fmin.reduce(waves.qrs_onset), np.fmax.reduce(waves.qrs_offset)
    half = LEVEL_SECONDS / 2

    def cut(start: float, stop: float) -> np.ndarray:
        """Samples (n, W, L) between two times from each beat, NaN beyond the ends."""
        if not np.isfinite(start + stop):
            return np.full((len(beats_seconds), 1, signal.shape[1]), np.nan)
        steps = round(start * rate) + np.arange(max(1, round((stop - start) * rate)))
        at = np.rint(beats_seconds * rate).astype(int)[:, None] + steps
        inside = (at >= 0) & (at < len(signal))
        return np.where(inside[..., None], signal[np.clip(at, 0, len(signal) - 1)], np.nan)

    qrs = cut(first, last)
    points = [qrs.max(1), qrs.min(1)]
    before = first - BEFORE_SECONDS
    for at in (waves.p_peak, waves.t_peak, _middle(waves.qrs_offset, 1) + ST_SECONDS, before):
        points.append(cut(at - half, at + half).mean(1))
    return np.array([[_middle(lead) for lead in (point - points[-1]).T] for point in points[:-1]]).T


def _middle(values: np.ndarray, least: int = LEAST_BEATS) -> float:
    """The median of the values that are known; NaN where there are fewer than `least`."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) >= least else np.nan
