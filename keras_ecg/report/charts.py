"""Charts as inline SVG in the page's own colours, so that one drawing serves light and dark."""

import io
import re
from html import escape

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter

from keras_ecg.databases.mitdb import CLASSES
from keras_ecg.report.colours import CLASS_COLOURS

# Placeholders that are replaced by CSS colours of the page after Matplotlib has drawn.
INK, FAINT, PAPER, MINOR, MAJOR, TRACE, WRONG = (f"#01020{k}" for k in range(3, 10))
PAGE_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--line)",
    PAPER: "var(--paper)",
    MINOR: "var(--minor)",
    MAJOR: "var(--major)",
    TRACE: "var(--trace)",
    WRONG: "var(--wrong)",
}
STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "path.simplify_threshold": 0.2,
}

LEGEND = {"title_fontsize": 8.5, "handlelength": 0.9, "columnspacing": 0.9, "handletextpad": 0.4}


def svg(drawing: Figure, alt: str, salt: str) -> str:
    """A Matplotlib drawing as inline <svg> with a text alternative, without identifiers that could clash on a page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt}):
        drawing.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    image = buffer.getvalue()
    image = image[image.index("<svg") :]
    image = re.sub(r"<metadata>.*?</metadata>", "", image, flags=re.S)
    image = re.sub(r'<g id="[^"]*"', "<g", image)
    image = re.sub(r"<!--.*?-->\s*", "", image, flags=re.S)
    box = re.search(r'viewBox="([^"]*)"', image)[1]
    image = re.sub(r"<svg[^>]*>", f'<svg role="img" aria-label="{escape(alt)}" viewBox="{box}">', image, count=1)
    image = image.replace("xlink:href", "href")
    image = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "system-ui, sans-serif", image)
    # A tenth of a point is enough, and spaces next to commands, between elements and invisible frames are not needed.
    image = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", image)
    image = re.sub(r' (?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\d+\.\d)\d+", r"\1", found[0]), image)
    image = re.sub(r' d="[^"]*"', lambda d: re.sub(r"\s*([MLCQz])\s*", r"\1", d[0][4:-1]).join((' d="', '"')), image)
    image = re.sub(r">\s+<", "><", image)
    image = re.sub(r"(?:<g>)(</g>)", "", image)
    for stand_in, colour in PAGE_COLOURS.items():
        image = image.replace(stand_in, colour)
    return image.strip()


def axes(width: float, height: float, columns: int = 1, **options) -> tuple[Figure, list]:
    """A drawing of `columns` panels, in inches."""
    with matplotlib.rc_context(STYLE):
        drawing = Figure((width, height), layout="constrained")
        return drawing, list(drawing.subplots(1, columns, squeeze=False, **options)[0])


def _area(model: dict, c: str, name: str) -> str:
    value = model["classes"][c][name]["mean"]
    return c if value is None else f"{c}  {value:.3f}"


def roc(curves: dict, model: dict) -> str:
    """ROC curves of the classes, mean over seeds."""
    with matplotlib.rc_context(STYLE):
        drawing, [ax] = axes(4.6, 4.2)
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for c, points in curves.items():
            ax.plot(points["fpr"], points["tpr"], color=CLASS_COLOURS[CLASSES.index(c)], label=_area(model, c, "auroc"))
        ax.set(xlabel="false positive rate", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(0, 1.02))
        if curves:
            drawing.legend(loc="outside upper center", ncols=5, title="AUROC", **LEGEND)
    return svg(drawing, f"ROC curves of the classes {', '.join(curves)}, each against the rest", "roc")


def precision_recall(curves: dict, model: dict) -> str:
    """Precision-recall curves of the classes, mean over seeds."""
    with matplotlib.rc_context(STYLE):
        drawing, [ax] = axes(4.6, 4.2)
        for c, points in curves.items():
            colour, label = CLASS_COLOURS[CLASSES.index(c)], _area(model, c, "average_precision")
            ax.step(points["recall"], points["precision"], where="pre", color=colour, label=label)
        ax.set(xlabel="sensitivity", ylabel="positive predictivity", xlim=(-0.01, 1.01), ylim=(0, 1.02))
        if curves:
            drawing.legend(loc="outside upper center", ncols=5, title="average precision", **LEGEND)
    return svg(drawing, f"Precision-recall curves of the classes {', '.join(curves)}, each against the rest", "pr")


def calibration(bins: dict, unit: str = "beats") -> str:
    """Accuracy against top-label confidence, and below it the number of beats or recordings (`unit`) in each bin."""
    used = [k for k, n in enumerate(bins["count"]) if n]
    confidence = [bins["confidence"][k] for k in used]
    with matplotlib.rc_context(STYLE):
        drawing = Figure((4.6, 4.2), layout="constrained")
        ax, low = drawing.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        ax.plot(confidence, [bins["accuracy"][k] for k in used], "o-", color=CLASS_COLOURS[0], markersize=4)
        ax.set(ylabel="accuracy", ylim=(0, 1.02), xlim=(-0.01, 1.01))
        width = 1 / len(bins["count"])
        edges = [(k + 0.5) * width for k in used]
        low.bar(edges, [bins["count"][k] for k in used], width * 0.85, color=CLASS_COLOURS[0], alpha=0.5)
        low.set(yscale="log", ylim=(0.5, None), xlabel="confidence", ylabel=unit)  # 1 is among its ticks
        low.yaxis.set_minor_formatter(NullFormatter())  # only the powers of ten fit
    return svg(
        drawing, "Calibration: accuracy against confidence, and predictions per bin of confidence", "calibration"
    )


def history(columns: dict[str, np.ndarray], names: list[str]) -> str:
    """Training curves: one panel per quantity, one line per seed, fold and ensemble member, validation dashed."""
    with matplotlib.rc_context(STYLE):
        drawing, panels = axes(10.4, 2.9, len(names))
        keys = [columns[k] for k in ("seed", "fold", "member") if k in columns] or [np.zeros(len(columns["epoch"]))]
        keys = np.stack(keys, 1)
        runs = np.unique(keys, axis=0)
        for name, ax in zip(names, panels, strict=True):
            for k, run in enumerate(runs):
                rows = (keys == run).all(1)
                for column, line in ((name, "-"), (f"val_{name}", "--")):
                    if column in columns:
                        ax.plot(
                            columns["epoch"][rows],
                            columns[column][rows],
                            line,
                            color=CLASS_COLOURS[k % 5],
                            linewidth=1.3,
                            marker="" if rows.sum() > 1 else "o",
                        )
            ax.set(title=name.replace("_", " "), xlabel="epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
    return svg(drawing, f"Training curves: {', '.join(names)} by epoch, one line per seed and fold", "history")


def strip(signal: np.ndarray, rate_hz: float, beats: np.ndarray, marked: int, alt: str, salt: str) -> str:
    """One ECG strip on paper of 25 mm/s and 10 mm/mV.

    Args:
        signal: (T,) mV, NaN beyond the recording's ends.
        rate_hz: samples per second.
        beats: positions of the annotated beats in the strip.
        marked: position of the misclassified beat.
        alt: text alternative.
        salt: keeps identifiers of several drawings apart.
    """
    seconds = len(signal) / rate_hz
    finite = signal[np.isfinite(signal)] if np.isfinite(signal).any() else np.zeros(1)
    middle = np.median(finite)
    # Limits at half millivolts, the heavy lines of the grid; a spike may leave the grid, the trace may not be flat.
    low = max(np.floor(min(finite.min(), middle - 0.5) * 2) / 2 - 0.5, np.floor(middle * 2) / 2 - 2.5)
    high = min(np.ceil(max(finite.max(), middle + 0.5) * 2) / 2 + 0.5, np.ceil(middle * 2) / 2 + 3)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        drawing = Figure((25 * seconds / 25.4, 10 * (high - low) / 25.4))
        ax = drawing.add_axes((0, 0, 1, 1), xlim=(0, seconds), ylim=(low, high))
        ax.set_axis_off()
        ax.add_patch(Rectangle((0, low), seconds, high - low, color=PAPER, linewidth=0))
        for step, colour, width in ((1, MINOR, 0.5), (5, MAJOR, 0.8)):
            x = np.arange(0, 25 * seconds + 1e-6, step) / 25
            ax.plot(*_ruled(x, low, high), color=colour, linewidth=width)
            y = np.arange(round(low * 10), round(high * 10) + 1, step) / 10
            ax.plot(*_ruled(y, 0, seconds)[::-1], color=colour, linewidth=width)
        at = marked / rate_hz
        ax.axvspan(at - 0.26, at + 0.26, color=WRONG, alpha=0.13, linewidth=0)
        ax.plot(np.arange(len(signal)) / rate_hz, signal, color=TRACE, linewidth=0.9)
        others = beats[(beats >= 0) & (beats != marked)] / rate_hz
        ax.plot(others, np.full(len(others), low + 0.12), "^", color=TRACE, markersize=3.5, alpha=0.55)
        ax.plot([at], [low + 0.12], "^", color=WRONG, markersize=6)
    return svg(drawing, alt, salt)


def _ruled(positions: np.ndarray, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Parallel lines as one path, broken by NaN."""
    along = np.repeat(positions, 3)
    return along, np.tile([start, stop, np.nan], len(positions))


