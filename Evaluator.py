"""Evaluate beat classifiers: every published score from stored predictions, and the report that shows them.

    from Evaluator import evaluate, evaluate_run, explain, load_predictions, metrics, write_report

    predictions = load_predictions("Research_Runs/FOLDER/predictions.npz")
    for name, value in evaluate(predictions, bootstrap=1000, seed=0):  # scores by dotted name, nothing drawn
        print(name, value)
    explain("classes.S.f1.mean")                    # one line that says what a score means
    evaluate_run("Research_Runs/FOLDER")            # all of metrics.json: model, baselines, paired differences
    write_report("Research_Runs/FOLDER")            # report.html, one self-contained page
    metrics.confusion_matrix(y_true, y_pred)        # pure functions of arrays

A score is the mean over seeds of single models' scores, with 95 % intervals by bootstrap over subjects. This
module is a door: the code stands in `keras_ecg.metrics`, `keras_ecg.evaluation` and `keras_ecg.reports`.
"""

from keras_ecg import metrics
from keras_ecg.evaluation import (
    EXPLANATIONS,
    compare,
    confident_errors,
    curves,
    evaluate,
    evaluate_run,
    explain,
)
from keras_ecg.predictions import Predictions, load_predictions, save_predictions
from keras_ecg.reports import write_report

__all__ = [
    "EXPLANATIONS",
    "Predictions",
    "compare",
    "confident_errors",
    "curves",
    "evaluate",
    "evaluate_run",
    "explain",
    "load_predictions",
    "metrics",
    "save_predictions",
    "write_report",
]
