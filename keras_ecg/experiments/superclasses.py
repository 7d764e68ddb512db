"""A linear probe of frozen encoders on PTB-XL's five superclasses, by its own patient folds, with its controls."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from keras_ecg.config import Config
from keras_ecg.contract import Contract
from keras_ecg.databases import ptbxl, recordings
from keras_ecg.databases.ptbxl import Diagnosed
from keras_ecg.encoders import load_encoder, read_contract
from keras_ecg.errors import InputError
from keras_ecg.experiments.study import open_folder
from keras_ecg.files import fingerprint, sha256
from keras_ecg.models.loading import find_encoder
from keras_ecg.parallel import each
from keras_ecg.probing import embed_windows, standardized
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

IGNORED = ("beats", "sequences", "windows", "tuning", "augment", "training", "loader", "evaluation")
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)  # C, of features with a total variance of their number
RAW_HZ = 25  # of the control that sees samples


def read_leads(folder: str, records: tuple[str, ...], contract: Contract, leads: tuple[str, ...]) -> np.ndarray:
    """What an encoder is fed of recordings, lead by lead or all at once.

    Args:
        folder: of the database.
        records: n of them.
        contract: the encoder's.
        leads: the leads whose windows are wanted; an encoder of several at once takes those of its contract.

    Returns:
        (n, G, T, L) float16: of each recording its windows, of each lead in turn.

    Raises:
        InputError: a recording breaks the contract, or is longer or shorter than the others.
    """
    groups = [(lead,) for lead in leads] if contract.leads_at_once == 1 else [contract.leads]

    def work(record: str) -> tuple[str, np.ndarray]:
        recording, where = recordings.read_recording(folder, record, None), Path(folder) / record
        found = []
        for group in groups:
            chosen = recordings.choose_leads(recording.leads, group, (), where)
            own = recording.signals[:, chosen]
            # A lead that the contract does not name is fed all the same: the table says what comes of it.
            named = contract.leads[:1] if contract.leads_at_once == 1 else group
            found.append(contract.windows(own, recording.sampling_rate_hz, named, where))
        return record, np.concatenate(found).astype(np.float16)

    with each(work, list(records), "read") as results:
        windows = dict(results)
    counts = {len(w) for w in windows.values()}
    if len(counts) > 1:
        raise InputError(folder, "recordings of several lengths", "of one length", "leave the others out")
    return np.stack([windows[record] for record in records])


def embed_recordings(encoder: keras.Model, windows: np.ndarray, leads: int) -> np.ndarray:
    """The mean token of each lead, over a recording's windows: (n, G, T, L) to (n, leads D)."""
    count, groups = windows.shape[:2]
    found = embed_windows(encoder, windows.reshape(-1, *windows.shape[2:]))
    return found.reshape(count, leads, groups // leads, -1).astype(np.float32).mean(2).reshape(count, -1)


def feature_sets(config: Config, diagnosed: Diagnosed) -> Iterator[tuple[str, np.ndarray]]:
    """Features (n, K) of the model and its controls, by name."""
    wanted, folder = config.finetuning, config.database.data_dir
    weights = config.model.options["weights"]
    for name, source in {"model": weights, **{Path(w).name: w for w in wanted.against}}.items():
        encoder = load_encoder(source)
        single = encoder.contract.leads_at_once == 1
        leads = ptbxl.LEADS if single else encoder.contract.leads
        print(f"{name}: embedding {len(diagnosed.record)} recordings", flush=True)
        windows = read_leads(folder, diagnosed.record, encoder.contract, leads)
        size = len(leads) if single else 1
        features = embed_recordings(encoder.model, windows, size)
        yield name, features
        if single:
            width, second = features.shape[1] // size, leads.index("II")
            yield f"{name}_lead_ii".removeprefix("model_"), features[:, second * width : (second + 1) * width]
        if name == "model" and "untrained" in wanted.controls:
            keras.utils.set_random_seed(0)
            yield "untrained", embed_recordings(keras.models.clone_model(encoder.model), windows, size)
        if name == "model" and "raw" in wanted.controls:
            step = round(encoder.contract.sampling_rate_hz / RAW_HZ)
            whole = windows[:, :, : windows.shape[2] // step * step].astype(np.float32)
            n, g, t, lanes = whole.shape
            yield "raw", whole.reshape(n, g, t // step, step, lanes).mean(3).reshape(n, -1)


def probe(features: np.ndarray, diagnosed: Diagnosed) -> tuple[np.ndarray, list[dict]]:
    """Probabilities (m, 5) of the test fold, and the rows of history.csv; the selection fold chooses C.

    Raises:
        InputError: a superclass is absent from, or never absent in, the training or selection folds.
    """
    train = np.flatnonzero(np.isin(diagnosed.fold, ptbxl.TRAIN_FOLDS))
    chosen_on = np.flatnonzero(diagnosed.fold == ptbxl.SELECT_FOLD)
    y = diagnosed.superclasses
    for rows in (train, chosen_on):
        odd = [c for c, share in zip(ptbxl.SUPERCLASSES, y[rows].mean(0), strict=True) if not 0 < share < 1]
        if odd:
            found = f"{len(rows)} recordings, with all or none {', '.join(odd)}"
            raise InputError("PTB-XL's folds", found, "some with each superclass, and some without", "add recordings")
    x = standardized([features], train) * np.sqrt(features.shape[1])
    best, rows = None, []
    for strength in STRENGTHS:
        model = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=1000)).fit(x[train], y[train])
        score = roc_auc_score(y[chosen_on], model.predict_proba(x[chosen_on]), average="macro")
        rows.append({"strength": strength, "selection_auroc": score})
        if best is None or score > best[0]:
            best = (score, model)
    return best[1].predict_proba(x[diagnosed.fold == ptbxl.TEST_FOLD]), rows


def run_superclasses(config: Config) -> RunFolder:
    """Fits a linear probe of the configured encoder on folds 1 to 8, chooses its strength on fold 9, scores fold 10.

    Returns:
        The finished run folder.

    Raises:
        InputError: no weights, no recordings, or recordings that break an encoder's contract.
    """
    weights = config.model.options.get("weights")
    if not weights:
        raise InputError("model.options.weights", "none", "a pretrained encoder", "give --weights")
    for name in (weights, *config.finetuning.against):
        read_contract(name)
    diagnosed = ptbxl.read_diagnoses(config.database.data_dir)
    tables = [sha256(Path(config.database.data_dir) / name) for name in (ptbxl.TABLE, ptbxl.STATEMENTS)]
    encoders = [sha256(find_encoder(name) / "encoder.keras") for name in (weights, *config.finetuning.against)]
    data = fingerprint([tables, list(diagnosed.record), encoders])
    run = open_folder(config, "probe_superclasses", IGNORED, data, {"seeds": [0]})
    if run.finished:
        return run
    prepare_backend(config)
    test, history = diagnosed.fold == ptbxl.TEST_FOLD, []
    for name, features in feature_sets(config, diagnosed):
        found, rows = probe(features, diagnosed)
        history += [{"predictor": name, "seed": 0, "epoch": k + 1, **row} for k, row in enumerate(rows)]
        run.write_arrays(
            name,
            ecg_id=diagnosed.ecg_id[test],
            subject=diagnosed.subject[test],
            y_true=diagnosed.superclasses[test],
            probabilities=found[np.newaxis].astype(np.float16),
            seeds=np.array([0]),
        )
    run.write_history(history)
    metrics = run.finish(weights=str(weights), recordings=len(diagnosed.record))
    figure = metrics["model"]["macro_auroc"]
    lines = [f"{run.path.name}: macro AUROC {figure['mean']:.3f}"]
    lines += [f"ALARM: {alarm}" for alarm in metrics["alarms"]]
    print("\n".join([*lines, f"report: {run.path / 'report.html'}"]))
    return run
