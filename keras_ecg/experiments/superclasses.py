"""A linear probe of frozen encoders on PTB-XL's five superclasses, by its own patient folds, with its baselines."""

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
from keras_ecg.experiments.diagnoses import Folds, open_diagnoses, read_windows
from keras_ecg.probing import embed_windows, standardized
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

logger = logging.getLogger(__name__)

IGNORED = ("training", "loader")
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)  # C, of features with a total variance of their number
RAW_HZ = 25  # of the baseline that sees samples


def embed_recordings(encoder: keras.Model, windows: np.ndarray, leads: int) -> np.ndarray:
    """The mean token of each lead, over a recording's windows: (n, G, T, L) to (n, leads D)."""
    count, groups = windows.shape[:2]
    found = embed_windows(encoder, windows.reshape(-1, *windows.shape[2:]))
    return found.reshape(count, leads, groups // leads, -1).astype(np.float32).mean(2).reshape(count, -1)


def raw_features(windows: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """The samples of windows (n, G, T, L), averaged to RAW_HZ: (n, K)."""
    step = round(sampling_rate_hz / RAW_HZ)
    whole = windows[:, :, : windows.shape[2] // step * step].astype(np.float32)
    n, g, t, lanes = whole.shape
    return whole.reshape(n, g, t // step, step, lanes).mean(3).reshape(n, -1)


def leads_of(encoder: Encoder) -> tuple[tuple[str, ...], bool]:
    """The leads that an encoder is asked of a recording, and whether of each one apart."""
    apart = encoder.contract.leads_at_once == 1
    return (ptbxl.LEADS if apart else encoder.contract.leads), apart


def feature_sets(
    config: Config, folds: Folds, embed: Callable = embed_recordings, raw: Callable = raw_features
) -> Iterator[tuple[str, np.ndarray]]:
    """What the model and its baselines make of all recordings, by name; that of a model once more for each replica.

    Args:
        config: names the encoders and the baselines.
        folds: the recordings.
        embed: from an encoder, windows (n, G, T, L) and how many leads are apart, to what it makes of recordings.
        raw: from windows and their rate to what the baseline without an encoder makes of them.
    """
    wanted, folder, records = config.finetuning, config.database.data_dir, folds.diagnosed.record
    weights = config.model.options["weights"]
    against = {Path(source).name: source for source in wanted.compare_with}
    sources = [("model", weights), *(("model", source) for source in wanted.pretrained_seeds), *against.items()]
    for k, (name, source) in enumerate(sources):
        encoder = load_encoder(source)
        leads, apart = leads_of(encoder)
        logger.info("%s: embedding %d recordings", Path(source).name, len(records))
        windows, size = read_windows(folder, records, encoder.contract, leads, apart), len(leads) if apart else 1
        yield name, embed(encoder.model, windows, size)
        if apart:
            second = leads.index("II") * windows.shape[1] // size
            own = windows[:, second : second + windows.shape[1] // size]
            yield f"{name}_lead_ii".removeprefix("model_"), embed(encoder.model, own, 1)
        if k:  # baselines are of the model's own shape
            continue
        if "random_init" in wanted.baselines:
            keras.utils.set_random_seed(0)
            yield "random_init", embed(keras.models.clone_model(encoder.model), windows, size)
        if "raw_signal" in wanted.baselines:
            yield "raw_signal", raw(windows, encoder.contract.sampling_rate_hz)


def fit_linear(features: np.ndarray, folds: Folds) -> tuple[np.ndarray, list[dict]]:
    """Probabilities (m, 5) of the test fold, and the rows of history.csv; the selection fold chooses C."""
    x = standardized([features], folds.train) * np.sqrt(features.shape[1])
    model, rows = choose_linear(x, folds.labels, folds.train, folds.select)
    return model.predict_proba(x[folds.test]), rows


def choose_linear(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, select: np.ndarray
) -> tuple[OneVsRestClassifier, list[dict]]:
    """Logistic regressions of classes (n, C) on features (n, K), and the rows of their history.

    Args:
        x: standardized.
        y: one where a class holds.
        train: indices of the examples to train on.
        select: of those that choose the strength, by the mean AUROC.
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
    """Fits a linear probe of the configured encoder on folds 1 to 8, chooses its strength on fold 9, scores fold 10.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, no recordings, or recordings that break an encoder's contract.
    """
    run, folds = open_diagnoses(config, "probe_superclasses", IGNORED)
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
    """Writes what `keras_ecg.evaluation.superclasses` wants of one predictor."""
    stored = {"probabilities": probabilities.astype(np.float16), "seeds": np.array(seeds)}
    run.write_arrays(name, **folds.identity(), **stored)


def finish_superclasses(run: RunFolder, config: Config, history: list[dict], folds: Folds) -> RunFolder:
    """Writes the history, the scores and the report, and says the main ones."""
    run.write_history(history)
    metrics = run.finish(weights=str(config.model.options["weights"]), recordings=len(folds.diagnosed.record))
    score = metrics["model"]["macro_auroc"]
    lines = [f"{run.path.name}: macro AUROC {score['mean']:.3f}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    print("\n".join([*lines, f"report: {run.path / 'report.html'}"]))
    return run
