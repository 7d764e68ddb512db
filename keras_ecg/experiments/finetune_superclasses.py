"""PTB-XL's superclasses from a pretrained encoder that is trained end to end, with its baselines and variants."""

import logging
from dataclasses import dataclass, replace

import keras
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.multiclass import OneVsRestClassifier

from keras_ecg.config import Config, from_dict
from keras_ecg.contract import Contract
from keras_ecg.data.intervals import recording_intervals
from keras_ecg.databases import ptbxl
from keras_ecg.devices import over_devices
from keras_ecg.encoders import load_encoder, read_contract
from keras_ecg.errors import InputError
from keras_ecg.experiments.diagnoses import Folds, open_diagnoses, read_windows
from keras_ecg.experiments.study import columns_of
from keras_ecg.experiments.superclasses import finish_superclasses, leads_of, write_superclasses
from keras_ecg.models.loading import save_model
from keras_ecg.models.recording_classifier import RecordingClassifierConfig, build_recording_classifier
from keras_ecg.recording_training import batch_of, fit_recordings, predict_recordings, rows_of
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

logger = logging.getLogger(__name__)

RESNET = Contract(10.0, 100.0, ptbxl.LEADS, leads_at_once=12)  # what a ResNet1D is fed, but for the length


@dataclass(frozen=True)
class Row:
    """A way to train."""

    encoder: str = "pretrained"  # or random, resnet1d
    share: float = 1.0  # of the training recordings that have labels
    leads: tuple[str, ...] = ()  # empty: those of the encoder
    intervals: bool = False  # whether intervals and amplitudes come in beside the waveform


INTERVALS = "intervals"  # gradient boosting on them alone


def rows_of_table(hybrid: bool) -> dict[str, Row]:
    """The rows by name; with `hybrid` intervals and amplitudes come in beside the model's waveform."""
    return {
        "model": Row(intervals=hybrid),
        "waveform": Row(),
        "hybrid": Row(intervals=True),
        "scratch": Row("random", intervals=hybrid),
        "labels_10": Row(share=0.1, intervals=hybrid),
        "labels_1": Row(share=0.01, intervals=hybrid),
        "lead_ii": Row(leads=("II",)),
        "resnet1d": Row("resnet1d"),
        "resnet1d_hybrid": Row("resnet1d", intervals=True),
        "resnet1d_labels_10": Row("resnet1d", share=0.1),
        "resnet1d_labels_1": Row("resnet1d", share=0.01),
    }


def labelled(folds: Folds, share: float, seed: int) -> np.ndarray:
    """Indices of the training recordings whose labels are known: a share of them, at least 20, drawn by seed."""
    if share == 1:
        return folds.train
    count = max(20, round(share * len(folds.train)))
    return np.sort(np.random.default_rng(seed).permutation(folds.train)[:count])


