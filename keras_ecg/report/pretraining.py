"""Report of self-supervised pretraining: validation loss, alarms, reconstructions or views."""

import numpy as np

from keras_ecg.evaluation.schema import REFERENCES, explain, format_value, title
from keras_ecg.evaluation.titles import DATABASES
from keras_ecg.predictions import read_npz
from keras_ecg.report import charts
from keras_ecg.report.common import alarms, circumstances, comparison, declarations, headline, metric_card, training
from keras_ecg.report.page import Card, Note, Picture, Section, Span, count, definitions
from keras_ecg.report.run import Run

CURVES = {
    "contrastive": ("loss", "log_n", "effective_rank"),
    "quantized": ("relative_loss", "usage", "perplexity"),
}
PICTURES = {
    "masked": (
        "Reconstructions",
        "Windows of held-out subjects. Masked segments are shaded; red: the reconstruction.",
    ),
    "quantized": ("Reconstructions", "Windows of held-out subjects. Red: the reconstruction from code indices."),
    "contrastive": (
        "Augmented views",
        "Windows of held-out subjects, and the views that are positive pairs.",
    ),
}
LOSSES = ("masked_loss", "jepa_loss", "reconstruction_loss", "contrastive_loss", "log_n")
OTHERS = ("effective_rank", "r2", "usage", "perplexity")


def size(metrics: dict) -> str:
    """How much is scored."""
    model = metrics["model"]
    return f"{count(model['windows'])} windows of {count(model['subjects'])} held-out subjects"


def sections(run: Run) -> list[Section]:
    """The sections of the report."""
    model = run.metrics["model"]
    names = ["relative_loss", *(k for k in (*LOSSES, *OTHERS) if k in model)]
    names += [f"databases.{d}" for d in model.get("databases", {})]
    note = f"The normalized validation loss is divided by {REFERENCES[run.kind]}."
    return [
        alarms(run),
        declarations(run, declared(run)),
        headline(cards(run)),
        comparison(run, names, (), note=note),
        protocol(run),
        pictures(run),
        training(run.history(), CURVES.get(run.kind, ("loss", "relative_loss", "effective_rank"))),
        *circumstances(run),
    ]


def cards(run: Run) -> list[Card]:
    """Normalized validation loss, and effective rank or use of the codebook."""
    model = run.metrics["model"]
    shown = [metric_card(run, "relative_loss", more=[f"divided by {REFERENCES[run.kind]}"])]
    if "effective_rank" in model:
        shown.append(_plain("effective_rank", model, f"of {model['dimensions']} dimensions; 1 is a collapse"))
    if "codes" in model:
        shown.append(metric_card(run, "r2"))
        used = f"{format_value('usage', model['usage'])} of {model['codes']} codes used; 1 is a collapse"
        shown.append(_plain("perplexity", model, used))
    return shown


def _plain(name: str, model: dict, line: str) -> Card:
    return Card(title(name), explain(name), Span(format_value(name, model[name])), [line])


def declared(run: Run) -> list[tuple[str, str]]:
    """Subjects that the pretraining set excludes."""
    split = run.config.get("evaluation", {}).get("split", "")
    excluded = f"test subjects of the split {split}"
    if any(source.get("database") == "ptbxl" for source in run.config.get("windows", {}).get("sources", ())):
        excluded += ", and PTB-XL's folds 9 and 10"
    environment = run.environment
    held, trained = (count(environment.get(f"{part}_subjects", 0)) for part in ("held_out", "training"))
    held = f"{held} subjects, {trained} in training"
    return [("excluded from pretraining", f"{excluded}; their windows are rejected"), ("held out for validation", held)]


def protocol(run: Run) -> Section:
    """Pretraining set, windows, objective."""
    windows, model = run.config.get("windows", {}), run.config.get("model", {})
    used = "; ".join(
        f"{DATABASES.get(name, 'total' if name == 'all' else name)}: {count(t['windows'])} windows of "
        f"{count(t['subjects'])} subjects, {t['unique_hours']:.1f} unique hours"
        for name, t in (run.environment.get("totals") or {}).items()
    )
    band = " to ".join(f"{f:g}" for f in windows.get("bandpass_hz") or ())
    pairs = [
        ("pretraining set", used),
        (
            "window",
            f"{windows.get('length_seconds', 0):g} s at {windows.get('sampling_rate_hz', 0):g} Hz, leads "
            f"{', '.join(windows.get('leads', ()))}, band-pass {band} Hz, z-scored",
        ),
        (
            "objective",
            ", ".join(f"{k} {v}" for k, v in {"model": model.get("name"), **flat(model.get("options", {}))}.items()),
        ),
        ("seeds", ", ".join(map(str, run.environment.get("seeds", ())))),
    ]
    return Section("protocol", "Pretraining protocol", [definitions(pairs)])


def flat(options: dict, path: str = "") -> dict:
    """Nested options by dotted name."""
    out: dict = {}
    for key, value in options.items():
        out |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return out


def pictures(run: Run) -> Section:
    """Reconstructions of masked stretches or of whole windows, or the views of a contrastive objective."""
    path = run.folder / "pictures.npz"
    if not path.is_file():
        return Section("pictures", "Pictures")
    stored, windows = read_npz(path), run.config.get("windows", {})
    rate, leads = float(windows.get("sampling_rate_hz", 1)), list(windows.get("leads", ["?"]))
    signals, images = stored["signals"], []
    for k in range(len(signals)):
        if "filled" in stored:
            hidden = stored["hidden"][k].reshape(len(signals[k]), -1)  # (T, L), or (T, 1) for all leads
            hidden = np.broadcast_to(hidden, signals[k].shape)
            masked = run.kind == "masked"
            drawn = charts.reconstruction(signals[k], stored["filled"][k], hidden, rate, leads, f"r{k}", shaded=masked)
        else:
            drawn = charts.views(signals[k], stored["views"][k], rate, f"v{k}")
        images.append(Picture(drawn, style="wide"))
    shown, note = PICTURES[run.kind]
    return Section("pictures", shown, [Note(note), *images])
