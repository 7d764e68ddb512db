"""The report's page of a pretraining: held-out loss, alarms, pictures."""

from pathlib import Path

import numpy as np

from keras_ecg.explanations import REFERENCES, explain, title_of
from keras_ecg.predictions import read_npz
from keras_ecg.reports import charts
from keras_ecg.reports.details import environment_section, training
from keras_ecg.reports.page import (
    alarms,
    bar,
    card,
    card_row,
    count,
    definitions,
    estimate,
    figure,
    number,
    section,
    span,
    table,
    text,
)

CURVES = {
    "contrastive": ("loss", "log_n", "effective_rank"),
    "quantized": ("relative_loss", "usage", "perplexity"),
}
PICTURES = {
    "masked": (
        "Reconstructions",
        "Held-out windows. Tinted stretches were hidden from the encoder; the red line is what it made of them.",
    ),
    "quantized": ("Reconstructions", "Held-out windows. The red line is what the decoder makes of their codes."),
    "contrastive": ("Views", "Held-out windows, and the views of each that the objective draws towards each other."),
}


def sections(folder: Path, metrics: dict, config: dict, environment: dict, history: dict) -> list[str]:
    """The page's sections, in order."""
    return [
        cards(metrics),
        alarms(metrics),
        protocol(metrics, config, environment),
        comparison(metrics, str(environment.get("model", "model"))),
        pictures(folder, metrics["kind"], config),
        training(history, CURVES.get(metrics["kind"], ("loss", "relative_loss", "effective_rank"))),
        environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
    ]


def subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    return [f"scored on {count(model['windows'])} held-out windows of {count(model['subjects'])} subjects"]


def cards(metrics: dict) -> str:
    """The held-out loss against its reference, and the effective rank of a contrastive encoder."""
    model = metrics["model"]
    loss = model["relative_loss"]
    baselines = [c["relative_loss"]["mean"] for c in metrics["baselines"].values()]
    ends = [f"of {REFERENCES[metrics['kind']]}"] + ([f"95 % interval {span(loss, 3)}"] if span(loss) else [])
    ends += [f"◇ best baseline {min(baselines):.3f}"] if baselines else []
    shown = [card("held-out loss", number(loss["mean"]), bar(loss, min([*baselines, 1.0])), ends)]
    if "effective_rank" in model:
        of = f"of {model['dimensions']} dimensions; 1 is a collapse"
        shown.append(card("effective rank", number(model["effective_rank"], 1), "", [of]))
    if "codes" in model:
        shown.append(card("R²", number(model["r2"]["mean"], 3), "", ["of held-out windows, from their codes"]))
        of = [f"of {model['codes']} codes; 1 is a collapse", f"{model['usage']:.0%} of them are used"]
        shown.append(card("perplexity", number(model["perplexity"], 0), "", of))
    return card_row(shown)


def protocol(metrics: dict, config: dict, environment: dict) -> str:
    """What was seen, what was held out, and how."""
    windows, model = config.get("windows", {}), config.get("model", {})
    seen = "; ".join(
        f"{text(name)}: {count(t['windows'])} windows of {count(t['subjects'])} subjects, "
        f"{t['unique_hours']:.1f} unique hours"
        for name, t in (environment.get("totals") or {}).items()
    )
    rejected = f"the test subjects of the split {text(config.get('evaluation', {}).get('split', ''))}"
    if any(source.get("database") == "ptbxl" for source in windows.get("sources", ())):
        rejected += ", and PTB-XL's folds for selection and test"
    options = model.get("options", {})
    pairs = [
        ("packed windows", seen),
        (
            "held out",
            f"{count(environment.get('held_out_subjects', 0))} subjects, against "
            f"{count(environment.get('training_subjects', 0))} that trained",
        ),
        ("never seen", f"{rejected}; their windows are rejected"),
        (
            "window",
            f"{windows.get('length_seconds', 0):g} s at {windows.get('sampling_rate_hz', 0):g} Hz, leads "
            f"{text(', '.join(windows.get('leads', ())))}, {text(windows.get('bandpass_hz', ''))} Hz, z-scored",
        ),
        ("objective", text(", ".join(f"{k} {v}" for k, v in {"model": model.get("name"), **options}.items()))),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def comparison(metrics: dict, name: str) -> str:
    """Model and baselines in one table."""
    first = metrics["model"]
    losses = ("masked_loss", "jepa_loss", "reconstruction_loss", "contrastive_loss", "log_n")
    also = ("effective_rank", "r2", "usage", "perplexity")
    figures = ["relative_loss"] + [k for k in (*losses, *also) if k in first]
    databases = list(first.get("databases", {}))
    rows = []
    for kind, label, of in [
        ("lead", text(name), first),
        *(("", f"baseline: {text(title_of(c))}", f) for c, f in metrics["baselines"].items()),
    ]:
        cells = [estimate(of[k]) if isinstance(of[k], dict) else number(of[k]) for k in figures]
        rows.append((kind, [label, *cells, *(estimate(of["databases"][d]) for d in databases)]))
    heads = [f'<span title="{text(explain(k))}">{k.replace("_", " ")}</span>' for k in figures]
    share = f"The relative loss is a share of {REFERENCES[metrics['kind']]}. Intervals: bootstrap over subjects."
    note = f'<p class="note">{share}</p>'
    return section(
        "comparison",
        "Against the baselines",
        note,
        table(["", *heads, *(f"relative loss, {text(d)}" for d in databases)], rows, kind="tight"),
    )


def pictures(folder: Path, kind: str, config: dict) -> str:
    """Reconstructions of hidden stretches or of all, or the views that a contrastive encoder was shown."""
    path = folder / "pictures.npz"
    if not path.is_file():
        return ""
    stored, windows = read_npz(path), config.get("windows", {})
    rate, leads = float(windows.get("sampling_rate_hz", 1)), list(windows.get("leads", ["?"]))
    signals, images = stored["signals"], []
    for k in range(len(signals)):
        if "filled" in stored:
            hidden = stored["hidden"][k].reshape(len(signals[k]), -1)  # (T, L), or (T, 1) for all leads
            hidden = np.broadcast_to(hidden, signals[k].shape)
            drawn = charts.reconstruction(
                signals[k], stored["filled"][k], hidden, rate, leads, f"r{k}", tinted=kind == "masked"
            )
        else:
            drawn = charts.views(signals[k], stored["views"][k], rate, f"v{k}")
        images.append(figure(drawn))
    title, note = PICTURES[kind]
    return section("pictures", title, f'<p class="note">{note}</p>', *images)
