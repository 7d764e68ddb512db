"""Linear probe of frozen encoders on PTB-XL's five diagnostic superclasses, with baselines."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from keras_ecg.config import Config
from keras_ecg.databases import ptbxl
from keras_ecg.encoders import Encoder, load_encoder
from keras_ecg.experiments.diagnoses import Folds, open_superclass_run, read_windows
from keras_ecg.probing import embed_windows, standardized
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

logger = logging.getLogger(__name__)

IGNORED = ("training", "loader")
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)  # C, for features of unit variance
RAW_HZ = 25  # sampling rate of the raw-signal baseline


def embed_recordings(encoder: keras.Model, windows: np.ndarray, leads: int) -> np.ndarray:
    """Compute the mean token of each lead over a recording's windows: (n, G, T, L) to (n, leads D)."""
    count, groups = windows.shape[:2]
    means = embed_windows(encoder, windows.reshape(-1, *windows.shape[2:]))
    return means.reshape(count, leads, groups // leads, -1).astype(np.float32).mean(2).reshape(count, -1)


def raw_features(windows: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """Average the samples of windows (n, G, T, L) to RAW_HZ, as features (n, K) of the raw-signal baseline."""
    step = round(sampling_rate_hz / RAW_HZ)
    whole = windows[:, :, : windows.shape[2] // step * step].astype(np.float32)
    n, g, t, lanes = whole.shape
    return whole.reshape(n, g, t // step, step, lanes).mean(3).reshape(n, -1)


def leads_of(encoder: Encoder) -> tuple[tuple[str, ...], bool]:
    """Return the leads that an encoder uses, and whether it is applied to each lead separately."""
    per_lead = encoder.contract.leads_at_once == 1
    return (ptbxl.LEADS if per_lead else encoder.contract.leads), per_lead


def feature_sets(
    config: Config, folds: Folds, embed: Callable = embed_recordings, raw: Callable = raw_features
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the features of the model and of each baseline, by name; `model` is repeated for each pretraining seed.

    Args:
        config: configuration with the encoders and the baselines.
        folds: the recordings.
        embed: function of an encoder, windows (n, G, T, L) and the number of separately encoded leads.
        raw: function of windows and their sampling rate, for the raw-signal baseline.
    """
    settings, folder, records = config.finetuning, config.database.data_dir, folds.diagnosed.record
    weights = config.model.options["weights"]
    compared = {Path(source).name: source for source in settings.compare_with}
    sources = [("model", weights), *(("model", source) for source in settings.pretrained_seeds), *compared.items()]
    for k, (name, source) in enumerate(sources):
        encoder = load_encoder(source)
        leads, per_lead = leads_of(encoder)
        logger.info("%s: embedding %d recordings", Path(source).name, len(records))
        windows, size = read_windows(folder, records, encoder.contract, leads, per_lead), len(leads) if per_lead else 1
        yield name, embed(encoder.model, windows, size)
        if per_lead:
            first = leads.index("II") * windows.shape[1] // size
            lead_ii = windows[:, first : first + windows.shape[1] // size]
            yield f"{name}_lead_ii".removeprefix("model_"), embed(encoder.model, lead_ii, 1)
        if k:  # baselines have the architecture and the inputs of the first encoder
            continue
        if "random_init" in settings.baselines:
            keras.utils.set_random_seed(0)
            yield "random_init", embed(keras.models.clone_model(encoder.model), windows, size)
        if "raw_signal" in settings.baselines:
            yield "raw_signal", raw(windows, encoder.contract.sampling_rate_hz)


def fit_linear(features: np.ndarray, folds: Folds) -> tuple[np.ndarray, list[dict]]:
    """Fit a linear probe, with C selected on fold 9: probabilities (m, 5) of the test fold, and rows of history.csv."""
    x = standardized([features], folds.train) * np.sqrt(features.shape[1])
    model, rows = choose_linear(x, folds.labels, folds.train, folds.select)
    return model.predict_proba(x[folds.test]), rows


def choose_linear(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, select: np.ndarray
) -> tuple[OneVsRestClassifier, list[dict]]:
    """Fit one logistic regression per class for each strength, and select the strength by macro AUROC.

    Args:
        x: standardized features (n, K).
        y: classes (n, C), zeros and ones.
        train: indices of the training examples.
        select: indices of the examples that select the strength.

    Returns:
        The selected model, and the rows of history.csv.
    """
    best, rows = None, []
    for strength in STRENGTHS:
        model = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=1000)).fit(x[train], y[train])
        score = roc_auc_score(y[select], model.predict_proba(x[select]), average="macro")
        rows.append({"strength": strength, "selection_auroc": score})
        if best is None or score > best[0]:
            best = (score, model)
    return best[1], rows


def run_superclasses(config: Config) -> RunFolder:
    """Fit a linear probe of the configured encoder on folds 1 to 8, select its strength on fold 9, score fold 10.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, no recordings, or recordings that do not meet an encoder's input specification.
    """
    run, folds = open_superclass_run(config, "probe_superclasses", IGNORED)
    if run.finished:
        return run
    prepare_backend(config)
    history, found = [], {}
    for name, features in feature_sets(config, folds):
        probabilities, rows = fit_linear(features, folds)
        seed = len(found.setdefault(name, []))
        history += [{"predictor": name, "seed": seed, "epoch": k + 1, **row} for k, row in enumerate(rows)]
        found[name].append(probabilities)
    for name, each in found.items():
        write_superclasses(run, name, folds, np.stack(each), tuple(range(len(each))))
    return finish_superclasses(run, config, history, folds)


def write_superclasses(run: RunFolder, name: str, folds: Folds, probabilities: np.ndarray, seeds: tuple) -> None:
    """Write the arrays for `keras_ecg.evaluation.superclasses` of one predictor."""
    stored = {"probabilities": probabilities.astype(np.float16), "seeds": np.array(seeds)}
    run.write_arrays(name, **folds.identity(), **stored)


def finish_superclasses(run: RunFolder, config: Config, history: list[dict], folds: Folds) -> RunFolder:
    """Write training log, scores and report, and print the main scores."""
    run.write_history(history)
    metrics = run.finish(weights=str(config.model.options["weights"]), recordings=len(folds.diagnosed.record))
    score = metrics["model"]["macro_auroc"]
    lines = [f"{run.path.name}: macro AUROC {score['mean']:.3f}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    print("\n".join([*lines, f"report: {run.path / 'report.html'}"]))
    return run
