"""What embeddings of recordings know of PTB-XL's superclasses: under probes, among neighbours, in clusters.

With triplets the encoder is trained on the training folds first, and stands beside itself before.
"""

from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from keras_ecg.config import Config, from_dict
from keras_ecg.contract import Contract
from keras_ecg.databases import ptbxl
from keras_ecg.encoders import load_encoder, save_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation.embeddings import neighbour_probabilities
from keras_ecg.experiments.diagnoses import Folds, open_diagnoses, read_windows
from keras_ecg.experiments.superclasses import embed_recordings, feature_sets, fit_linear, leads_of, raw_features
from keras_ecg.models.recording_classifier import build_attentive_probe
from keras_ecg.models.triplet import TripletConfig, build_triplet
from keras_ecg.probing import standardized, token_windows
from keras_ecg.recording_training import batch_of, fit_recordings, predict_recordings
from keras_ecg.runs import RunFolder
from keras_ecg.training import adamw, prepare_backend

COMPONENTS = 64  # of the standardized embeddings: what is compared, clustered and stored


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


def components(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The first principal components (n, D) of features (n, K), each of which is scaled to the training ones."""
    scaled = standardized([features], train) * np.sqrt(features.shape[1])
    found = PCA(min(COMPONENTS, len(train), features.shape[1]), svd_solver="full").fit(scaled[train])
    return found.transform(scaled)


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


def embedding_arrays(
    features: np.ndarray, tokens: np.ndarray | None, folds: Folds, config: Config
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """What `keras_ecg.evaluation.embeddings` wants of one predictor, and the rows of its history."""
    linear, history = fit_linear(features, folds)
    rows = [{"probe": "linear", "epoch": k + 1, **row} for k, row in enumerate(history)]
    x = components(features, folds.train)
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


def fit_triplet(config: Config, folds: Folds) -> tuple[keras.Model, Contract, list[dict]]:
    """The configured encoder after triplets of the training folds' recordings, its contract, and its history.

    It keeps the epoch after which neighbours know most of the selection fold.

    Raises:
        InputError: an unknown knob, or one that does not fit the encoder.
    """
    knobs = from_dict(TripletConfig, config.model.options, "model.options")
    encoder = load_encoder(knobs.weights)
    leads, apart = leads_of(encoder)
    used = np.concatenate([folds.train, folds.select])
    train, select = np.split(np.arange(len(used)), [len(folds.train)])
    records = tuple(np.array(folds.diagnosed.record)[used].tolist())
    own = read_windows(config.database.data_dir, records, encoder.contract, leads, apart)
    truth = folds.labels[used]
    labels = np.repeat(truth[train], own.shape[1], axis=0)
    windows = own[train].reshape(-1, *own.shape[2:])
    keras.utils.set_random_seed(0)
    try:
        model = build_triplet(encoder.model, knobs, config.finetuning.projection, config.finetuning.margin, seed=0)
    except ValueError as error:
        raise InputError("model.options", str(error), "knobs that fit the encoder", "correct them") from error
    training = config.training
    size = min(config.loader.batch_size, len(windows))
    steps = len(windows) // size
    model.compile(adamw(training, steps * training.epochs), jit_compile=training.jit_compile)
    rng, rows = np.random.default_rng(0), []
    for epoch in range(training.epochs):
        order = rng.permutation(len(windows))[: steps * size]  # whole batches: a small one has few triplets
        loss = model.fit(
            windows[order].astype(np.float32), labels[order], batch_size=size, shuffle=False, verbose=0
        ).history["loss"][0]
        x = components(embed_recordings(encoder.model, own, len(leads) if apart else 1), train)
        score = roc_auc_score(truth[select], neighbour_probabilities(x[train], truth[train], x[select]))
        rows.append({"probe": "triplet", "epoch": epoch + 1, "loss": float(loss), "selection_auroc": score})
        shown = f"loss {loss:.4f}, neighbours on the selection fold {score:.4f}"
        print(f"triplets: epoch {epoch + 1} of {training.epochs}, {shown}", flush=True)
        best = int(np.argmax([row["selection_auroc"] for row in rows]))
        if best == epoch:
            weights = encoder.model.get_weights()
        if epoch - best >= config.finetuning.patience:
            break
    encoder.model.set_weights(weights)
    return encoder.model, encoder.contract, rows


def embedded(config: Config, folds: Folds, run: RunFolder) -> Iterator[tuple[str, Parts, list[dict]]]:
    """Name, features and tokens, and history so far of the model and its controls."""
    changed = config.finetuning.objective == "triplet"
    if changed:
        if not (run.path / "encoder.keras").is_file():
            model, contract, rows = fit_triplet(config, folds)
            save_encoder(run.path, model, replace(contract, run=run.path.name))
            columns = ("epoch", "loss", "selection_auroc")
            run.save_part("triplet", **{k: np.array([row[k] for row in rows]) for k in columns})
        after = load_encoder(run.path)
        leads, apart = leads_of(after)
        windows = read_windows(config.database.data_dir, folds.diagnosed.record, after.contract, leads, apart)
        kept = run.load_part("triplet")
        rows = [{"probe": "triplet", **{k: v[e].item() for k, v in kept.items()}} for e in range(len(kept["epoch"]))]
        yield "model", pooled(after.model, windows, len(leads) if apart else 1), rows
    for name, found in feature_sets(config, folds, pooled, of_samples):
        yield ("before" if changed and name == "model" else name), found, []


def run_embed(config: Config) -> RunFolder:
    """Scores the embeddings of the configured encoder and its controls on fold 10; with triplets after training it.

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
        arrays, more = embedding_arrays(found["features"], found["tokens"], folds, config)
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
