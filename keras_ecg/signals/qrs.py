"""R-peak detection in one lead: band-pass, slope energy, local thresholds and search-back.

The steps are those of Pan J, Tompkins WJ, A real-time QRS detection algorithm, IEEE Trans Biomed Eng 32(3):230-236
(1985), https://doi.org/10.1109/TBME.1985.325532. Departures from the paper: the thresholds are not running estimates
but medians over the seconds before and after a candidate, so that an artefact does not affect what follows it; of two
deflections closer than a refractory period the larger one is kept, whichever comes first, so that tall P waves are
rejected like T waves. All thresholds are ratios, so that the result does not depend on amplitude, unit or polarity. The
computing time is linear in the length.

The constants were chosen on DS1 of the MIT-BIH Arrhythmia Database and the odd-numbered records of LUDB, for the
fewest false positives and false negatives together; `python -m benchmarks detection` prints sensitivity and positive
predictivity on these, on the other records and on other databases. Limits: above 130 beats a minute the T waves of a
lead must be lower than its R waves; ventricular fibrillation and flutter have no beats.

Shapes: T samples, n peaks, W whole seconds.
"""

import numpy as np
import scipy

from keras_ecg.signals.filters import bandpass, resample, resampling_ratio

RATE_HZ = 250.0  # sampling rate of the detection
BAND_HZ = (5.0, 20.0)  # most of the energy of a QRS complex, little of that of P and T waves
ENERGY_SECONDS = 0.1  # about the duration of a QRS complex
BLOCK_SECONDS, MARGIN_SECONDS = 1800, 30  # length of a processed block and of its overlap on each side; limits memory
STATISTICS_SECONDS = 9  # window of the running medians of level and noise
AMPLITUDE_SECONDS = 31  # window of the running median of the peak-to-peak amplitude
CLIP = 5.0  # times that amplitude; larger deflections are artefacts
SPIKE, SPIKE_SECONDS = 2.5, 0.025  # a deflection above so many times that amplitude, and shorter, is no QRS complex
SPIKE_SHARE = 0.015  # of a second that spikes may take without affecting that amplitude
LIVE = 0.02  # of the upper-quartile amplitude nearby; a second with less is flat and excluded from the medians
LIVE_SECONDS = 121  # window of that quartile
QUIET_SHARE = 0.25  # quantile of a second's slope energy that is the noise level
MIN_LEVEL = 3.4  # ratio of level to noise; below it there are no QRS complexes: noise, fibrillation or flutter
MIN_CONTRAST = 3.6  # ratio of a peak to noise
THRESHOLD = 0.3  # ratio of a peak to level
SEARCH_BACK_THRESHOLD = 0.2
SEARCH_BACK_RR = 1.5  # times the median RR interval of nine beats: a longer interval is searched for a missed beat
REFRACTORY_SECONDS = 0.27
T_WAVE_SECONDS, T_WAVE_SLOPE = 0.35, 0.5  # a deflection so near to a beat with twice its slope is a P or T wave
SIMILAR, SIMILAR_SECONDS = 0.8, 0.15  # correlation of two beats of one shape, over so much on each side of the R peak
REFINE_SECONDS = 0.05  # from the maximum of slope energy to the R peak


