"""Research_Runs/index.html: every published run in one table that sorts and filters, and two runs compared."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.schema import METRICS, explain, format_value, metric, title
from keras_ecg.evaluation.titles import TASKS
from keras_ecg.files import write_text
from keras_ecg.report.page import interval
from keras_ecg.report.render import render
from keras_ecg.report.run import Run
from keras_ecg.runs.index import RUNS, best_baseline, published_runs

HEADLINES = {
    "beats": "macro_f1_nsvf",
    "rhythm": "score",
    "superclasses": "macro_auroc",
    "embeddings": "linear_auroc",
}
COLUMNS = ("Task", "Run", "Model", "Data", "Metric", "Value", "95 % CI", "Best baseline", "Seeds", "Date")
NUMERIC = ("Value", "95 % CI", "Best baseline", "Seeds")
ROWS = [row.name for row in METRICS]
LEFT_OUT = ("confusion", "calibration", "class_counts", "per_seed", "collapse", "ensemble", "without_202", "without_q")
FOLDERS = ("database.data_dir", "database.hdf5_dir", "database.tfrecord_dir", "database.runs_dir")  # differ by machine


def headline(run: Run) -> str:
    """Dotted name of a run's main metric."""
    if run.kind == "few_labels":
        return f"labels.{list(run.metrics['model']['labels'])[-1]}.auroc"
    return HEADLINES.get(run.kind, "relative_loss")


def values(model: dict, path: str = "") -> dict[str, dict]:
    """The metrics of a model by dotted name: mean as number and text, and the 95 % CI as text."""
    out: dict[str, dict] = {}
    for key, value in model.items():
        name = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and "mean" in value and key not in LEFT_OUT:
            out[name] = {"mean": value["mean"], "text": format_value(name, value["mean"]), "ci": interval(name, value)}
        elif isinstance(value, dict) and key not in LEFT_OUT:
            out |= values(value, name)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            out[name] = {"mean": value, "text": format_value(name, value), "ci": ""}
    return out


def settings(config: Any, path: str = "") -> dict[str, str]:
    """A configuration as dotted names and JSON values, without the names of folders."""
    if isinstance(config, dict) and config:
        found: dict[str, str] = {}
        for key, value in config.items():
            found |= settings(value, f"{path}.{key}".lstrip("."))
        return {k: v for k, v in found.items() if k not in FOLDERS}
    return {path: json.dumps(config, ensure_ascii=False)}


def row(run: Run, label: str) -> dict:
    """What the table shows of a run: (text, sort key) by column."""
    name = headline(run)
    stats, best = at(run.metrics["model"], name), best_baseline(run.metrics, name)
    seeds = run.metrics["model"].get("seeds", run.environment.get("seeds", ()))
    mean, low = stats.get("mean"), stats.get("low")
    shown = title(name) + (f", {name.split('.')[1]} labels" if run.kind == "few_labels" else "")
    cells = {
        "Task": (TASKS[run.kind], TASKS[run.kind]),
        "Run": (label, label),
        "Model": (run.model, run.model),
        "Data": (run.data, run.data),
        "Metric": (shown, shown),
        "Value": (format_value(name, mean), mean),
        "95 % CI": (interval(name, stats), low),
        "Best baseline": (f"{format_value(name, best[1]['mean'])} {best[0]}", best[1]["mean"]) if best else ("", None),
        "Seeds": (str(len(seeds)), len(seeds)),
        "Date": (str(run.environment.get("started_utc", ""))[:10], str(run.environment.get("started_utc", ""))),
    }
    return {"id": run.folder.name, "task": TASKS[run.kind], "cells": cells}


def write_page(root: Path | str) -> Path:
    """Write Research_Runs/index.html.

    Raises:
        InputError: a published run has no metrics.json.
    """
    runs = Path(root) / RUNS
    rows, details, configs = [], {}, {}
    for folder, _, label in published_runs(root):
        run = Run.read(runs / folder)
        rows.append(row(run, label))
        details[folder] = {"label": label, "experiment": run.experiment, "metrics": values(run.metrics["model"])}
        configs[folder] = settings(run.config)
    names = {name for found in details.values() for name in found["metrics"]}
    names = sorted(names, key=lambda name: (ROWS.index(metric(name).name), name))
    keys = dict.fromkeys(key for found in configs.values() for key in found)
    usual = {key: Counter(found.get(key) for found in configs.values()).most_common(1)[0][0] for key in keys}
    for folder, found in configs.items():  # only what differs from the usual value
        details[folder]["settings"] = {k: found.get(k) for k in keys if found.get(k) != usual[k]}
    data = {
        "runs": details,
        "usual": usual,
        "metrics": {n: described(n) for n in names},
    }
    tasks = list(dict.fromkeys(r["task"] for r in rows))
    page = render("index.html.j2", rows=rows, tasks=tasks, columns=COLUMNS, numeric=NUMERIC, data=data)
    path = runs / "index.html"
    write_text(path, page)
    return path


def described(name: str) -> dict:
    """A metric's title, explanation and number of decimals, and whether it is shown in percent."""
    row = metric(name)
    decimals = int(row.format[1]) if row.format.startswith(".") else 0
    percent = row.format.endswith("%")
    return {"title": _long_title(name), "tip": explain(name), "decimals": decimals, "percent": percent}


def _long_title(name: str) -> str:
    """A metric's title, with the number of labels where there is one."""
    return title(name) + (f", {name.split('.')[1]} labels" if name.startswith("labels.") else "")
