"""Measurement: both implementations in turn, their rates, and the variation of the ratio."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np


class UnequalError(Exception):
    """The outputs of the two implementations differ, so that their speeds are not comparable."""


@dataclass(frozen=True)
class Result:
    """Result of a benchmark: `ratio` of the reference implementation to ours, and its minimum `target`."""

    name: str
    ratio: float
    target: float
    rows: list[str] = field(default_factory=list)
    condition: bool = True  # further requirements, such as accuracy

    @property
    def reached(self) -> bool:
        return self.ratio >= self.target and self.condition

    def __str__(self) -> str:
        return "\n  ".join([f"{self.name} {self.ratio:.1f}", *self.rows])


@dataclass(frozen=True)
class Comparison:
    """Seconds per unit of both implementations, one value per repetition."""

    ours: list[float]
    reference: list[float]
    unit: str

    @property
    def ratio(self) -> float:
        return median(self.reference) / median(self.ours)

    def rows(self, ours: str, reference: str) -> list[str]:
        pairs = [t / o for t, o in zip(self.reference, self.ours, strict=True)]
        return [
            f"ours: {ours}: {_rate(median(self.ours), self.unit)}",
            f"reference: {reference}: {_rate(median(self.reference), self.unit)}",
            f"ratio of medians of {len(pairs)} repetitions; single repetitions {min(pairs):.1f} to {max(pairs):.1f}",
        ]


def _rate(seconds: float, unit: str) -> str:
    if seconds > 1:
        return f"{seconds:.3g} s per {unit}"
    return f"{1e6 * seconds:.4g} us per {unit} ({1 / seconds:,.0f} {unit}s/s)"


def seconds_per_unit(work: Callable[[], int]) -> float:
    """Measure the wall seconds of `work` per unit; `work` returns the number of units."""
    start = time.perf_counter()
    units = work()
    return (time.perf_counter() - start) / units


def alternate(
    ours: Callable[[], int],
    reference: Callable[[], int],
    unit: str,
    turns: int,
    before: Callable[[str], object] | None = None,
    after: Callable[[str], object] | None = None,
) -> Comparison:
    """Measure both implementations alternately, so that other load of the machine affects both.

    A first repetition is not counted, as it includes caching of files and allocation of memory.

    Args:
        ours: function that does the work and returns the number of units.
        reference: the same for the reference implementation.
        unit: name of the unit, such as beat or sequence.
        turns: number of repetitions.
        before: function called before every measurement, untimed, with `ours` or `reference`.
        after: function called after every measurement, untimed, likewise.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns + 1):
        for kept, side, work in zip(times, ("ours", "reference"), (ours, reference), strict=True):
            if before:
                before(side)
            kept.append(seconds_per_unit(work))
            if after:
                after(side)
    return Comparison(times[0][1:], times[1][1:], unit)


def check_equal(what: str, ours: np.ndarray, reference: np.ndarray, tolerance: float) -> str:
    """Check that two outputs are equal within a tolerance, and describe the difference.

    Args:
        what: name of the outputs.
        ours: array.
        reference: array of the same shape.
        tolerance: largest allowed difference, relative to the reference's largest absolute value.

    Raises:
        UnequalError: different shapes, a larger difference, or values that are not finite.
    """
    if ours.shape != reference.shape:
        raise UnequalError(f"{what}: shape {ours.shape}, reference {reference.shape}")
    difference, largest = 0.0, 0.0
    for start in range(0, len(ours), 256):  # in blocks, as float64 copies of large arrays would not fit in memory
        a, b = ours[start : start + 256].astype("f8"), reference[start : start + 256].astype("f8")
        difference, largest = max(difference, float(np.abs(a - b).max())), max(largest, float(np.abs(b).max()))
        if not np.isfinite(a).all():
            raise UnequalError(f"{what}: values that are not finite")
    if difference > tolerance * largest:
        raise UnequalError(f"{what}: differ by {difference:.3g}; allowed are {tolerance:g} of {largest:.3g}")
    return f"equal: {what}, {len(ours)}: largest difference {difference:.2g} of {largest:.3g}"