def detect_qrs(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Detect the R peaks of one lead.

    Args:
        signal: (T,), finite, in any unit.
        sampling_rate_hz: sampling rate of the signal, more than twice the upper edge of BAND_HZ.

    Returns:
        Sample indices (n,) int64 of the R peaks at the sampling rate of the signal, ascending; none if no QRS complex
        exceeds the noise, or if the signal is shorter than a second.
    """
    if len(signal) < sampling_rate_hz or sampling_rate_hz <= 2 * BAND_HZ[1]:
        return np.empty(0, np.int64)
    step, margin = round(BLOCK_SECONDS * sampling_rate_hz), round(MARGIN_SECONDS * sampling_rate_hz)
    ratio = float(resampling_ratio(sampling_rate_hz, RATE_HZ))
    found = [np.empty(0, np.int64)]
    for start in range(0, len(signal), step):
        first = max(0, start - margin)
        block = np.asarray(signal[first : start + step + margin], np.float64)
        peaks = np.rint(_detect_block(block, sampling_rate_hz) / ratio).astype(np.int64)
        peaks = refine_peaks(block, peaks, round(REFINE_SECONDS * sampling_rate_hz)) + first
        found.append(peaks[(peaks >= start) & (peaks < start + step)])
    return np.unique(np.concatenate(found))


def similar_beats(signal: np.ndarray, peaks: np.ndarray, sampling_rate_hz: float) -> float:
    """Return the fraction of beats whose correlation with the median beat is SIMILAR at least.

    In muscle noise and in ECGs covered by noise it is nearly 0; in MIT-BIH recordings it is 0.3 at least.

    Args:
        signal: (T,) in any unit.
        peaks: (n,) sample indices of R peaks.
        sampling_rate_hz: sampling rate of the signal.
    """
    radius = round(SIMILAR_SECONDS * sampling_rate_hz)
    inside = peaks[(peaks >= radius) & (peaks < len(signal) - radius)]
    if not len(inside):
        return 0.0
    beats = signal[inside[:, None] + np.arange(-radius, radius + 1)].astype(np.float64)
    beats -= beats.mean(axis=1, keepdims=True)
    median = np.median(beats, axis=0)
    norms = np.linalg.norm(beats, axis=1) * np.linalg.norm(median)
    return float(np.mean(beats @ median >= SIMILAR * np.maximum(norms, np.finfo(float).tiny)))


def refine_peaks(signal: np.ndarray, peaks: np.ndarray, radius: int) -> np.ndarray:
    """Move peaks to the largest deflection from the local median.

    Args:
        signal: (T,), at least 2 radius + 1 samples.
        peaks: (n,) sample indices.
        radius: largest distance in samples; at the ends of the signal, the window of 2 radius + 1 samples is shifted
            inwards.

    Returns:
        Sample indices (n,) int64 without duplicates, and without the first and the last sample of the signal, where
        the deflection may continue beyond the end.
    """
    if not len(peaks):
        return peaks
    first = np.clip(peaks - radius, 0, len(signal) - (2 * radius + 1))
    around = first[:, None] + np.arange(2 * radius + 1)
    deflection = np.abs(signal[around] - np.median(signal[around], axis=1, keepdims=True))
    refined = np.unique(np.take_along_axis(around, deflection.argmax(1)[:, None], 1)[:, 0])
    return refined[(refined > 0) & (refined < len(signal) - 1)]


def _detect_block(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Detect QRS complexes in a block (T,): sample indices (n,) at RATE_HZ."""
    signal = resample(remove_spikes(signal, sampling_rate_hz), sampling_rate_hz, RATE_HZ)
    second = int(RATE_HZ)
    if len(signal) < second or np.ptp(signal) == 0:
        return np.empty(0, np.int64)
    clipped, live = _clip_artefacts(signal)
    slope = np.abs(np.gradient(bandpass(clipped, RATE_HZ, *BAND_HZ, order=2)))
    energy = scipy.ndimage.uniform_filter1d(slope**2, int(ENERGY_SECONDS * RATE_HZ))
    energy = np.sqrt(np.maximum(energy, 0))  # rounding in the filter's running sum may give negative values
    # For each second: the highest energy within one second of its middle, which includes a beat at 30 per minute, and
    # the energy between waves: the lower quartile, as waves take more than half of the time in tachycardia.
    middles = np.arange(len(live)) * second + second // 2
    highest = scipy.ndimage.maximum_filter1d(energy, 2 * second)[middles]
    padded = np.pad(energy, second, mode="reflect")[::5]
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * second // 5)[second // 10 :: second // 5]
    quiet = np.quantile(windows[: len(live)], QUIET_SHARE, axis=1)
    level = np.interp(middles, middles[live], _running_median(highest[live], STATISTICS_SECONDS))
    noise = np.interp(middles, middles[live], _running_median(quiet[live], STATISTICS_SECONDS))
    candidates, _ = scipy.signal.find_peaks(energy, distance=int(0.15 * RATE_HZ))
    height = energy[candidates]
    ratio = height / np.maximum(np.interp(candidates, middles, level), np.finfo(float).tiny)
    contrast = height / np.maximum(np.interp(candidates, middles, np.maximum(noise, quiet)), np.finfo(float).tiny)
    distinct = np.interp(candidates, middles, level - MIN_LEVEL * noise) >= 0
    possible = distinct & (contrast >= MIN_CONTRAST)
    steepest = scipy.ndimage.maximum_filter1d(slope, int(0.14 * RATE_HZ) | 1)[candidates]
    accepted = _suppress_neighbours(candidates, height, steepest, possible & (ratio >= THRESHOLD))
    _search_back(candidates, height, possible & (ratio >= SEARCH_BACK_THRESHOLD), accepted)
    return candidates[accepted]


def _usual_amplitude(
    signal: np.ndarray, sampling_rate_hz: float, excluded: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate the level and the peak-to-peak amplitude of a signal (T,) from running medians over its seconds.

    Args:
        signal: (T,), at least a second.
        sampling_rate_hz: sampling rate of the signal.
        excluded: fraction of a second's highest and of its lowest samples that do not count for its amplitude.

    Returns:
        Level (T,), amplitude (T,), and which of its whole seconds are not flat, (W,) bool, at least one.
    """
    second = int(sampling_rate_hz)
    seconds = signal[: len(signal) // second * second].reshape(-1, second)
    middles = np.arange(len(seconds)) * second + second / 2
    last = second - 1 - int(excluded * second)
    ordered = np.partition(seconds, (second - 1 - last, last), axis=1)
    amplitude, at = ordered[:, last] - ordered[:, second - 1 - last], np.arange(len(signal))
    live = amplitude > LIVE * scipy.ndimage.percentile_filter(amplitude, 75, LIVE_SECONDS, mode="nearest")
    if not live.any():  # constant except after the last whole second
        live = amplitude >= amplitude.max()
    level = np.interp(at, middles, _running_median(np.median(seconds, axis=1), 3))
    return level, np.interp(at, middles[live], _running_median(amplitude[live], AMPLITUDE_SECONDS)), live


def remove_spikes(signal: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Interpolate across spikes of a signal (T,): pacing spikes, contacts of electrodes, single wrong samples.

    A spike exceeds SPIKE times the usual peak-to-peak amplitude for less than SPIKE_SECONDS.
    """
    level, amplitude, _ = _usual_amplitude(signal, sampling_rate_hz, SPIKE_SHARE)
    large = np.abs(signal - level) > SPIKE * amplitude
    if not large.any():
        return signal
    most, margin = max(1, int(SPIKE_SECONDS * sampling_rate_hz)), max(1, round(0.01 * sampling_rate_hz))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], large, [0]])))
    spikes = np.zeros(len(signal) + 1, int)
    for start, stop in edges.reshape(-1, 2):
        if stop - start <= most:
            spikes[max(0, start - margin)] += 1
            spikes[min(len(signal), stop + margin)] -= 1
    spike = np.cumsum(spikes[:-1]) > 0
    if spike.all():
        return signal
    at = np.arange(len(signal))
    return np.where(spike, np.interp(at, at[~spike], signal[~spike]), signal)


