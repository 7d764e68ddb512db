"""Fine-tuning of a pretrained encoder on PTB-XL's diagnostic superclasses, with baselines and ablations."""

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
from keras_ecg.experiments.common import columns_of
from keras_ecg.experiments.diagnoses import Folds, open_superclass_run, read_windows
from keras_ecg.experiments.superclasses import finish_superclasses, leads_of, write_superclasses
from keras_ecg.models.loading import save_model
from keras_ecg.models.recording_classifier import RecordingClassifierConfig, build_recording_classifier
from keras_ecg.recording_training import batch_of, fit_recordings, predict_recordings, rows_of
from keras_ecg.runs import RunFolder
from keras_ecg.training import prepare_backend

logger = logging.getLogger(__name__)

# Input specification of the ResNet1D; its window length is that of the pretrained encoder.
RESNET = Contract(10.0, 100.0, ptbxl.LEADS, leads_at_once=12)


@dataclass(frozen=True)
class Variant:
    """A training of the model, of a baseline or of an ablation."""

    encoder: str = "pretrained"  # or random, resnet1d
    share: float = 1.0  # fraction of the training recordings whose labels are used
    leads: tuple[str, ...] = ()  # empty for all leads of the encoder
    intervals: bool = False  # also use intervals and amplitudes as inputs


INTERVALS = "intervals"  # the baseline without waveforms: gradient boosting on intervals and amplitudes


def training_variants(hybrid: bool) -> dict[str, Variant]:
    """Map names to training variants; with `hybrid` the model also uses intervals and amplitudes."""
    return {
        "model": Variant(intervals=hybrid),
        "waveform": Variant(),
        "hybrid": Variant(intervals=True),
        "scratch": Variant("random", intervals=hybrid),
        "labels_10": Variant(share=0.1, intervals=hybrid),
        "labels_1": Variant(share=0.01, intervals=hybrid),
        "lead_ii": Variant(leads=("II",)),
        "resnet1d": Variant("resnet1d"),
        "resnet1d_hybrid": Variant("resnet1d", intervals=True),
        "resnet1d_labels_10": Variant("resnet1d", share=0.1),
        "resnet1d_labels_1": Variant("resnet1d", share=0.01),
    }


def labelled(folds: Folds, share: float, seed: int) -> np.ndarray:
    """Draw a fraction of the training recordings, at least 20, whose labels are used: their indices."""
    if share == 1:
        return folds.train
    count = max(20, round(share * len(folds.train)))
    return np.sort(np.random.default_rng(seed).permutation(folds.train)[:count])


