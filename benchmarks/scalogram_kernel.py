"""Scalograms of beats in memory: one blocked matrix product against `pywt.cwt` of one beat at a time."""

import numpy as np

from benchmarks import reference
from benchmarks.measure import Result, alternate, check_equal, seconds_per_unit
from benchmarks.workspace import Workspace
from keras_ecg.config import Beats
from keras_ecg.data.preprocess import extract_beats
from keras_ecg.databases.recordings import read_recording
from keras_ecg.signals.scalogram import cwt_matrix, scalograms

NAME, TARGET = "scalogram-kernel", 80
BLOCK_SIZE = 1024  # beats per matrix product


def some_beats(workspace: Workspace, count: int) -> np.ndarray:
    """Read beats (n, T) in mV, from as many records as needed."""
    parts: list[np.ndarray] = []
    for record in workspace.records:
        recording = read_recording(workspace.database, record)
        parts.append(extract_beats(recording, Beats(), record)["samples"])
        if sum(map(len, parts)) >= count:
            break
    return np.concatenate(parts)[:count]


def fcwt_row(beats: np.ndarray, few: np.ndarray, turns: int) -> str:
    """Measure fCWT, whose time is comparable, but not its values: its Morlet wavelet is complex, with other scales."""
    try:
        import fcwt
    except ImportError:
        return "fCWT: not installed, skipped"

    def loop() -> int:
        for beat in few:
            fcwt.cwt(beat, 360, 9.1, 180.0, 32)
        return len(few)

    seconds = np.median([seconds_per_unit(loop) for _ in range(turns)])
    return f"fCWT, one beat at a time, one thread: {1e6 * seconds:.4g} us per beat"


def ssqueezepy_row(beats: np.ndarray, few: np.ndarray, turns: int) -> str:
    """Measure ssqueezepy in batches, whose time is comparable, but not its values: its Morlet wavelet is complex."""
    try:
        from ssqueezepy import Wavelet, cwt
    except ImportError:
        return "ssqueezepy: not installed, skipped"

    def batched() -> int:
        cwt(few, Wavelet("morlet"), scales=np.arange(1, 33, dtype="f4"))
        return len(few)

    seconds = np.median([seconds_per_unit(batched) for _ in range(turns)])
    return f"ssqueezepy, batched: {1e6 * seconds:.4g} us per beat"


def floor(beats: np.ndarray) -> float:
    """Measure the seconds per beat of the matrix product alone, on all threads, into preallocated memory."""
    matrix = cwt_matrix(beats.shape[1], 32)
    part = beats[:BLOCK_SIZE]
    out = np.empty((len(part), matrix.shape[1]), np.float32)
    return float(np.median([seconds_per_unit(lambda: len(np.matmul(part, matrix, out=out))) for _ in range(9)]))


def run(workspace: Workspace) -> Result:
    beats = some_beats(workspace, workspace.scale.kernel_beats)
    few = beats[:: max(1, len(beats) // workspace.scale.reference_beats)]
    expected = np.stack([reference.scalogram(beat) for beat in few])
    equal = check_equal("scalograms in float32", scalograms(few), expected, 1e-5)

    def transform(dtype: type) -> int:
        out = np.empty((min(BLOCK_SIZE, len(beats)), 32, beats.shape[1]), dtype)
        for start in range(0, len(beats), BLOCK_SIZE):
            part = beats[start : start + BLOCK_SIZE]
            scalograms(part, out=out[: len(part)])
        return len(beats)

    def theirs() -> int:
        return len([reference.scalogram(beat) for beat in few])

    compared = alternate(lambda: transform(np.float32), theirs, "beat", 2 * workspace.scale.turns + 1)
    rows = compared.rows(
        f"`scalograms` of {len(beats)} beats, in blocks of {BLOCK_SIZE:,}, into preallocated memory",
        f"pywt.cwt of {len(few)} of them, one beat at a time",
    )
    rows.append(f"lower bound, the matrix product alone: {1e6 * floor(beats):.4g} us per beat")
    half = np.median([seconds_per_unit(lambda: transform(np.float16)) for _ in range(3)])
    rows.append(f"ours with float16 output, as stored: {1e6 * half:.4g} us per beat")
    rows += [row(beats, few, workspace.scale.turns) for row in (fcwt_row, ssqueezepy_row)]
    return Result(NAME, compared.ratio, TARGET, [equal, *rows])
