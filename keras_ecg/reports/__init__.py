"""A run's report: one self-contained page, drawn from the run's files; it computes no figure."""

import csv
from pathlib import Path

import numpy as np

from keras_ecg.config import read_yaml
from keras_ecg.errors import InputError
from keras_ecg.evaluation import curves
from keras_ecg.explanations import REFERENCES
from keras_ecg.files import read_json, write_text
from keras_ecg.predictions import file_name, load_predictions, read_npz
from keras_ecg.reports import details, embeddings, few_labels, pretraining, results, rhythm, superclasses
from keras_ecg.reports.page import cautions, count, data_notes, document, text

__all__ = ["write_report"]

LINKS = {
    "protocol": "Protocol",
    "comparison": "Baselines",
    "pictures": "Pictures",
    "classes": "Classes",
    "ec57": "EC57",
    "confusion": "Confusion",
    "curves": "Curves",
    "robustness": "Robustness",
    "records": "Records",
    "repeats": "Seeds",
    "training": "Training",
    "errors": "Errors",
    "environment": "Environment",
    "definitions": "Definitions",
}
STUDIES = {
    "final_ds1_ds2": "Trained on DS1, tested on DS2",
    "final_seed": "Seven test records of the closest public work",
    "final_records": "Named training and test records",
    "kfold": "Patient-wise cross-validation",
    "kfold_rhythm": "Cross-validation over recordings",  # whose patients are not known
    "final_rhythm": "One fold of recordings, with the weights for use",
    "pretrain": "Pretraining without labels",
    "fewshot_inter_patient": "Few labels, patients apart",
    "fewshot_intra_patient": "Few labels, random beats: leaky, for comparison only",
    "fewshot_subsampling": "Few labels, patients split again and again",
    "probe_ds1_ds2": "A linear probe, trained on DS1, tested on DS2",
    "probe_superclasses": "A linear probe of PTB-XL's superclasses",
    "finetune_superclasses": "PTB-XL's superclasses, trained end to end",
    "embed_superclasses": "What embeddings know of PTB-XL's superclasses",
    "triplet_superclasses": "Embeddings of PTB-XL's superclasses after triplets",
}


def read_history(path: Path, probe: str = "") -> dict[str, np.ndarray]:
    """Columns of history.csv as numbers, NaN where a cell is empty or text; none without the file.

    Where baselines were trained as well, the rows are the model's; where several things were, those of `probe`.
    """
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if row.get("predictor", "model") == "model" and probe in ("", row.get("probe"))
        ]

    def parsed(cell: str) -> float:
        try:
            return float(cell)
        except (TypeError, ValueError):
            return float("nan")

    return {name: np.array([parsed(row[name]) for row in rows]) for name in (rows[0] if rows else {})}


def write_report(folder: Path | str) -> Path:
    """Draws report.html from metrics.json, predictions, history, strips, configuration and environment.

    Raises:
        InputError: the run has no metrics.json or no predictions.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").is_file():
        raise InputError(folder, "no metrics.json", "a run whose evaluation is done", "rerun its command: it resumes")
    metrics, environment = read_json(folder / "metrics.json"), read_json(folder / "environment.json")
    config, kind = read_yaml(folder / "config.yaml"), metrics.get("kind")
    history = read_history(folder / "history.csv", "triplet" if kind == "embedded" else "")
    if kind in REFERENCES:
        size = pretraining.subtitle(metrics)
        sections = pretraining.sections(folder, metrics, config, environment, history)
    elif kind == "rhythm":
        size, sections = rhythm.subtitle(metrics), rhythm.sections(folder, metrics, config, environment, history)
    elif kind == "few_labels":
        size, sections = few_labels.subtitle(metrics), few_labels.sections(folder, metrics, config, environment)
    elif kind == "embedded":
        size = embeddings.subtitle(metrics)
        sections = embeddings.sections(folder, metrics, config, environment, history)
    elif kind == "superclasses":
        size = superclasses.subtitle(metrics)
        sections = superclasses.sections(folder, metrics, config, environment, history)
    else:
        size, sections = beat_subtitle(metrics), beat_sections(folder, metrics, config, environment, history)
    name, title = str(environment.get("model", "model")), str(config.get("title", "Heartbeats"))
    body = "\n".join(filter(None, [data_notes(environment), *sections]))
    links = [(anchor, title) for anchor, title in LINKS.items() if f'<section id="{anchor}"' in body]
    path = folder / "report.html"
    study = str(environment.get("study", ""))
    heading = STUDIES.get(f"{study}_{kind}", STUDIES.get(study, study))
    header = _header(title, heading, name, size, str(environment.get("started_utc", ""))[:10])
    page = document(text(f"{title}: {name}"), header, links, body, _footer(folder))
    write_text(path, page)
    return path


def beat_sections(folder: Path, metrics: dict, config: dict, environment: dict, history: dict) -> list[str]:
    """The sections of a run that classifies beats, in order."""
    predictions = load_predictions(folder / file_name())
    strips = read_npz(folder / "strips.npz") if (folder / "strips.npz").is_file() else None
    name = str(environment.get("model", "model"))
    return [
        results.cards(metrics),
        cautions("Read this first", results.warnings(metrics, environment)),
        details.protocol(metrics, config, environment, predictions),
        results.comparison(metrics, name),
        results.classes(metrics),
        results.confusion(metrics),
        results.curve_section(metrics, curves(predictions)),
        details.records(metrics),
        details.repeats(metrics),
        details.training(history),
        details.errors(strips),
        details.environment_section(environment, (folder / "config.yaml").read_text(encoding="utf-8"), folder.name),
        details.glossary(),
    ]


def beat_subtitle(metrics: dict) -> list[str]:
    """What the header says of the size."""
    model = metrics["model"]
    size = f"{count(model['beats'])} beats, {model['records']} records, {model['subjects']} subjects"
    return [size, f"{len(model['seeds'])} seed{'s' * (len(model['seeds']) > 1)}"]


def _header(title: str, study: str, name: str, size: list[str], day: str) -> str:
    facts = [f"model <strong>{text(name)}</strong>", *size, text(day)]
    line = f'<p class="soft">{" · ".join(filter(None, facts))}</p>'
    return f'<div class="kicker">{text(title)}</div><h1>{text(study)}</h1>{line}'


def _footer(folder: Path) -> str:
    return f"Keras ECG · {text(folder.name)} · not a medical device"