def scaled_intervals(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Features (n, K) with a mean of 0 and a spread of 1 over the training ones, within 5; 0 where one is missing.

    Beside them stands a one where one is missing that some training recording lacks, too: no PR may be fibrillation.
    """
    mean, spread = np.nanmean(features[train], axis=0), np.nanstd(features[train], axis=0)
    scaled = np.clip((features - mean) / np.maximum(spread, 1e-6), -5, 5)
    missing = np.isnan(features)
    return np.concatenate([np.nan_to_num(scaled), missing[:, missing[train].any(0)]], axis=1).astype(np.float32)


def boosting_on_intervals(features: np.ndarray, folds: Folds) -> np.ndarray:
    """Probabilities (m, 5) of the test fold by gradient boosting on intervals and amplitudes (n, K): no waveform."""
    model = OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=0))
    return model.fit(features[folds.train], folds.labels[folds.train]).predict_proba(features[folds.test])


def copied(model: keras.Model, weights: bool) -> keras.Model:
    """A model once more, on the devices that are wanted now: with its weights, or with random ones."""
    out = keras.models.clone_model(model)
    if weights:
        out.set_weights(model.get_weights())
    return out


class Trainer:
    """Trains rows of the table; what several of them need is read once, and intervals are kept in the run."""

    def __init__(self, config: Config, folds: Folds, run: RunFolder):
        self.config, self.folds, self.run = config, folds, run
        self.hyperparameters = from_dict(RecordingClassifierConfig, config.model.options, "model.options")
        self.known: dict = {}

    def measured(self) -> np.ndarray:
        """Intervals and amplitudes (n, K) of all recordings, NaN where one cannot be measured."""
        if not self.run.has_part(INTERVALS):
            records = self.folds.diagnosed.record
            measured = recording_intervals(self.config.database.data_dir, records, ptbxl.LEADS)
            self.run.save_part(INTERVALS, measured=measured)
        return self.run.load_part(INTERVALS)["measured"]

    def windows(self, contract: Contract, leads: tuple[str, ...]) -> np.ndarray:
        """Windows (n, G, T, L) of all recordings."""
        key = (contract.window_seconds, contract.sampling_rate_hz, contract.bandpass_hz, leads)
        if key not in self.known:
            records = self.folds.diagnosed.record
            self.known = {key: read_windows(self.config.database.data_dir, records, contract, leads, apart=False)}
        return self.known[key]

    def encoder(self, row: Row) -> tuple[keras.Model | None, Contract, tuple[str, ...]]:
        """The encoder to start from, its contract, and the leads that it is fed; no encoder is a ResNet1D's."""
        if row.encoder == "resnet1d":
            seconds = read_contract(self.hyperparameters.weights).window_seconds
            return None, replace(RESNET, window_seconds=seconds), row.leads or ptbxl.LEADS
        found = load_encoder(self.hyperparameters.weights)
        leads, apart = leads_of(found)
        if row.leads and not apart:
            found = load_encoder(self.hyperparameters.weights, row.leads)
        return found.model, found.contract, row.leads or leads

    def fit_predict(self, row: Row, seed: int) -> tuple[np.ndarray, list[dict], keras.Model]:
        """Probabilities (m, 5) of the test fold, the history and the model of one training."""
        keras.utils.set_random_seed(seed)
        folds, config = self.folds, self.config
        encoder, contract, leads = self.encoder(row)
        windows = self.windows(contract, leads)
        count = windows.shape[1]
        inputs = {"signals": windows.reshape(-1, *windows.shape[2:])}
        if row.intervals:
            inputs["intervals"] = np.repeat(scaled_intervals(self.measured(), folds.train), count, axis=0)
        shapes = {name: values.shape[1:] for name, values in inputs.items()}

        def of(recordings: np.ndarray) -> np.ndarray:
            return (recordings[:, np.newaxis] * count + np.arange(count)).ravel()

        train = of(labelled(folds, row.share, seed))
        size = batch_of(config.loader.batch_size, len(train))
        with over_devices(config.training, size):
            encoder = copied(encoder, row.encoder == "pretrained") if encoder else None
            try:
                model = build_recording_classifier(shapes, len(ptbxl.SUPERCLASSES), self.hyperparameters, encoder, seed)
            except ValueError as error:
                found = str(error).split("\n")[0]
                raise InputError(
                    "model.options", found, "hyperparameters that fit the encoder", "correct them"
                ) from error
            data = (inputs, np.repeat(folds.labels, count, axis=0), train, of(folds.select))
            history = fit_recordings(model, *data, config.training, size, config.finetuning.patience, seed)
        return predict_recordings(model, rows_of(inputs, of(folds.test)), count), history, model


def run_finetune_superclasses(config: Config) -> RunFolder:
    """Trains on folds 1 to 8 from the configured encoder, its baselines beside it; fold 9 chooses the epoch.

    Returns:
        The finished run folder, with the first seed's model.

    Raises:
        InputError: no weights, no recordings, an unknown baseline, or recordings that break an encoder's contract.
    """
    wanted = config.finetuning
    table = rows_of_table(wanted.hybrid)
    if unknown := set(wanted.baselines) - {*table, INTERVALS}:
        known = ", ".join([*list(table)[1:], INTERVALS])
        raise InputError("finetuning.baselines", ", ".join(sorted(unknown)), f"some of {known}", "correct them")
    run, folds = open_diagnoses(config, "finetune_superclasses")
    if run.finished:
        return run
    prepare_backend(config)
    trainer, history = Trainer(config, folds, run), []
    for name in ("model", *wanted.baselines):
        if name == INTERVALS:
            write_superclasses(run, name, folds, boosting_on_intervals(trainer.measured(), folds)[np.newaxis], (0,))
            continue
        seeds = wanted.seeds if name == "model" else wanted.seeds[:1]  # a training each: baselines have the first
        parts = {seed: f"{name}_{seed}" for seed in seeds}
        for seed, part in parts.items():
            if not run.has_part(part):
                logger.info("%s: %s, seed %d", run.path.name, name, seed)
                found, rows, model = trainer.fit_predict(table[name], seed)
                if part == f"model_{wanted.seeds[0]}":
                    save_model(run.path / "model.keras", model)
                run.save_part(part, probabilities=found, **columns_of(rows))
            columns = run.load_part(part)
            columns.pop("probabilities")
            where = {"predictor": name, "seed": seed}
            history += [where | {k: v[e].item() for k, v in columns.items()} for e in range(len(columns["epoch"]))]
        stacked = np.stack([run.load_part(part)["probabilities"] for part in parts.values()])
        write_superclasses(run, name, folds, stacked, seeds)
    return finish_superclasses(run, config, history, folds)
