"""A run's report: one self-contained page made from the run's files; it computes no metric."""

from pathlib import Path

from keras_ecg.evaluation.schema import KINDS
from keras_ecg.files import write_text
from keras_ecg.report import beats, embeddings, few_labels, pretraining, rhythm, superclasses
from keras_ecg.report.page import ordered
from keras_ecg.report.render import render
from keras_ecg.report.run import Run, read_history

__all__ = ["read_history", "write_report"]

LAYOUTS = dict.fromkeys(KINDS, pretraining) | {
    "beats": beats,
    "rhythm": rhythm,
    "superclasses": superclasses,
    "few_labels": few_labels,
    "embeddings": embeddings,
}


def write_report(folder: Path | str) -> Path:
    """Write report.html from metrics.json, predictions, history, strips, configuration and environment.

    Raises:
        InputError: the run has no metrics.json or no predictions.
    """
    run = Run.read(folder)
    layout, environment = LAYOUTS[run.kind], run.environment
    seeds = run.metrics["model"].get("seeds", environment.get("seeds", ()))
    facts = [
        ("Model", run.model),
        ("Data", run.data),
        ("Scored", layout.size(run.metrics)),
        ("Seeds", ", ".join(map(str, seeds))),
        ("Date", str(environment.get("started_utc", ""))[:10]),
        ("Run", run.folder.name),
        ("Command", str(environment.get("command", ""))),
    ]
    page = render(
        "report.html.j2",
        title=str(run.config.get("title", "")),
        experiment=run.experiment,
        model=run.model,
        facts=[(term, text) for term, text in facts if text],
        sections=ordered(layout.sections(run)),
        run=run.folder.name,
    )
    path = run.folder / "report.html"
    write_text(path, page)
    return path
