"""Chart of a hyperparameter search: its objective against each hyperparameter."""

import math
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from keras_ecg.files import atomic

KNOWN = ("trial", "status", "epochs")


def draw_trials(path: Path, rows: list[dict], objective: str) -> None:
    """Draw one panel per hyperparameter, a dot per trial coloured by its epochs, the best one ringed.

    Args:
        path: of the PNG.
        rows: a dict per trial, best first: trial, status, epochs, the objective, and the hyperparameters.
        objective: the name of the objective's column.
    """
    done = [row for row in rows if row[objective] is not None]
    hyperparameters = [name for name in rows[0] if name not in (*KNOWN, objective)]
    columns = min(3, len(hyperparameters))
    lines = math.ceil(len(hyperparameters) / columns)
    drawing = Figure(figsize=(3.6 * columns, 2.8 * lines), layout="constrained", dpi=130)
    axes = drawing.subplots(lines, columns, squeeze=False, sharey=True)
    epochs = [row["epochs"] for row in done]
    colours = matplotlib.colormaps["viridis"]
    most = max(epochs)
    for axis, hyperparameter in zip(axes.flat, hyperparameters, strict=False):
        values = [row[hyperparameter] for row in done]
        axis.scatter(values, [row[objective] for row in done], c=[colours(0.9 * e / most) for e in epochs], s=28)
        axis.scatter(values[:1], [done[0][objective]], s=110, facecolors="none", edgecolors="#c0392b", linewidths=1.6)
        numbers = all(isinstance(v, (int, float)) for v in values)
        if numbers and min(values) > 0 and max(values) > 20 * min(values):
            axis.set_xscale("log")
        axis.set_xlabel(hyperparameter.removeprefix("model.options.").removeprefix("training."))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(hyperparameters) :]:
        axis.set_visible(False)
    for line in axes:
        line[0].set_ylabel(objective.replace("_", " "))
    drawing.suptitle(f"{len(done)} trials; darker: fewer epochs; ringed: the best", fontsize=10)
    with atomic(path) as partial:
        drawing.savefig(partial, format="png")