def scaled_intervals(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Standardize features (n, K) on the training recordings, clip to 5 standard deviations, and fill NaN with 0.

    For features that are missing in some training recording, an indicator of missingness is appended: a missing PR
    interval, for example, may indicate atrial fibrillation.
    """
    mean, spread = np.nanmean(features[train], axis=0), np.nanstd(features[train], axis=0)
    scaled = np.clip((features - mean) / np.maximum(spread, 1e-6), -5, 5)
    missing = np.isnan(features)
    return np.concatenate([np.nan_to_num(scaled), missing[:, missing[train].any(0)]], axis=1).astype(np.float32)


def boosting_on_intervals(features: np.ndarray, folds: Folds) -> np.ndarray:
    """Predict probabilities (m, 5) of the test fold by gradient boosting on intervals and amplitudes (n, K)."""
    model = OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=0))
    return model.fit(features[folds.train], folds.labels[folds.train]).predict_proba(features[folds.test])


def copied(model: keras.Model, weights: bool) -> keras.Model:
    """Copy a model to the current devices, with its weights or randomly initialised."""
    out = keras.models.clone_model(model)
    if weights:
        out.set_weights(model.get_weights())
    return out


class Trainer:
    """Trains variants; windows are cached between variants, intervals are stored in the run folder."""

    def __init__(self, config: Config, folds: Folds, run: RunFolder):
        self.config, self.folds, self.run = config, folds, run
        self.hyperparameters = from_dict(RecordingClassifierConfig, config.model.options, "model.options")
        self.cache: dict = {}

    def measured(self) -> np.ndarray:
        """Return intervals and amplitudes (n, K) of all recordings; NaN for those that cannot be measured."""
        if not self.run.has_part(INTERVALS):
            records = self.folds.diagnosed.record
            measured = recording_intervals(self.config.database.data_dir, records, ptbxl.LEADS)
            self.run.save_part(INTERVALS, measured=measured)
        return self.run.load_part(INTERVALS)["measured"]

    def windows(self, contract: Contract, leads: tuple[str, ...]) -> np.ndarray:
        """Read the windows (n, G, T, L) of all recordings; the last ones read are cached."""
        key = (contract.window_seconds, contract.sampling_rate_hz, contract.bandpass_hz, leads)
        if key not in self.cache:
            records = self.folds.diagnosed.record
            self.cache = {key: read_windows(self.config.database.data_dir, records, contract, leads, per_lead=False)}
        return self.cache[key]

    def encoder(self, variant: Variant) -> tuple[keras.Model | None, Contract, tuple[str, ...]]:
        """Return the initial encoder (None for a ResNet1D), its input specification and its leads."""
        if variant.encoder == "resnet1d":
            seconds = read_contract(self.hyperparameters.weights).window_seconds
            return None, replace(RESNET, window_seconds=seconds), variant.leads or ptbxl.LEADS
        loaded = load_encoder(self.hyperparameters.weights)
        leads, per_lead = leads_of(loaded)
        if variant.leads and not per_lead:
            loaded = load_encoder(self.hyperparameters.weights, variant.leads)
        return loaded.model, loaded.contract, variant.leads or leads

    def fit_predict(self, variant: Variant, seed: int) -> tuple[np.ndarray, list[dict], keras.Model]:
        """Train a variant: probabilities (m, 5) of the test fold, the training log, and the model."""
        keras.utils.set_random_seed(seed)
        folds, config = self.folds, self.config
        encoder, contract, leads = self.encoder(variant)
        windows = self.windows(contract, leads)
        count = windows.shape[1]
        inputs = {"signals": windows.reshape(-1, *windows.shape[2:])}
        if variant.intervals:
            inputs["intervals"] = np.repeat(scaled_intervals(self.measured(), folds.train), count, axis=0)
        shapes = {name: values.shape[1:] for name, values in inputs.items()}

        def windows_of(recordings: np.ndarray) -> np.ndarray:
            return (recordings[:, np.newaxis] * count + np.arange(count)).ravel()

        train = windows_of(labelled(folds, variant.share, seed))
        size = batch_of(config.loader.batch_size, len(train))
        with over_devices(config.training, size):
            encoder = copied(encoder, variant.encoder == "pretrained") if encoder else None
            try:
                model = build_recording_classifier(shapes, len(ptbxl.SUPERCLASSES), self.hyperparameters, encoder, seed)
            except ValueError as error:
                found = str(error).split("\n")[0]
                raise InputError(
                    "model.options", found, "hyperparameters that fit the encoder", "correct them"
                ) from error
            data = (inputs, np.repeat(folds.labels, count, axis=0), train, windows_of(folds.select))
            history = fit_recordings(model, *data, config.training, size, config.finetuning.patience, seed)
        return predict_recordings(model, rows_of(inputs, windows_of(folds.test)), count), history, model


def run_finetune_superclasses(config: Config) -> RunFolder:
    """Fine-tune the configured encoder and its baselines on folds 1 to 8; fold 9 selects the epoch, fold 10 is scored.

    Returns:
        The finished run folder, with the first seed's model.

    Raises:
        InputError: no weights, no recordings, an unknown baseline, or recordings that do not meet an encoder's input
            specification.
    """
    settings = config.finetuning
    variants = training_variants(settings.hybrid)
    if unknown := set(settings.baselines) - {*variants, INTERVALS}:
        known = ", ".join([*list(variants)[1:], INTERVALS])
        raise InputError("finetuning.baselines", ", ".join(sorted(unknown)), f"some of {known}", "correct them")
    run, folds = open_superclass_run(config, "finetune_superclasses")
    if run.finished:
        return run
    prepare_backend(config)
    trainer, history = Trainer(config, folds, run), []
    for name in ("model", *settings.baselines):
        if name == INTERVALS:
            write_superclasses(run, name, folds, boosting_on_intervals(trainer.measured(), folds)[np.newaxis], (0,))
            continue
        seeds = settings.seeds if name == "model" else settings.seeds[:1]  # to save time, baselines have one seed
        parts = {seed: f"{name}_{seed}" for seed in seeds}
        for seed, part in parts.items():
            if not run.has_part(part):
                logger.info("%s: %s, seed %d", run.path.name, name, seed)
                found, rows, model = trainer.fit_predict(variants[name], seed)
                if part == f"model_{settings.seeds[0]}":
                    save_model(run.path / "model.keras", model)
                run.save_part(part, probabilities=found, **columns_of(rows))
            columns = run.load_part(part)
            columns.pop("probabilities")
            where = {"predictor": name, "seed": seed}
            history += [where | {k: v[e].item() for k, v in columns.items()} for e in range(len(columns["epoch"]))]
        stacked = np.stack([run.load_part(part)["probabilities"] for part in parts.values()])
        write_superclasses(run, name, folds, stacked, seeds)
    return finish_superclasses(run, config, history, folds)
