"""From stored predictions to every published metric: values by name; writes no files and draws nothing.

    for name, value in evaluate(load_predictions("predictions.npz"), bootstrap=1000, seed=0):
        print(name, value)
    evaluate_run("Research_Runs/FOLDER")  # all of metrics.json

The kind of a run, which selects its evaluator, is the field `kind` of its environment.json.
"""

from pathlib import Path

from keras_ecg.errors import InputError
from keras_ecg.evaluation.beats import compare, confident_errors, curves, evaluate, evaluate_beats, subsets
from keras_ecg.evaluation.embeddings import evaluate_embeddings
from keras_ecg.evaluation.few_labels import evaluate_few_labels
from keras_ecg.evaluation.names import plain
from keras_ecg.evaluation.pretraining import (
    evaluate_contrastive,
    evaluate_masked,
    evaluate_predictive,
    evaluate_quantized,
)
from keras_ecg.evaluation.rhythm import evaluate_rhythm
from keras_ecg.evaluation.schema import EXPLANATIONS, explain
from keras_ecg.evaluation.superclasses import evaluate_superclasses
from keras_ecg.files import read_json

__all__ = [
    "EXPLANATIONS",
    "evaluate",
    "evaluate_run",
    "explain",
    "kind_of",
    "compare",
    "confident_errors",
    "curves",
    "subsets",
]

FORMAT = 1
EVALUATORS = {
    "beats": evaluate_beats,
    "rhythm": evaluate_rhythm,
    "superclasses": evaluate_superclasses,
    "few_labels": evaluate_few_labels,
    "embeddings": evaluate_embeddings,
    "masked": evaluate_masked,
    "predictive": evaluate_predictive,
    "quantized": evaluate_quantized,
    "contrastive": evaluate_contrastive,
}


def kind_of(folder: Path | str) -> str:
    """The kind of a run, as its environment.json states it.

    Raises:
        InputError: there is no environment.json, or it states no known kind.
    """
    path = Path(folder) / "environment.json"
    kind = read_json(path).get("kind") if path.is_file() else None
    if kind not in EVALUATORS:
        found = "no such file" if not path.is_file() else f"kind {kind!r}"
        raise InputError(path, found, f"a kind of {', '.join(EVALUATORS)}", "state it there, or pass `kind`")
    return kind


def evaluate_run(folder: Path | str, bootstrap: int = 1000, seed: int = 0, kind: str | None = None) -> dict:
    """All of a run's metrics.json, from `predictions.npz` and the `predictions_<baseline>.npz` in the same folder.

    Args:
        folder: of the run.
        bootstrap: resamples over subjects for the 95 % CIs; 0 for none.
        seed: of the bootstrap.
        kind: of the run; by default that of its environment.json.

    Raises:
        InputError: predictions are missing or invalid, or of other examples than the model's; or the kind is unknown.
    """
    folder, kind = Path(folder), kind or kind_of(folder)
    out = {"format": FORMAT, "kind": kind, "bootstrap": {"resamples": bootstrap, "seed": seed}}
    return plain(out | EVALUATORS[kind](folder, bootstrap, seed))
