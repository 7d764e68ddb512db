"""QRS detection: our detector against XQRS of wfdb, scored with wfdb's comparator, and timed."""

import os
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from wfdb import processing

from benchmarks.artefacts import ARTEFACTS, RATE_HZ, annotated_lead, hour, with_artefact
from benchmarks.measure import Result, alternate
from benchmarks.workspace import SAMPLE, Workspace
from keras_ecg.databases import mitdb
from keras_ecg.databases.annotations import read_annotations
from keras_ecg.databases.recordings import choose_lead, list_records, read_recording
from keras_ecg.evaluation.detection import compare_peaks
from keras_ecg.signals.filters import resample
from keras_ecg.signals.qrs import detect_qrs

NAME, TARGET = "detection", 4
XQRS_HOURS = 3  # longest database, in hours, that XQRS is run on: it takes minutes for more
LEAST = {  # required sensitivity and positive predictivity
    "excerpt": (0.995, 0.999),
    "MIT-BIH, all 48": (0.997, 0.997),
    "SVDB": (0.995, 0.985),
    "LUDB, lead II, all": (0.99, 0.99),
}
Detector = Callable[[np.ndarray, float], np.ndarray]
Strip = tuple[np.ndarray, np.ndarray, float]  # signal (T,), annotated peaks (n,), sampling rate


def xqrs(signal: np.ndarray, rate: float) -> np.ndarray:
    """Detect R peaks with XQRS of wfdb at the recording's sampling rate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XQRS divides by zero on signals without peaks
        return np.asarray(processing.xqrs_detect(signal.astype(float), rate, verbose=False), np.int64)


def xqrs_at_250_hz(signal: np.ndarray, rate: float) -> np.ndarray:
    """Detect R peaks with XQRS of wfdb after resampling to 250 Hz; positions at the original sampling rate."""
    return np.rint(xqrs(resample(signal, rate, 250.0), 250.0) * (rate / 250)).astype(np.int64)


DETECTORS: dict[str, Detector] = {"XQRS": xqrs, "XQRS at 250 Hz": xqrs_at_250_hz, "ours": detect_qrs}


def annotated(folder: Path | str, records: Iterable[str]) -> list[Strip]:
    return [annotated_lead(folder, record) for record in records]


def ludb(folder: str, records: Iterable[str]) -> list[Strip]:
    """Read lead II of LUDB with the range of its annotations, which omit the first and last beats."""
    out = []
    for record in records:
        found = read_recording(folder, record, None)
        rate, lead = found.sampling_rate_hz, found.signals[:, choose_lead(found.leads, "II")]
        marks = read_annotations(Path(folder) / f"{record}.ii", len(lead), rate, rate)
        out.append((lead, marks.samples[marks.symbols == "N"], rate, (marks.samples[0], marks.samples[-1])))
    return out


def counted(strips: list[Strip], detector: Detector) -> np.ndarray:
    """Count true positives, false positives and false negatives over all strips, within their annotated ranges."""
    total = np.zeros(3, int)
    for signal, beats, rate, *limits in strips:
        peaks = detector(signal, rate)
        for first, last in limits:
            peaks = peaks[(peaks >= first) & (peaks <= last)]
        total += compare_peaks(beats, peaks, rate)
    return total


def scores(total: np.ndarray) -> tuple[float, float]:
    """Compute sensitivity and positive predictivity."""
    return total[0] / max(total[0] + total[2], 1), total[0] / max(total[0] + total[1], 1)


def databases() -> dict[str, list[Strip]]:
    """Read the excerpt, and the databases whose folders are given by environment variables."""
    found = {"excerpt": annotated(SAMPLE, list_records(SAMPLE))}
    if folder := os.environ.get("MITDB_DIR"):
        for name, records in (("DS1", mitdb.DS1), ("DS2", mitdb.DS2), ("all 48", mitdb.RECORDS)):
            found[f"MIT-BIH, {name}"] = annotated(folder, records)
    if folder := os.environ.get("SVDB_DIR"):
        found["SVDB"] = annotated(folder, list_records(folder))
    if folder := os.environ.get("LUDB_DIR"):
        records = sorted(map(int, list_records(folder)))
        for name, kept in (("odd", records[::2]), ("even", records[1::2]), ("all", records)):
            found[f"LUDB, lead II, {name}"] = ludb(folder, map(str, kept))
    if folder := os.environ.get("CPSC2021_DIR"):
        found["CPSC 2021"] = annotated(folder, list_records(folder))
    return found


def at_other_rates() -> list[str]:
    """Count the beats detected in three records at 360 Hz, and resampled to 500 and 1000 Hz."""
    rows = []
    for record in ("223", "100", "119"):
        signal, beats, rate = annotated_lead(SAMPLE, record)
        for detector in ("XQRS", "ours"):
            found = [len(DETECTORS[detector](resample(signal, rate, to), to)) for to in (rate, 500.0, 1000.0)]
            rows.append(f"{record}, {len(beats)} beats, at 360, 500 and 1000 Hz, {detector}: {found}")
    return rows


def with_artefacts(everything: bool) -> list[str]:
    """Count the beats detected outside the artefacts of one hour at 128 Hz, and measure the time."""
    rows, (clean, beats) = [], hour(SAMPLE)
    for name in ARTEFACTS:
        signal, out = with_artefact(clean, name)
        for detector in ("XQRS", "ours") if everything and name == "clean" else ("ours",):
            began = time.perf_counter()
            found = DETECTORS[detector](signal, float(RATE_HZ))
            seconds = time.perf_counter() - began
            total = compare_peaks(beats[~out[beats]], found[~out[found]], RATE_HZ)
            counts = f"{total[0]} of {total[0] + total[2]} beats, {total[1]} false positives, {seconds:.1f} s"
            rows.append(f"an hour at 128 Hz, {name}, {detector}: {counts}")
    return rows


def run(workspace: Workspace) -> Result:
    everything = workspace.scale.turns > 1
    rows, reached = [f"{'Se / PPV':24}" + "".join(f"{name:>20}" for name in DETECTORS)], True
    strips = databases()
    for name, own in strips.items():
        found = {}
        hours = sum(len(signal) / rate for signal, _, rate, *_ in own) / 3600
        for detector in DETECTORS if everything and hours < XQRS_HOURS else ("ours",):
            found[detector] = scores(counted(own, DETECTORS[detector]))
        cells = [f"{found[d][0]:.4f} / {found[d][1]:.4f}" if d in found else "-" for d in DETECTORS]
        rows.append(f"{name:24}" + "".join(f"{cell:>20}" for cell in cells))
        reached &= all(value >= least for value, least in zip(found["ours"], LEAST.get(name, (0, 0)), strict=True))
    for variable in ("MITDB_DIR", "SVDB_DIR", "LUDB_DIR", "CPSC2021_DIR"):
        if not os.environ.get(variable):
            rows.append(f"not measured: {variable} is not set")
    rows += at_other_rates() + with_artefacts(everything)
    few = strips["excerpt"][: 2 * workspace.scale.turns]

    def timed(detector: Detector) -> Callable[[], int]:
        return lambda: sum(len(detector(signal, rate)) > 0 for signal, _, rate, *_ in few)

    compared = alternate(timed(detect_qrs), timed(xqrs_at_250_hz), "recording", workspace.scale.turns)
    rows += compared.rows("five minutes of one lead", "wfdb's XQRS at 250 Hz")
    return Result(NAME, compared.ratio, TARGET, rows, reached)
