"""The report's page of a study of embeddings: probes, neighbours, clusters, and who lies where."""

from pathlib import Path

import numpy as np

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.evaluation.embeddings import PROBES, load_embeddings
from keras_ecg.evaluation.names import at
from keras_ecg.explanations import explain, title_of
from keras_ecg.predictions import baseline_files, file_name
from keras_ecg.reports import charts
from keras_ecg.reports.details import environment_section, training
from keras_ecg.reports.page import (
    alarms,
    card_row,
    count,
    definitions,
    estimate,
    figure,
    figure_card,
    paired,
    section,
    table,
    text,
)
from keras_ecg.reports.superclasses import CLASS_NAMES, chosen_by

TITLES = {
    "linear_auroc": "linear probe",
    "attentive_auroc": "attentive probe",
    "neighbours_auroc": "20 neighbours",
    "classes.nmi": "NMI",
    "classes.ari": "ARI",
    "classes.silhouette": "silhouette",
    "classes.davies_bouldin": "Davies-Bouldin, lower is better",
    "classes.calinski_harabasz": "Calinski-Harabasz",
}
PATIENTS = {name.replace("classes", "patients"): title for name, title in TITLES.items() if "." in name}
COMPARED = ("linear_auroc", "attentive_auroc", "neighbours_auroc", "classes.davies_bouldin")
PICTURED = ("model", "before", "random_init")


def subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    return [f"{count(model['recordings'])} recordings of {count(model['subjects'])} patients scored"]


def tip(name: str, title: str) -> str:
    return f'<span title="{text(explain(name))}">{title}</span>'


def sections(folder: Path, metrics: dict, config: dict, environment: dict, history: dict[str, np.ndarray]) -> list[str]:
    """The page's sections, in order; the history is that of triplets."""
    names = [m for probe in PROBES if (m := f"{probe}_auroc") in metrics["model"]]
    cards = [
        figure_card(tip(m, TITLES[m]), metrics["model"][m], [c[m] for c in metrics["baselines"].values() if m in c])
        for m in names
    ]
    return [
        card_row(cards),
        alarms(metrics),
        protocol(metrics, config, environment),
        comparison(metrics, Path(str(environment.get("weights", "model"))).name),
        pictures(folder),
        training(history, ("loss", "selection_auroc")),
        environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
    ]


def protocol(metrics: dict, config: dict, environment: dict) -> str:
    """Who trains, who selects, who is scored, and what is compared."""
    model, counts = metrics["model"], metrics["model"]["class_counts"]
    size, drawn = config.get("finetuning", {}).get("projection"), triplets(config)
    after = f"; after triplets of the projection to {size}" if drawn and size else ""
    pairs = [
        ("encoder", text(environment.get("weights", ""))),
        ("triplets", drawn),
        ("probes", "of the frozen encoder, on PTB-XL's folds 1 to 8; fold 9 chooses regularization and epoch"),
        ("neighbours, clusters, separation", "of the first 64 principal components, scaled on folds 1 to 8" + after),
        ("settings chosen by", chosen_by(config)),
        ("scored once", "fold 10: whole patients, in no other fold"),
        ("scored", ", ".join(f"{CLASS_NAMES[c]} ({c}) {count(counts[c])}" for c in SUPERCLASSES)),
        ("clustered and parted", f"{count(model['classes']['recordings'])} of them, with one superclass alone"),
        ("patients with several recordings", f"{count(model['patients']['count'])}, of all folds"),
    ]
    return section("protocol", "Protocol", definitions(pairs))


def triplets(config: dict) -> str:
    """What was drawn together and pushed apart, and how it was chosen; nothing without triplets."""
    wanted, options = config.get("finetuning", {}), config.get("model", {}).get("options", {})
    if wanted.get("objective") != "triplet":
        return ""
    margin, frozen = wanted.get("margin"), options.get("frozen_stages", 0) < 0
    learns = "the encoder"
    if wanted.get("projection"):
        learns = (
            "a projection of the frozen encoder's means" if frozen else f"{learns}, after a projection of its means"
        )
    return (
        f"on folds 1 to 8, of {learns}: recordings that share a superclass are drawn together, others pushed {margin} "
        "further off; the epoch is chosen by 20 neighbours on fold 9"
    )


def comparison(metrics: dict, name: str) -> str:
    """Model and baselines in two tables, of diagnoses and of patients; then the paired differences."""
    labelled = {text(name): metrics["model"]}
    labelled |= {f"baseline: {text(title_of(c))}": of for c, of in metrics["baselines"].items()}

    def rows(names: dict[str, str]) -> str:
        cells = [
            ("" if k else "lead", [label, *(estimate(at(of, m)) if at(of, m) else "" for m in names)])
            for k, (label, of) in enumerate(labelled.items())
        ]
        return table(["", *(tip(m, title) for m, title in names.items())], cells, kind="tight")

    pairs = [
        (f"minus {text(title_of(c))}", [at(found, m) for m in COMPARED]) for c, found in metrics["differences"].items()
    ]
    note = (
        '<p class="note">Macro AUROC of the superclasses under the probes and among neighbours; agreement of clusters '
        "with the superclasses, and how far these lie apart. Below a figure the 95 % interval over patients: by "
        "bootstrap, that of Davies-Bouldin by random halves, because a patient drawn twice would distort it.</p>"
    )
    return section(
        "comparison",
        "Against the baselines",
        note,
        rows(TITLES),
        paired([TITLES[m] for m in COMPARED], pairs),
        "<h3>The same of patients in place of diagnoses</h3>",
        rows(PATIENTS),
    )


def pictures(folder: Path) -> str:
    """Recordings on the first two principal components, coloured by their superclass."""
    files = {"model": folder / file_name()} | baseline_files(folder)
    images = []
    for name in PICTURED:
        if name in files:
            stored = load_embeddings(files[name])
            single = stored["y_true"].sum(1) == 1
            title = "the model" if name == "model" else title_of(name)
            drawn = charts.scatter(
                stored["embeddings"][single, :2], stored["y_true"][single].argmax(1), SUPERCLASSES, title, f"pca_{name}"
            )
            images.append(figure(drawn, title.capitalize()))
    note = '<p class="note">The first two principal components of scored recordings with one superclass alone.</p>'
    return section("pictures", "Where recordings lie", note, f'<div class="columns">{"".join(images)}</div>')
