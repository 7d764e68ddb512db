"""The report's page of a study with few labels: figures by their number, for the model and its baselines."""

from pathlib import Path

from keras_ecg.evaluation.names import at
from keras_ecg.explanations import explain, title_of
from keras_ecg.reports import charts
from keras_ecg.reports.details import environment_section
from keras_ecg.reports.page import (
    alarms,
    card_row,
    count,
    definitions,
    estimate,
    figure,
    figure_card,
    number,
    paired,
    section,
    seen_before,
    table,
    text,
)

TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "auroc": "AUROC"}
PROTOCOLS = {
    "inter_patient": "labels from DS1 without 201, all of DS2 scored: no subject on both sides",
    "intra_patient": "labels from four fifths of all beats, the others scored: the same patients are on both sides, so "
    "the figures say nothing of a new patient and are quoted for comparison only",
    "subsampling": "subjects split into training, validation and test by seed",
}
OBJECTIVES = {
    "probe": "logistic regression on the frozen encoder, regularized as cross-validation inside the given labels says",
    "finetune": "end-to-end training of encoder and head, but for frozen stages",
}
OBJECTIVES["train"] = OBJECTIVES["finetune"]  # as older runs call it


def sections(folder: Path, metrics: dict, config: dict, environment: dict) -> list[str]:
    """The page's sections, in order."""
    return [
        cards(metrics),
        alarms(metrics),
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
    """The figures with most labels, each with its interval and the best baseline."""
    size, figures = list(metrics["model"]["labels"].items())[-1]
    return card_row(
        figure_card(
            f'<span title="{text(explain(name))}">{title}, {size} labels</span>',
            figures[name],
            [at(baseline["labels"], size).get(name, {}) for baseline in metrics["baselines"].values()],
        )
        for name, title in TITLES.items()
    )


def protocol(metrics: dict, config: dict, environment: dict) -> str:
    """Who is labelled, who is scored, and what the test records give away."""
    wanted = config.get("finetuning", {})
    objective = wanted.get("objective", wanted.get("mode", ""))  # the name of older runs
    relative = wanted.get("subtract_record_median") and objective == "probe"
    share = 1 - metrics["model"]["abnormal"] / metrics["model"]["beats"]
    chosen_on = config.get("evaluation", {}).get("selected_on")
    settled = f"; what is probed was settled inside records {text(' '.join(chosen_on))}" if chosen_on else ""
    pairs = [
        ("protocol", text(PROTOCOLS.get(wanted.get("protocol"), wanted.get("protocol", "")))),
        ("encoder", text(environment.get("weights", ""))),
        ("learning", text(OBJECTIVES.get(objective, ""))),
        ("inputs besides", "RR features of each beat" if wanted.get("rr_features") else "none"),
        (
            "test-record statistics",
            "transductive: features less the median of the test record's beats, without labels" if relative else "none",
        ),
        ("scored records seen before", seen_before(environment)),
        ("draw", "half of the labels normal, half not; uniform over the pool's beats of each, by seed"),
        ("always normal", f"accuracy {share:.3f}, macro-F1 {share / (1 + share):.3f}: accuracy alone says little"),
        ("selection", f"regularization on the given labels alone{settled}"),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def comparison(metrics: dict, name: str) -> str:
    """Every predictor with every number of labels; then the paired differences."""
    rows = []
    sizes = list(metrics["model"]["labels"])
    for size in sizes:
        for k, (label, figures) in enumerate({name: metrics["model"], **metrics["baselines"]}.items()):
            if size not in figures["labels"]:
                continue  # a baseline that was not asked with so many
            shown = text(name) if not k else f"baseline: {text(title_of(label))}"
            cells = [estimate(figures["labels"][size][m]) for m in TITLES]
            rows.append(("lead" if not k else "", [f"{size} labels, {shown}", *cells]))
    out = table(["", *TITLES.values()], rows, kind="tight")
    differences = [
        (f"{size} labels, minus {text(title_of(baseline))}", [figures[m] for m in TITLES])
        for baseline, by_size in metrics["differences"].items()
        for size, figures in by_size.items()
    ]
    out += paired(TITLES.values(), differences)
    lead = "Mean ± standard deviation over draws of labels; below it the 95 % interval by bootstrap over subjects."
    return section("comparison", "Against the baselines", f'<p class="note">{lead}</p>', out)


def curves(metrics: dict, name: str) -> str:
    """Figures by number of labels, drawn."""
    lines = {name: metrics["model"], **{title_of(c): f for c, f in metrics["baselines"].items()}}
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
