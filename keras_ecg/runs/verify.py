"""Recompute stored metrics from stored predictions and compare them value by value."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.runs.files import read_run_file
from keras_ecg.runs.index import RUNS, published, run_names

TOLERANCE = 1e-9


def differences(stored: Any, computed: Any, name: str = "") -> Iterator[str]:
    """Yield a line for every value that differs between two JSON-like values."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        for key in stored | computed:
            at = f"{name}.{key}".lstrip(".")
            if key not in stored or key not in computed:
                yield f"{at} is {'not recomputed' if key in stored else 'not stored'}"
            else:
                yield from differences(stored[key], computed[key], at)
    elif isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed):
        for k, pair in enumerate(zip(stored, computed, strict=True)):
            yield from differences(*pair, f"{name}[{k}]")
    elif _numbers(stored, computed):
        if not math.isclose(stored, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield f"{name} is {stored}, recomputed {computed}"
    elif stored != computed or type(stored) is not type(computed):
        yield f"{name} is {stored!r}, recomputed {computed!r}"


def _numbers(*values: Any) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def count(value: Any) -> int:
    """Numbers in a JSON-like value."""
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(count, value)) if isinstance(value, list) else int(_numbers(value))


def verify_run(folder: Path | str) -> tuple[int, list[str]]:
    """How many numbers metrics.json holds, and a line for each that differs from the recomputed one.

    Raises:
        InputError: metrics.json or the predictions are missing or damaged.
    """
    stored = read_run_file(folder, "metrics.json")
    bootstrap = stored["bootstrap"]
    return count(stored), list(differences(stored, evaluate_run(folder, bootstrap["resamples"], bootstrap["seed"])))


def _is_unfinished(folder: Path) -> bool:
    """Return whether a run states that it is not finished; False for a damaged one, whose verification says so."""
    try:
        return read_run_file(folder, "environment.json").get("status") != "finished"
    except InputError:
        return False


def verify(root: Path | str = ".", every: bool = False) -> bool:
    """Verify the published runs, or every finished one, print a line each, and return whether all agree."""
    runs = Path(root) / RUNS
    names = run_names(published(root))
    if every:
        found = (path.parent for path in runs.glob("*/environment.json"))
        names = sorted({*names, *(path.name for path in found if not _is_unfinished(path))})
    good = True
    for name in names:
        try:
            numbers, wrong = verify_run(runs / name)
        except InputError as error:
            numbers, wrong = 0, [str(error)]
        good &= not wrong
        print(f"{name}: " + (f"{len(wrong)} differ: {'; '.join(wrong[:3])}" if wrong else f"{numbers} numbers agree"))
    if not names:
        print(f"no runs to verify under {runs}")
    return good