def _clip_artefacts(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the running median of a signal (T,), and clip deflections above CLIP times the usual amplitude.

    Returns:
        The clipped signal (T,), and which of its whole seconds are not flat, (W,) bool, at least one.
    """
    level, amplitude, live = _usual_amplitude(signal, RATE_HZ)
    most = CLIP * amplitude
    return np.clip(signal - level, -most, most), live


def _running_median(values: np.ndarray, width: int) -> np.ndarray:
    return scipy.ndimage.median_filter(values, width, mode="nearest")


def _suppress_neighbours(
    samples: np.ndarray, height: np.ndarray, slope: np.ndarray, possible: np.ndarray
) -> np.ndarray:
    """Accept candidates in descending order of height, unless an accepted one is too near.

    Args:
        samples: (n,) ascending, at RATE_HZ.
        height: (n,) slope energy.
        slope: (n,) steepest slope near each candidate.
        possible: (n,) bool, which candidates exceed the thresholds.

    Returns:
        Which candidates are accepted, (n,) bool.
    """
    near, far = REFRACTORY_SECONDS * RATE_HZ, T_WAVE_SECONDS * RATE_HZ
    accepted = np.zeros(len(samples), bool)
    at, steep = samples.tolist(), slope.tolist()
    first, stop = (np.searchsorted(samples, samples + sign * far).tolist() for sign in (-1, 1))
    for i in np.argsort(-height, kind="stable").tolist():
        if possible[i]:
            beats = (j for j in range(first[i], stop[i]) if accepted[j])
            accepted[i] = all(abs(at[i] - at[j]) >= near and steep[i] >= T_WAVE_SLOPE * steep[j] for j in beats)
    return accepted


def _search_back(samples: np.ndarray, height: np.ndarray, possible: np.ndarray, accepted: np.ndarray) -> None:
    """Accept, in place, the highest possible candidate in each RR interval that is longer than its neighbours."""
    early, late = T_WAVE_SECONDS * RATE_HZ, REFRACTORY_SECONDS * RATE_HZ
    for _ in range(3):  # an interval may lack several beats
        beats = np.flatnonzero(accepted)
        if len(beats) < 3:
            return
        intervals = np.diff(samples[beats])
        long = np.flatnonzero(intervals > SEARCH_BACK_RR * _running_median(intervals, 9))
        for left, right in zip(beats[long], beats[long + 1], strict=True):
            inside = np.arange(left + 1, right)
            from_left, to_right = samples[inside] - samples[left], samples[right] - samples[inside]
            inside = inside[possible[inside] & (from_left > early) & (to_right > late)]
            if len(inside):
                accepted[inside[height[inside].argmax()]] = True
