"""The report's page of PTB-XL's superclasses, probed or trained: areas of each, for the model and its baselines."""

from pathlib import Path

import numpy as np

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.evaluation.names import at
from keras_ecg.explanations import explain, title_of
from keras_ecg.reports.details import environment_section, training
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
# How the model learns, and what is selected.
PROBED = (
    "logistic regression for each superclass, on the mean token; of an encoder of one lead, those of every lead side "
    "by side",
    "regularization",
)
END_TO_END = ("encoder and classifier together, from the pretrained weights", "the epoch")
BESIDE = "; intervals and amplitudes, scaled on folds 1 to 8, come in beside the waveform"


def sections(folder: Path, metrics: dict, config: dict, environment: dict, history: dict[str, np.ndarray]) -> list[str]:
    """The page's sections, in order."""
    trained = config.get("finetuning", {}).get("objective") == "finetune"
    baselines = [c["macro_auroc"] for c in metrics["baselines"].values()]
    tip = f'<span title="{text(explain("macro_auroc"))}">macro AUROC</span>'
    return [
        card_row([figure_card(tip, metrics["model"]["macro_auroc"], baselines)]),
        alarms(metrics),
        protocol(metrics, config, environment),
        comparison(metrics, Path(str(environment.get("weights", "model"))).name),
        training(history) if trained else "",
        environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
    ]


def subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    return [f"{count(model['recordings'])} recordings of {count(model['subjects'])} patients scored"]


def chosen_by(config: dict) -> str:
    """What the configuration says that it was chosen on, as HTML."""
    return text("; ".join(config.get("evaluation", {}).get("selected_on", ())))


def protocol(metrics: dict, config: dict, environment: dict) -> str:
    """Who trains, who selects, who is scored."""
    wanted = config.get("finetuning", {})
    learning, selected = END_TO_END if wanted.get("objective") == "finetune" else PROBED
    counts = metrics["model"]["class_counts"]
    pretrained_seeds = [Path(name).name for name in wanted.get("pretrained_seeds", ())]
    pairs = [
        ("encoder", text(environment.get("weights", ""))),
        ("its other seeds", text(", ".join(pretrained_seeds))),
        ("learning", learning + BESIDE * bool(wanted.get("hybrid"))),
        ("training", "PTB-XL's folds 1 to 8"),
        ("selection", f"{selected}, by macro AUROC on fold 9"),
        ("settings chosen by", chosen_by(config)),
        ("scored once", "fold 10: whole patients, in no other fold"),
        ("test-record statistics", "none"),
        ("scored", ", ".join(f"{CLASS_NAMES[c]} ({c}) {count(counts[c])}" for c in SUPERCLASSES)),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def comparison(metrics: dict, name: str) -> str:
    """Model and baselines in one table; then the paired differences."""
    labelled = {text(name): metrics["model"]}
    labelled |= {f"baseline: {text(title_of(c))}": of for c, of in metrics["baselines"].items()}
    rows = [
        ("" if k else "lead", [label, *(estimate(at(of, m)) for m in TITLES)])
        for k, (label, of) in enumerate(labelled.items())
    ]
    pairs = [(f"minus {text(title_of(c))}", [d["macro_auroc"]]) for c, d in metrics["differences"].items()]
    lead = '<p class="note">Below each figure the 95 % interval by bootstrap over patients.</p>'
    return section(
        "comparison",
        "Against the baselines",
        lead,
        table(["", *TITLES.values()], rows, kind="tight"),
        paired(["macro AUROC"], pairs),
    )
