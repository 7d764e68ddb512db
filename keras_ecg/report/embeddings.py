"""Report of frozen embeddings: probes, k-NN, clustering, separation."""

from keras_ecg.databases.ptbxl import SUPERCLASSES
from keras_ecg.evaluation.embeddings import PROBES, load_embeddings
from keras_ecg.evaluation.names import at
from keras_ecg.evaluation.titles import baseline_title, encoder_title
from keras_ecg.predictions import baseline_files, file_name
from keras_ecg.report import charts
from keras_ecg.report.common import alarms, circumstances, comparison, declarations, headline, metric_card, training
from keras_ecg.report.page import (
    Columns,
    Heading,
    Note,
    Picture,
    Row,
    Section,
    Table,
    count,
    definitions,
    estimate,
    head,
)
from keras_ecg.report.run import Run
from keras_ecg.report.superclasses import scored, selected_on, size

__all__ = ["sections", "size"]

SCORES = ("nmi", "ari", "silhouette", "davies_bouldin", "calinski_harabasz")
COMPARED = (*(f"{probe}_auroc" for probe in PROBES), *(f"classes.{score}" for score in SCORES))
PAIRED = (*COMPARED[:3], "classes.davies_bouldin")
PATIENTS = tuple(f"patients.{score}" for score in SCORES)
DRAWN = ("model", "before", "random_init")
NOTE = (
    "Macro AUROC of the superclasses by probes and k-NN; agreement of k-means clusters with the superclasses, and "
    "their separation. CIs are by bootstrap over patients; that of Davies-Bouldin is by random halves of the patients, "
    "because duplicated patients would bias it."
)


def sections(run: Run) -> list[Section]:
    """The sections of the report; the training history is that of triplet training."""
    names = [m for m in COMPARED[:3] if m in run.metrics["model"]]
    compared = comparison(run, COMPARED, PAIRED, note=NOTE)
    rows = [
        Row(
            name,
            [estimate(m, at(found, m)) if at(found, m) else "" for m in PATIENTS],
            "lead" if group == "model" else "",
        )
        for name, found, group in run.predictors()
    ]
    caption = "The same metrics with patients in place of superclasses: whether the embeddings identify the patient."
    patients = [
        Heading("Patients in place of superclasses"),
        Table(["predictor", *map(head, PATIENTS)], rows, caption, "tight"),
    ]
    return [
        alarms(run),
        declarations(run, declared(run)),
        headline([metric_card(run, name) for name in names]),
        Section(compared.anchor, compared.title, [*compared.blocks, *patients]),
        protocol(run),
        pictures(run),
        training(run.history("triplet"), ("loss", "selection_auroc")),
        *circumstances(run),
    ]


def declared(run: Run) -> list[tuple[str, str]]:
    """Declarations of an embedding evaluation."""
    return [
        ("selection", "regularization and epoch of the probes on fold 9"),
        ("hyperparameters selected on", selected_on(run.config)),
        ("test-record statistics", "none"),
        ("test set", "fold 10, scored once; its patients are in no other fold"),
    ]


def protocol(run: Run) -> Section:
    """Encoder, probes, dimensions, folds."""
    model, projection, drawn = (
        run.metrics["model"],
        run.config.get("finetuning", {}).get("projection"),
        triplets(run.config),
    )
    after = f"; after triplet training of the projection to {projection}" if drawn and projection else ""
    pairs = [
        ("encoder", encoder_title(str(run.environment.get("weights", "")))),
        ("triplet training", drawn),
        ("probes", "of the frozen encoder, on PTB-XL's folds 1 to 8"),
        ("k-NN", "20 neighbours by cosine similarity"),
        ("k-NN, clustering, separation", "on the first 64 principal components, scaled on folds 1 to 8" + after),
        ("scored", scored(model["class_counts"])),
        ("clustering, separation", f"{count(model['classes']['recordings'])} of them, those with one superclass"),
        ("patients with several recordings", f"{count(model['patients']['count'])}, of all folds"),
    ]
    return Section("protocol", "Evaluation protocol", [definitions(pairs)])


def triplets(config: dict) -> str:
    """How triplets were drawn and the epoch selected; empty without triplet training."""
    options, model = config.get("finetuning", {}), config.get("model", {}).get("options", {})
    if options.get("objective") != "triplet":
        return ""
    margin, frozen = options.get("margin"), model.get("frozen_stages", 0) < 0
    trained = "the encoder"
    if options.get("projection"):
        trained = (
            "a projection of the frozen encoder's mean tokens"
            if frozen
            else f"{trained}, after a projection of its mean tokens"
        )
    return (
        f"of {trained}, on folds 1 to 8: a positive shares a superclass with the anchor, margin {margin}; the epoch is "
        "selected by the macro AUROC of k-NN on fold 9"
    )


def pictures(run: Run) -> Section:
    """Recordings on the first two principal components, coloured by superclass."""
    files = {"model": run.folder / file_name()} | baseline_files(run.folder)
    images = []
    for name in DRAWN:
        if name in files:
            stored = load_embeddings(files[name])
            single = stored["y_true"].sum(1) == 1
            shown = run.model if name == "model" else baseline_title(name)
            drawn = charts.scatter(
                stored["embeddings"][single, :2], stored["y_true"][single].argmax(1), SUPERCLASSES, shown, f"pca_{name}"
            )
            images.append(Picture(drawn, [f"{shown[0].upper()}{shown[1:]}."]))
    note = Note("First two principal components of scored recordings with one superclass.")
    return Section("pictures", "Embeddings in two dimensions", [note, Columns(images)])
