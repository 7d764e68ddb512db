"""Charts of rhythm classification."""

import matplotlib
import numpy as np

from keras_ecg.databases.cinc2017 import CLASSES
from keras_ecg.report.charts import FAINT, INK, LEGEND, STYLE, axes, svg
from keras_ecg.report.colours import CLASS_COLOURS

COLOURS = {c: CLASS_COLOURS[k] for c, k in zip(CLASSES, (0, 2, 1, 4), strict=True)}


def comparison(predictors: dict[str, dict], titles: dict[str, str]) -> str:
    """Metrics with their 95 % CIs: one panel each, one line per predictor, the first one heavy.

    Args:
        predictors: label to metrics by name, each with mean, low and high.
        titles: of the metrics to show.
    """
    with matplotlib.rc_context(STYLE):
        drawing, panels = axes(10.4, 0.8 + 0.36 * len(predictors), len(titles), sharey=True)
        at = np.arange(len(predictors))[::-1]
        for ax, (name, title) in zip(panels, titles.items(), strict=True):
            for y, (k, metrics) in zip(at, enumerate(predictors.values()), strict=True):
                found = metrics[name]
                known = found.get("low") is not None
                ends = [[found["mean"] - found["low"]], [found["high"] - found["mean"]]] if known else None
                ax.errorbar(
                    found["mean"], y, xerr=ends, fmt="o", color=CLASS_COLOURS[0] if not k else CLASS_COLOURS[4],
                    markersize=7 if not k else 5, elinewidth=2 if not k else 1.2, capsize=2,
                )  # fmt: skip
            ax.set(title=title, yticks=at, yticklabels=list(predictors), ylim=(-0.6, len(predictors) - 0.4))
            ax.grid(axis="y", visible=False)
    return svg(drawing, f"{', '.join(titles.values())} of {', '.join(predictors)}", "rhythm_comparison")


def curves(lines: dict[str, list[tuple[float, float]]], label: str, clean: float, salt: str) -> str:
    """The challenge score against the strength of each disturbance; `clean` is the undisturbed score.

    Args:
        lines: name to (strength, score) pairs.
        label: of the strength.
        clean: a faint level line.
        salt: keeps identifiers of several drawings apart.
    """
    with matplotlib.rc_context(STYLE):
        drawing, [ax] = axes(5.0, 3.6)
        ax.axhline(clean, color=FAINT, linewidth=1.5)
        for k, (name, points) in enumerate(lines.items()):
            x, y = zip(*points, strict=True)
            ax.plot(x, y, "o-", color=CLASS_COLOURS[k % 5], label=name, markersize=4)
        ax.set(xlabel=label, ylabel="challenge score", ylim=(0, 1))
        drawing.legend(loc="outside upper center", ncols=3, **LEGEND)
    return svg(drawing, f"Score against {label}: {', '.join(lines)}", salt)


def occlusion(
    signal: np.ndarray, rate_hz: float, beats: np.ndarray, importance: np.ndarray, alt: str, salt: str
) -> str:
    """A recording, shaded where the model's prediction depends on it.

    Args:
        signal: (T,) z-scores.
        rate_hz: samples per second.
        beats: (n,) seconds.
        importance: (S,) of equal stretches of it, in order; negative ones are not shaded.
        alt: text alternative.
        salt: keeps identifiers of several drawings apart.
    """
    seconds = len(signal) / rate_hz
    low, high = np.percentile(signal, [0.2, 99.8]) + np.array([-0.8, 0.8])
    edges = np.linspace(0, seconds, len(importance) + 1)
    most = max(importance.max(), 1e-6)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        drawing, [ax] = axes(10.4, 1.5)
        for start, stop, value in zip(edges, edges[1:], importance, strict=False):
            if value > 0:
                ax.axvspan(start, stop, color=CLASS_COLOURS[1], alpha=0.65 * value / most, linewidth=0)
        ax.plot(np.arange(len(signal)) / rate_hz, signal, color=INK, linewidth=0.6)
        ax.plot(beats, np.full(len(beats), low + 0.15), "^", color=INK, markersize=2.5, alpha=0.6)
        ax.set(xlim=(0, seconds), ylim=(low, high), yticks=[], xlabel="seconds")
    return svg(drawing, alt, salt)