def reconstruction(
    signal: np.ndarray,
    filled: np.ndarray,
    hidden: np.ndarray,
    rate_hz: float,
    leads: list[str],
    salt: str,
    shaded: bool = True,
) -> str:
    """A window, its masked stretches shaded, and their reconstruction.

    Args:
        signal: (T, L), z-scored.
        filled: (T, L), predictions where samples were masked.
        hidden: (T, L) bool.
        rate_hz: samples per second.
        leads: L names.
        salt: keeps identifiers of several drawings apart.
        shaded: whether masked stretches are; not where the whole window is reconstructed.
    """
    time = np.arange(len(signal)) / rate_hz
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        drawing = Figure((10.4, 1.7 * signal.shape[1]), layout="constrained")
        for ax, name, truth, guess, gap in zip(
            drawing.subplots(signal.shape[1], 1, squeeze=False, sharex=True)[:, 0],
            leads,
            signal.T,
            filled.T,
            hidden.T,
            strict=True,
        ):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], gap, [False]]).astype(int)))
            for start, stop in edges.reshape(-1, 2) if shaded else ():
                ax.axvspan(start / rate_hz, stop / rate_hz, color=CLASS_COLOURS[0], alpha=0.13, linewidth=0)
            ax.plot(time, truth, color=TRACE, linewidth=0.8)
            ax.plot(time, np.where(gap, guess, np.nan), color=CLASS_COLOURS[2], linewidth=1.3)
            ax.set(xlim=(0, time[-1]), ylabel=f"{name}, z-score")
        ax.set(xlabel="seconds")
    share = f" with {100 * hidden.mean():.0f} % of it masked" if shaded else ""
    return svg(drawing, f"A held-out window{share}, and the reconstruction", salt)


