"""The report's page of a probe on PTB-XL's superclasses: areas of each, for the model and its controls."""

from pathlib import Path

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.evaluation.names import at
from keras_ecg.explanations import explain, title_of
from keras_ecg.reports.details import environment_section
from keras_ecg.reports.page import (
    alarms,
    card_row,
    count,
    definitions,
    estimate,
    figure_card,
    paired,
    section,
    table,
    text,
)

CLASS_NAMES = {
    "NORM": "normal",
    "MI": "infarction",
    "STTC": "ST and T changes",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
TITLES = {"macro_auroc": "macro AUROC", **{f"classes.{c}.auroc": f"AUROC {c}" for c in SUPERCLASSES}}


def sections(folder: Path, metrics: dict, environment: dict) -> list[str]:
    """The page's sections, in order."""
    controls = [c["macro_auroc"] for c in metrics["controls"].values()]
    tip = f'<span title="{text(explain("macro_auroc"))}">macro AUROC</span>'
    return [
        card_row([figure_card(tip, metrics["model"]["macro_auroc"], controls)]),
        alarms(metrics),
        protocol(metrics, environment),
        comparison(metrics, str(environment.get("weights", "model"))),
        environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
    ]


def subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    return [f"{count(model['recordings'])} recordings of {count(model['subjects'])} patients scored"]


def protocol(metrics: dict, environment: dict) -> str:
    """Who trains, who selects, who is scored."""
    counts = metrics["model"]["class_counts"]
    pairs = [
        ("encoder", text(environment.get("weights", ""))),
        (
            "learning",
            "logistic regression for each superclass, on the mean token; of an encoder of one lead, those of every "
            "lead side by side",
        ),
        ("training", "PTB-XL's folds 1 to 8"),
        ("selection", "regularization by macro AUROC on fold 9"),
        ("scored once", "fold 10: whole patients, in no other fold"),
        ("test-record statistics", "none"),
        ("scored", ", ".join(f"{CLASS_NAMES[c]} ({c}) {count(counts[c])}" for c in SUPERCLASSES)),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def comparison(metrics: dict, name: str) -> str:
    """Model and controls in one table; then the paired differences."""
    labelled = {text(name): metrics["model"]}
    labelled |= {f"control: {text(title_of(c))}": of for c, of in metrics["controls"].items()}
    rows = [
        ("" if k else "lead", [label, *(estimate(at(of, m)) for m in TITLES)])
        for k, (label, of) in enumerate(labelled.items())
    ]
    pairs = [(f"minus {text(title_of(c))}", [d["macro_auroc"]]) for c, d in metrics["differences"].items()]
    lead = '<p class="note">Below each figure the 95 % interval by bootstrap over patients.</p>'
    return section(
        "comparison",
        "Against the controls",
        lead,
        table(["", *TITLES.values()], rows, kind="tight"),
        paired(["macro AUROC"], pairs),
    )
