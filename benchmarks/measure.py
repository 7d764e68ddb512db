"""Both sides in turn, their rates, and how sure the ratio is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np


class UnequalError(Exception):
    """The two sides do not compute the same, so that comparing their speed means nothing."""


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome: `ratio` is how many times better ours is, `target` the least it should be."""

    name: str
    ratio: float
    target: float
    rows: list[str] = field(default_factory=list)
    condition: bool = True  # whatever else has to hold

    @property
    def reached(self) -> bool:
        return self.ratio >= self.target and self.condition

    def __str__(self) -> str:
        return "\n  ".join([f"{self.name} {self.ratio:.1f}", *self.rows])


@dataclass(frozen=True)
class Comparison:
    """Seconds per unit of the two sides, one value per turn."""

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
            f"ratio of medians of {len(pairs)} turns; turn by turn {min(pairs):.1f} to {max(pairs):.1f}",
        ]


def _rate(seconds: float, unit: str) -> str:
    if seconds > 1:
        return f"{seconds:.3g} s a {unit}"
    return f"{1e6 * seconds:.4g} us a {unit} ({1 / seconds:,.0f} {unit}s/s)"


def seconds_per_unit(work: Callable[[], int]) -> float:
    """Wall seconds of `work` for each of the units that it returns."""
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
    """Measures ours, reference, ours, reference and so on: what else the machine does meets both sides.

    A first turn is not counted: files and memory that are touched for the first time cost either side extra.

    Args:
        ours: does the work and returns how many units it was.
        reference: the same.
        unit: beat or sequence.
        turns: of each side.
        before: runs before every measurement, untimed; takes the side's name, ours or reference.
        after: the same after it.
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
    """Says how far the two outputs are apart.

    Args:
        what: they are.
        ours: array.
        reference: array.
        tolerance: the largest difference allowed, as a share of the reference's largest value.

    Raises:
        UnequalError: another shape, or a larger difference.
    """
    if ours.shape != reference.shape:
        raise UnequalError(f"{what}: shape {ours.shape}, reference {reference.shape}")
    apart, largest = 0.0, 0.0
    for start in range(0, len(ours), 256):  # in pieces: the arrays may be large
        a, b = ours[start : start + 256].astype("f8"), reference[start : start + 256].astype("f8")
        apart, largest = max(apart, float(np.abs(a - b).max())), max(largest, float(np.abs(b).max()))
        if not np.isfinite(a).all():
            raise UnequalError(f"{what}: not a number")
    if apart > tolerance * largest:
        raise UnequalError(f"{what}: differ by {apart:.3g}; allowed are {tolerance:g} of {largest:.3g}")
    return f"equal: {what}, {len(ours)}: largest difference {apart:.2g} of {largest:.3g}"
