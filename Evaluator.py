"""Evaluate models: every published metric from stored predictions, and the report of a run.

    from Evaluator import evaluate, evaluate_run, explain, load_predictions, metrics, write_report

    predictions = load_predictions("Research_Runs/FOLDER/predictions.npz")
    for name, value in evaluate(predictions, bootstrap=1000, seed=0):  # metrics by dotted name, nothing drawn
        print(name, value)
    explain("classes.S.f1.mean")                    # one line that explains a metric
    evaluate_run("Research_Runs/FOLDER")            # all of metrics.json: model, baselines, paired differences
    write_report("Research_Runs/FOLDER")            # report.html, one self-contained page
    metrics.confusion_matrix(y_true, y_pred)        # pure functions of arrays

A metric is the mean over seeds of the single models' values, with 95 % CIs by bootstrap over subjects. This module
re-exports code of `keras_ecg.metrics`, `keras_ecg.evaluation` and `keras_ecg.report`.
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
from keras_ecg.report import write_report

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
