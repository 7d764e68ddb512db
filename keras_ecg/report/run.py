"""A run as reports read it: the files of its folder, and the runs published as its ablations."""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_ecg.evaluation.titles import DATABASES, experiment_title, model_title, predictor_title
from keras_ecg.files import read_json
from keras_ecg.runs.files import read_run_file


@dataclass(frozen=True)
class Run:
    """Folder, metrics, configuration and environment of a finished run."""

    folder: Path
    metrics: dict
    config: dict
    environment: dict

    @classmethod
    def read(cls, folder: Path | str) -> "Run":
        """The run in a folder.

        Raises:
            InputError: as `read_run_file`.
        """
        folder = Path(folder)
        names = ("metrics.json", "config.yaml", "environment.json")
        return cls(folder, *(read_run_file(folder, name) for name in names))

    @property
    def kind(self) -> str:
        """Which evaluator computed its metrics."""
        return self.metrics["kind"]

    @property
    def model(self) -> str:
        """Name of its model as tables show it."""
        return model_title(self.environment, self.config)

    @property
    def experiment(self) -> str:
        """What was evaluated, and how."""
        return experiment_title(str(self.environment.get("experiment", "")), self.kind)

    @property
    def data(self) -> str:
        """Its databases."""
        if str(self.environment.get("experiment")) == "pretrain":
            names = [source["database"] for source in self.config.get("windows", {}).get("sources", ())]
        else:
            names = [self.config.get("database", {}).get("name", "")]
        return ", ".join(DATABASES.get(name, name) for name in dict.fromkeys(names) if name)

    @cached_property
    def ablations(self) -> dict[str, dict]:
        """Metrics of the runs that published.json names as ablations of this one, by label."""
        path = self.folder.parent / "published.json"
        claims = read_json(path).values() if path.is_file() else ()
        named = {k: v for c in claims if c["run"] == self.folder.name for k, v in c.get("ablations", {}).items()}
        files = {label: self.folder.parent / run / "metrics.json" for label, run in named.items()}
        return {label: read_json(file)["model"] for label, file in files.items() if file.is_file()}

    def predictors(self) -> list[tuple[str, dict, str]]:
        """Name, metrics and "model", "ablation" or "baseline" (of a comparison, too) of everything that is compared."""
        rows = [(self.model, self.metrics["model"], "model")]
        rows += [(f"ablation: {label}", found, "ablation") for label, found in self.ablations.items()]
        baselines = self.metrics.get("baselines", {})
        return rows + [(predictor_title(n), found, "baseline") for n, found in baselines.items()]

    def history(self, probe: str = "") -> dict[str, np.ndarray]:
        """The training log; see `read_history`."""
        return read_history(self.folder / "history.csv", probe)


def read_history(path: Path, probe: str = "") -> dict[str, np.ndarray]:
    """Columns of history.csv as float arrays (rows,), NaN where a cell is empty or text; empty without the file.

    Args:
        path: of the file.
        probe: where several probes were trained, the one whose rows are read. Rows of baselines are left out.
    """
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if row.get("predictor", "model") == "model" and probe in ("", row.get("probe"))
        ]

    def parsed(cell: str) -> float:
        try:
            return float(cell)
        except (TypeError, ValueError):
            return float("nan")

    return {name: np.array([parsed(row[name]) for row in rows]) for name in (rows[0] if rows else {})}
