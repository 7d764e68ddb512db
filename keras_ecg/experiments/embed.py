"""What embeddings of recordings know of PTB-XL's superclasses: under probes, among neighbours, in clusters.

With triplets the encoder is trained on the training folds first, and stands beside itself before.
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
from keras_ecg.experiments.diagnoses import Folds, open_diagnoses, read_windows
from keras_ecg.experiments.superclasses import embed_recordings, feature_sets, fit_linear, leads_of, raw_features
from keras_ecg.experiments.triplet import fit_triplet
from keras_ecg.models.loading import load_model
from keras_ecg.models.recording_classifier import build_attentive_probe
from keras_ecg.probing import token_windows
from keras_ecg.recording_training import batch_of, fit_recordings, predict_recordings
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

Parts = dict[str, np.ndarray | None]


def of_samples(windows: np.ndarray, sampling_rate_hz: float) -> Parts:
    """The features of recordings that no encoder has seen; there are no tokens."""
    return {"features": raw_features(windows, sampling_rate_hz), "tokens": None}


def pooled(encoder: keras.Model, windows: np.ndarray, leads: int) -> Parts:
    """The features and the tokens of recordings (n, G, T, L): (n, K), and (n, G N, D) float16."""
    tokens = token_windows(encoder, windows.reshape(-1, *windows.shape[2:]))
    return {
        "features": embed_recordings(encoder, windows, leads),
        "tokens": tokens.reshape(len(windows), -1, tokens.shape[-1]),
    }


def fit_attentive(tokens: np.ndarray, folds: Folds, config: Config, seed: int = 0) -> tuple[np.ndarray, list[dict]]:
    """Probabilities (m, 5) of the test fold by an attentive probe of tokens (n, N, D), and its history."""
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


def several(folds: Folds) -> np.ndarray:
    """Indices of the recordings of patients who have more than one."""
    own, place, count = np.unique(folds.diagnosed.subject, return_inverse=True, return_counts=True)
    return np.flatnonzero(count[place] > 1)


def embedding_arrays(found: Parts, folds: Folds, config: Config) -> tuple[dict[str, np.ndarray], list[dict]]:
    """What `keras_ecg.evaluation.embeddings` wants of one predictor, and the rows of its history.

    Args:
        found: its features (n, K); its tokens (n, N, D), or None; and what is compared, (n, D), if not the principal
            components of the features.
        folds: the n recordings.
        config: of the attentive probe.
    """
    features, tokens = found["features"], found["tokens"]
    linear, history = fit_linear(features, folds)
    rows = [{"probe": "linear", "epoch": k + 1, **row} for k, row in enumerate(history)]
    x = found["compared"] if "compared" in found else components(features, folds.train)
    neighbours = neighbour_probabilities(x[folds.train], folds.labels[folds.train], x[folds.test])
    repeated = several(folds)
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


def embedded(config: Config, folds: Folds, run: RunFolder) -> Iterator[tuple[str, Parts, list[dict]]]:
    """Name, what `embedding_arrays` wants, and history so far of the model and its baselines."""
    changed = config.finetuning.objective == "triplet"
    if changed:
        if not (run.has_part("triplet") and (run.path / "contract.json").is_file()):  # which is written last
            fitted = fit_triplet(config, folds)
            columns = ("epoch", "loss", "selection_auroc")
            run.save_part("triplet", **{k: np.array([row[k] for row in fitted.history]) for k in columns})
            contract = replace(fitted.contract, run=run.path.name)
            save_encoder(run.path, fitted.encoder, contract, fitted.projection)
        after = load_encoder(run.path)
        leads, apart = leads_of(after)
        windows = read_windows(config.database.data_dir, folds.diagnosed.record, after.contract, leads, apart)
        found = pooled(after.model, windows, len(leads) if apart else 1)
        if config.finetuning.projection:
            found["compared"] = projected(load_model(run.path / PROJECTION), found["features"], folds.train)
        kept = run.load_part("triplet")
        rows = [{"probe": "triplet", **{k: v[e].item() for k, v in kept.items()}} for e in range(len(kept["epoch"]))]
        yield "model", found, rows
    size = config.finetuning.projection
    for name, found in feature_sets(config, folds, pooled, of_samples):
        before = changed and name == "model"
        yield "before" if before else name, found, []
        if before and size:  # how much of what the projection gains is its scale
            whitened = components(found["features"], folds.train, size, whiten=True)
            yield "whitened", {"features": found["features"], "tokens": None, "compared": whitened}, []


def run_embed(config: Config) -> RunFolder:
    """Scores the embeddings of the configured encoder and its baselines on fold 10; with triplets after training it.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, no recordings, or recordings that break an encoder's contract.
    """
    run, folds = open_diagnoses(config, f"{config.finetuning.objective}_superclasses")
    if run.finished:
        return run
    prepare_backend(config)
    history = []
    for name, found, rows in embedded(config, folds, run):
        arrays, more = embedding_arrays(found, folds, config)
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