def views(signal: np.ndarray, made: np.ndarray, rate_hz: float, salt: str, most: int = 4) -> str:
    """A window's first lead, and some of its augmented views.

    Args:
        signal: (T, L).
        made: (V, T', L').
        rate_hz: samples per second.
        salt: keeps identifiers of several drawings apart.
        most: number of views that are drawn.
    """
    lines = [("window", signal[:, 0]), *((f"view {k + 1}", view[:, 0]) for k, view in enumerate(made[:most]))]
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        drawing = Figure((10.4, 0.9 * len(lines)), layout="constrained")
        for ax, (name, values) in zip(drawing.subplots(len(lines), 1, sharex=True), lines, strict=True):
            ax.plot(
                np.arange(len(values)) / rate_hz,
                values,
                color=TRACE if name == "window" else CLASS_COLOURS[0],
                linewidth=0.8,
            )
            ax.set(ylabel=name, xlim=(0, len(signal) / rate_hz), yticks=[])
        ax.set(xlabel="seconds")
    return svg(drawing, f"A held-out window and {len(lines) - 1} views of it", salt)


def by_labels(lines: dict[str, dict], titles: dict[str, str]) -> str:
    """Metrics against the number of labels: one panel per metric, one line per predictor, the first one heavy."""
    with matplotlib.rc_context(STYLE):
        drawing, panels = axes(10.4, 3.4, len(titles))
        sizes = list(next(iter(lines.values())))
        for ax, (name, title) in zip(panels, titles.items(), strict=True):
            for k, (label, by_size) in enumerate(lines.items()):
                at = np.array([sizes.index(size) for size in by_size])
                mean = [of[name]["mean"] for of in by_size.values()]
                spread = [of[name]["sd"] or 0 for of in by_size.values()]
                ax.errorbar(
                    at + 0.04 * (k - len(lines) / 2), mean, spread, label=label, color=CLASS_COLOURS[k % 5],
                    linewidth=2.4 if not k else 1.2, marker="o", markersize=4, capsize=2, elinewidth=0.8,
                )  # fmt: skip
            ax.set(title=title, xlabel="labels", xticks=range(len(sizes)), xticklabels=sizes)
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, **LEGEND)
    return svg(drawing, f"{', '.join(titles.values())} by number of labels: {', '.join(lines)}", "by_labels")


def scatter(points: np.ndarray, groups: np.ndarray, names: tuple[str, ...], title: str, salt: str) -> str:
    """Points in the plane, coloured by group.

    Args:
        points: (n, 2).
        groups: (n,), indices of names.
        names: of the groups.
        title: of the predictor, for the text alternative.
        salt: keeps identifiers of several drawings apart.
    """
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        drawing, [ax] = axes(5.0, 4.2)
        for k, name in enumerate(names):
            ax.plot(*points[groups == k].T, "o", color=CLASS_COLOURS[k % 5], label=name, markersize=4, alpha=0.7)
        ax.set(xticks=[], yticks=[])
        drawing.legend(loc="outside upper center", ncols=len(names), **LEGEND)
    return svg(drawing, f"Embeddings of {title}, by class", salt)
