"""From stored predictions to every published score: numbers by name, no files written, nothing drawn.

    for name, value in evaluate(load_predictions("predictions.npz"), bootstrap=1000, seed=0):
        print(name, value)
    evaluate_run("Research_Runs/FOLDER")  # all of metrics.json

What a run has predicted is seen in its arrays: classified beats, named rhythms, or the held-out
loss of a pretraining.
"""

from pathlib import Path

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
from keras_ecg.evaluation.superclasses import evaluate_superclasses
from keras_ecg.explanations import EXPLANATIONS, explain
from keras_ecg.predictions import array_names, file_name

__all__ = ["EXPLANATIONS", "evaluate", "evaluate_run", "explain", "compare", "confident_errors", "curves", "subsets"]

FORMAT = 1
KINDS = {  # the first whose array is there
    "repeated_embeddings": ("embedded", evaluate_embeddings),
    "log_n": ("contrastive", evaluate_contrastive),
    "code_counts": ("quantized", evaluate_quantized),
    "embeddings": ("predictive", evaluate_predictive),
    "mean_error": ("masked", evaluate_masked),
    "labels_total": ("few_labels", evaluate_few_labels),
    "temperature": ("rhythm", evaluate_rhythm),
    "ecg_id": ("superclasses", evaluate_superclasses),
}


def evaluate_run(folder: Path | str, bootstrap: int = 1000, seed: int = 0) -> dict:
    """All of a run's metrics.json, from `predictions.npz` and the `predictions_<baseline>.npz` beside it.

    Args:
        folder: of the run.
        bootstrap: resamples over subjects for the intervals; 0 for none.
        seed: of the bootstrap.

    Raises:
        InputError: predictions are missing, odd, or of other examples than the model's.
    """
    folder = Path(folder)
    out = {"format": FORMAT, "bootstrap": {"resamples": bootstrap, "seed": seed}}
    names = array_names(folder / file_name())
    for array, (kind, scores) in KINDS.items():
        if array in names:
            return plain(out | {"kind": kind} | scores(folder, bootstrap, seed))
    return plain(out | evaluate_beats(folder, bootstrap, seed))
