"""Embedding evaluation on PTB-XL's superclasses: linear and attentive probes, k-NN, clustering.

With objective `triplet` the encoder is trained with the triplet loss on the training folds first, and compared with the
encoder before.
"""

from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np

from keras_ecg.config import Config
from keras_ecg.databases import ptbxl
from keras_ecg.encoders import PROJECTION, load_encoder, save_encoder
from keras_ecg.evaluation.embeddings import neighbour_probabilities
from keras_ecg.experiments.compared import components, projected
from keras_ecg.experiments.diagnoses import Folds, open_superclass_run, read_windows
from keras_ecg.experiments.superclasses import embed_recordings, feature_sets, fit_linear, leads_of, raw_features
from keras_ecg.experiments.triplet import fit_triplet
from keras_ecg.models.loading import load_model
from keras_ecg.models.recording_classifier import build_attentive_probe
from keras_ecg.probing import token_windows
from keras_ecg.recording_training import batch_of, fit_recordings, predict_recordings
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

Parts = dict[str, np.ndarray | None]


def raw_signal_parts(windows: np.ndarray, sampling_rate_hz: float) -> Parts:
    """Compute features of the raw-signal baseline, which has no tokens."""
    return {"features": raw_features(windows, sampling_rate_hz), "tokens": None}


def encoder_parts(encoder: keras.Model, windows: np.ndarray, leads: int) -> Parts:
    """Compute features (n, K) and tokens (n, G N, D) float16 of recordings (n, G, T, L)."""
    tokens = token_windows(encoder, windows.reshape(-1, *windows.shape[2:]))
    return {
        "features": embed_recordings(encoder, windows, leads),
        "tokens": tokens.reshape(len(windows), -1, tokens.shape[-1]),
    }


def fit_attentive(tokens: np.ndarray, folds: Folds, config: Config, seed: int = 0) -> tuple[np.ndarray, list[dict]]:
    """Fit an attentive probe on tokens (n, N, D): probabilities (m, 5) of the test fold, and the training log."""
    keras.utils.set_random_seed(seed)
    spread = tokens[folds.train].astype(np.float32).std()
    tokens = (tokens / np.float16(max(spread, 1e-3))).astype(np.float16)
    model = build_attentive_probe(tokens.shape[1:], len(ptbxl.SUPERCLASSES))
    training = replace(config.training, label_smoothing=0.0)
    size = batch_of(config.loader.batch_size, len(folds.train))
    rows = fit_recordings(
        model, {"tokens": tokens}, folds.labels, folds.train, folds.select, training, size,
        config.finetuning.patience, seed,
    )  # fmt: skip
    return predict_recordings(model, {"tokens": tokens[folds.test]}, 1), rows


def repeated_recordings(folds: Folds) -> np.ndarray:
    """Return the indices of the recordings of patients with more than one recording."""
    _, index, count = np.unique(folds.diagnosed.subject, return_inverse=True, return_counts=True)
    return np.flatnonzero(count[index] > 1)


def embedding_arrays(parts: Parts, folds: Folds, config: Config) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Compute the arrays for `keras_ecg.evaluation.embeddings` of one predictor, and its rows of history.csv.

    Args:
        parts: features (n, K); tokens (n, N, D) or None; and optionally `compared`, embeddings (n, D) for k-NN and
            clustering, by default the principal components of the features.
        folds: the n recordings.
        config: configuration of the attentive probe.
    """
    features, tokens = parts["features"], parts["tokens"]
    linear, history = fit_linear(features, folds)
    rows = [{"probe": "linear", "epoch": k + 1, **row} for k, row in enumerate(history)]
    x = parts["compared"] if "compared" in parts else components(features, folds.train)
    neighbours = neighbour_probabilities(x[folds.train], folds.labels[folds.train], x[folds.test])
    repeated = repeated_recordings(folds)
    out = {
        **folds.identity(),
        "linear": linear,
        "neighbours": neighbours,
        "embeddings": x[folds.test],
        "repeated_subject": folds.diagnosed.subject[repeated],
        "repeated_embeddings": x[repeated],
    }
    if tokens is not None:
        out["attentive"], history = fit_attentive(tokens, folds, config)
        rows += [{"probe": "attentive", **row} for row in history]
    return {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in out.items()}, rows


def predictor_parts(config: Config, folds: Folds, run: RunFolder) -> Iterator[tuple[str, Parts, list[dict]]]:
    """Yield name, inputs of `embedding_arrays` and training log of the model and of each baseline."""
    changed = config.finetuning.objective == "triplet"
    if changed:
        if not (run.has_part("triplet") and (run.path / "contract.json").is_file()):  # contract.json is written last
            fitted = fit_triplet(config, folds)
            columns = ("epoch", "loss", "selection_auroc")
            run.save_part("triplet", **{k: np.array([row[k] for row in fitted.history]) for k in columns})
            contract = replace(fitted.contract, run=run.path.name)
            save_encoder(run.path, fitted.encoder, contract, fitted.projection)
        after = load_encoder(run.path)
        leads, per_lead = leads_of(after)
        windows = read_windows(config.database.data_dir, folds.diagnosed.record, after.contract, leads, per_lead)
        parts = encoder_parts(after.model, windows, len(leads) if per_lead else 1)
        if config.finetuning.projection:
            parts["compared"] = projected(load_model(run.path / PROJECTION), parts["features"], folds.train)
        log = run.load_part("triplet")
        rows = [{"probe": "triplet", **{k: v[e].item() for k, v in log.items()}} for e in range(len(log["epoch"]))]
        yield "model", parts, rows
    size = config.finetuning.projection
    for name, parts in feature_sets(config, folds, encoder_parts, raw_signal_parts):
        before = changed and name == "model"
        yield "before" if before else name, parts, []
        if before and size:  # separates the effect of whitening from that of the learned projection
            whitened = components(parts["features"], folds.train, size, whiten=True)
            yield "whitened", {"features": parts["features"], "tokens": None, "compared": whitened}, []


def run_embed(config: Config) -> RunFolder:
    """Evaluate the embeddings of the configured encoder and its baselines on fold 10, after triplet training if set.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, no recordings, or recordings that do not meet an encoder's input specification.
    """
    run, folds = open_superclass_run(config, f"{config.finetuning.objective}_superclasses")
    if run.finished:
        return run
    prepare_backend(config)
    history = []
    for name, parts, rows in predictor_parts(config, folds, run):
        arrays, more = embedding_arrays(parts, folds, config)
        history += [{"predictor": name, **row} for row in (*rows, *more)]
        run.write_arrays(name, **arrays)
    run.write_history(history)
    metrics = run.finish(weights=str(config.model.options["weights"]), recordings=len(folds.diagnosed.record))
    model = metrics["model"]
    shown = ", ".join(f"{name} {model[f'{name}_auroc']['mean']:.3f}" for name in ("linear", "attentive", "neighbours"))
    lines = [f"{run.path.name}: macro AUROC {shown}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    print("\n".join([*lines, f"report: {run.path / 'report.html'}"]))
    return run
