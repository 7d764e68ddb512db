"""Draw the figures of the README and of the documentation from the bundled recordings.

    python docs/figures.py                    # docs/images/predicted_beats.svg

The strip is from record 213 of DS2, which the preset `mitdb-beats`, trained on DS1, has not seen.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

import keras_ecg as ke
from keras_ecg.databases.mitdb import CLASS_OF_SYMBOL, CLASSES

RECORD, LEAD = "213", "MLII"
START_SECONDS, LENGTH_SECONDS = 279.6, 10.0  # N, S, V and F beats, one of them misclassified
IMAGES = Path(__file__).resolve().parent / "images"
PAPER, FINE_GRID, COARSE_GRID, TRACE = "#fffaf7", "#f7dcd6", "#eeb4aa", "#1d1d1f"
CLASS_COLORS = {"N": "#3b4a5a", "S": "#0b62c4", "V": "#8a3ffc", "F": "#00766c", "Q": "#6f6f6f"}
ERROR = "#c4001a"


def draw_ecg_paper(axes: Axes, seconds: tuple[float, float], amplitude_mv: tuple[float, float]) -> None:
    """Draws the grid of ECG paper: 0.04 s by 0.1 mV, and 0.2 s by 0.5 mV, at equal lengths of 0.04 s and 0.1 mV."""
    axes.set(xlim=seconds, ylim=amplitude_mv, aspect=0.4, facecolor=PAPER)
    axes.xaxis.set_major_locator(MultipleLocator(0.2))
    axes.xaxis.set_minor_locator(MultipleLocator(0.04))
    axes.yaxis.set_major_locator(MultipleLocator(0.5))
    axes.yaxis.set_minor_locator(MultipleLocator(0.1))
    axes.grid(which="minor", color=FINE_GRID, linewidth=0.35)
    axes.grid(which="major", color=COARSE_GRID, linewidth=0.6)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_predicted_beats(path: Path) -> None:
    """Draws a strip of the record with the predicted class above each R peak, errors marked."""
    recording = ke.read_record(f"sample_data/{RECORD}")
    beats = ke.BeatClassifier.from_preset("mitdb-beats").predict(recording)
    reference = {
        int(sample): CLASSES[CLASS_OF_SYMBOL[symbol]]
        for sample, symbol in zip(recording.samples, recording.symbols, strict=True)
        if symbol in CLASS_OF_SYMBOL
    }
    signal = recording.signals[:, recording.leads.index(LEAD)]
    first, count = (round(s * recording.sampling_rate_hz) for s in (START_SECONDS, LENGTH_SECONDS))
    strip = signal[first : first + count]
    time = np.arange(count) / recording.sampling_rate_hz
    low, high = np.floor(strip.min() * 2) / 2 - 0.5, np.ceil(strip.max() * 2) / 2 + 1.0

    figure = Figure(figsize=(11, 11 * 0.4 * (high - low) / LENGTH_SECONDS), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_ecg_paper(axes, (0, LENGTH_SECONDS), (low, high))
    axes.plot(time, strip, color=TRACE, linewidth=1.1, solid_joinstyle="round")
    for sample, predicted in zip(beats.sample.tolist(), beats.symbol.tolist(), strict=True):
        at = sample - first
        if not 0.1 * recording.sampling_rate_hz < at < count - 0.1 * recording.sampling_rate_hz:
            continue
        x, y = at / recording.sampling_rate_hz, strip[max(at - 20, 0) : at + 20].max() + 0.14
        true = reference[sample]
        if predicted == true:
            axes.text(x, y, predicted, color=CLASS_COLORS[predicted], ha="center", weight="bold", fontsize=14)
        else:
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": ERROR, "linewidth": 1.4}
            text = f"{predicted} (reference {true})"
            axes.text(x, y + 0.1, text, color=ERROR, ha="center", weight="bold", fontsize=12, bbox=box)
    caption = f"MIT-BIH record {RECORD}, lead {LEAD}, classified by mitdb-beats; grid of 0.2 s by 0.5 mV"
    axes.text(0.08, low + 0.12, caption, color=TRACE, fontsize=10, va="bottom")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "keras_ecg", "path.simplify_threshold": 0.2}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the figures of the documentation from sample_data/.")
    parser.add_argument("--output-dir", type=Path, default=IMAGES)
    draw_predicted_beats(parser.parse_args().output_dir / "predicted_beats.svg")
