"""The report's page of a study with few labels: figures by their number, for the model and its controls."""

from pathlib import Path

from keras_ecg.explanations import explain, title_of
from keras_ecg.reports import charts
from keras_ecg.reports.details import environment_section
from keras_ecg.reports.page import bar, count, definitions, estimate, figure, number, section, signed, span, table, text

TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auroc": "AUROC"}
PROTOCOLS = {
    "disjoint": "labels from DS1 without 201, all of DS2 scored: no subject on both sides",
    "random": "labels from four fifths of all beats, the others scored: the same patients stand on both sides, so that "
    "the figures say nothing of a new patient and are quoted for comparison only",
    "subsampling": "subjects split into training, validation and test by seed",
}
MODES = {
    "probe": "logistic regression on the frozen encoder, regularized as cross-validation inside the given labels says",
    "train": "end-to-end training of encoder and head, but for frozen stages",
}


def sections(folder: Path, metrics: dict, config: dict, environment: dict) -> list[str]:
    """The page's sections, in order."""
    alarms = "<ul>" + "".join(f"<li><strong>{text(alarm)}</strong></li>" for alarm in metrics["alarms"]) + "</ul>"
    return [
        cards(metrics),
        section("warnings", "Alarms", alarms, kind="warnings") if metrics["alarms"] else "",
        protocol(metrics, config, environment),
        comparison(metrics, str(environment.get("model", "model"))),
        curves(metrics, str(environment.get("model", "model"))),
        repeats(metrics),
        environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
    ]


def subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    return [
        f"{count(model['beats'])} beats of {model['subjects']} subjects scored, {count(model['abnormal'])} not normal",
        f"{len(model['seeds'])} draws of labels",
    ]


def cards(metrics: dict) -> str:
    """The figures with most labels, each with its interval and the best control."""
    size, figures = list(metrics["model"]["labels"].items())[-1]
    out = ""
    for name, title in TITLES.items():
        value = figures[name]
        best = max((c["labels"][size][name]["mean"] for c in metrics["controls"].values()), default=None)
        shown = number(value["mean"]) + (f" <small>± {value['sd']:.3f}</small>" if value["sd"] is not None else "")
        ends = [f"95 % interval {span(value)}"] if span(value) else []
        ends += [f"◇ best control {best:.3f}"] if best is not None else []
        tip = f'<span title="{text(explain(name))}">{title}, {size} labels</span>'
        out += f'<div class="card"><div class="name">{tip}</div><div class="value">{shown}</div>'
        out += f'{bar(value, best)}<div class="range">{"<br>".join(ends)}</div></div>\n'
    return f'<div class="cards">{out}</div>'


def protocol(metrics: dict, config: dict, environment: dict) -> str:
    """Who is labelled, who is scored, and what the test records give away."""
    wanted = config.get("finetuning", {})
    relative = wanted.get("relative") and wanted.get("mode") == "probe"
    share = 1 - metrics["model"]["abnormal"] / metrics["model"]["beats"]
    pairs = [
        ("protocol", text(PROTOCOLS.get(wanted.get("protocol"), wanted.get("protocol", "")))),
        ("encoder", text(environment.get("weights", ""))),
        ("learning", text(MODES.get(wanted.get("mode"), ""))),
        ("inputs besides", "RR features of each beat" if wanted.get("rhythm") else "none"),
        (
            "test-record statistics",
            "transductive: features less the median of the test record's beats, without labels" if relative else "none",
        ),
        ("draw", "half of the labels normal, half not; uniform over the pool's beats of each, by seed"),
        ("always normal", f"accuracy {share:.3f}, macro-F1 {share / (1 + share):.3f}: accuracy alone says little"),
        ("selection", "on the given labels alone"),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def comparison(metrics: dict, name: str) -> str:
    """Every predictor with every number of labels; then the paired differences."""
    rows = []
    sizes = list(metrics["model"]["labels"])
    for size in sizes:
        for k, (label, figures) in enumerate({name: metrics["model"], **metrics["controls"]}.items()):
            shown = text(name) if not k else f"control: {text(title_of(label))}"
            cells = [estimate(figures["labels"][size][m]) for m in TITLES]
            rows.append(("lead" if not k else "", [f"{size} labels, {shown}", *cells]))
    out = table(["", *TITLES.values()], rows, kind="tight")
    paired = []
    for control, by_size in metrics["differences"].items():
        for size, differences in by_size.items():
            cells = []
            for m in TITLES:
                d = differences[m]
                kind = ("better" if d["low"] > 0 else "worse") if d["excludes_zero"] else ""
                ends = f'<span class="ci">{signed(d["low"])} to {signed(d["high"])}</span>'
                cells.append(f'<span class="{kind}">{signed(d["difference"])}</span>{ends}')
            paired.append(("", [f"{size} labels, minus {text(title_of(control))}", *cells]))
    if paired:
        out += "<h3>Paired differences</h3>" + table(["model", *TITLES.values()], paired)
        out += (
            '<p class="note">Both sides are scored on the same resampled subjects. A coloured difference has a 95 % '
            "interval that excludes 0.</p>"
        )
    lead = "Mean ± standard deviation over draws of labels; below it the 95 % interval by bootstrap over subjects."
    return section("comparison", "Against the controls", f'<p class="note">{lead}</p>', out)


def curves(metrics: dict, name: str) -> str:
    """Figures by number of labels, drawn."""
    lines = {name: metrics["model"], **{title_of(c): f for c, f in metrics["controls"].items()}}
    image = charts.by_labels({label: of["labels"] for label, of in lines.items()}, TITLES)
    return section("curves", "By number of labels", figure(image, "Mean over draws; bars: standard deviation."))


def repeats(metrics: dict) -> str:
    """One row per draw."""
    model, rows = metrics["model"], []
    for size, figures in model["labels"].items():
        for k, seed in enumerate(model["seeds"]):
            rows.append(("", [f"{size} labels, seed {seed}", *(number(figures[m]["per_seed"][k]) for m in TITLES)]))
    body = f"<details><summary>All draws</summary>{table(['', *TITLES.values()], rows)}</details>"
    return section("repeats", "Draws", body)
