"""Triplet training of an encoder on PTB-XL's superclasses: the projection first, then projection and encoder."""

import logging
from dataclasses import dataclass, field, replace

import keras
import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from keras_ecg.config import Config, Training, from_dict
from keras_ecg.contract import Contract
from keras_ecg.encoders import Encoder, load_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation.embeddings import neighbour_probabilities
from keras_ecg.experiments.compared import components, projected
from keras_ecg.experiments.diagnoses import Folds, read_windows
from keras_ecg.experiments.superclasses import embed_recordings, leads_of
from keras_ecg.models.triplet import Triplet, TripletConfig, build_projection, build_triplet
from keras_ecg.quiet import bars_hidden
from keras_ecg.training import check_finite_loss, compile_objective

logger = logging.getLogger(__name__)


@dataclass
class Fitted:
    """An encoder after triplet training, with its projection, input specification and training log."""

    encoder: keras.Model
    projection: keras.Model | None  # of the mean tokens
    contract: Contract
    history: list[dict] = field(default_factory=list)

    def weights(self) -> list[list[np.ndarray]]:
        """Return the weights of encoder and projection."""
        return [part.get_weights() for part in (self.encoder, self.projection) if part]

    def set_weights(self, weights: list[list[np.ndarray]]) -> None:
        """Restore weights returned by `weights`."""
        for part, values in zip((self.encoder, self.projection), weights, strict=False):
            part.set_weights(values)


@dataclass
class TripletData:
    """Windows and labels of the training and selection folds."""

    windows: np.ndarray  # (n, G, T, L), or (n, L G, T, 1) for single-lead windows ordered by lead
    labels: np.ndarray  # (n, C)
    train: np.ndarray  # indices
    select: np.ndarray  # indices
    leads: int
    per_lead: bool  # whether the windows are single-lead

    def features(self, encoder: keras.Model) -> np.ndarray:
        """Compute the mean tokens (n, K) of all recordings."""
        return embed_recordings(encoder, self.windows, self.leads if self.per_lead else 1)

    def selection_auroc(self, features: np.ndarray, projection: keras.Model | None) -> float:
        """Compute the macro AUROC of k-NN on the selection fold, from features (n, K) of all recordings."""
        x = projected(projection, features, self.train) if projection else components(features, self.train)
        probabilities = neighbour_probabilities(x[self.train], self.labels[self.train], x[self.select])
        return roc_auc_score(self.labels[self.select], probabilities)

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training windows of all leads (m, T, L) and their labels (m, C)."""
        windows = self.windows[self.train]
        windows = stack_leads(windows, self.leads) if self.per_lead else windows
        return windows.reshape(-1, *windows.shape[2:]), np.repeat(self.labels[self.train], windows.shape[1], axis=0)


def read_triplet_data(folder: str, folds: Folds, encoder: Encoder) -> TripletData:
    """Read the windows of the training and selection folds.

    Raises:
        InputError: recordings that do not meet the encoder's input specification.
    """
    leads, per_lead = leads_of(encoder)
    used = np.concatenate([folds.train, folds.select])
    records = tuple(np.array(folds.diagnosed.record)[used].tolist())
    windows = read_windows(folder, records, encoder.contract, leads, per_lead)
    train, select = np.split(np.arange(len(used)), [len(folds.train)])
    return TripletData(windows, folds.labels[used], train, select, len(leads), per_lead)


def stack_leads(windows: np.ndarray, leads: int) -> np.ndarray:
    """Stack single-lead windows (n, L G, T, 1), ordered by lead, to windows of all leads (n, G, T, L)."""
    count, _, samples, _ = windows.shape
    return windows.reshape(count, leads, -1, samples).transpose(0, 2, 3, 1)


class Epochs:
    """Trains a triplet model epoch by epoch.

    Args:
        model: triplet model, which is compiled here.
        inputs: (n, ...).
        labels: (n, C).
        training: training settings, with the total number of epochs.
        size: batch size; an incomplete last batch is dropped, as it has few triplets.
        rng: random generator of the order.
    """

    def __init__(
        self,
        model: Triplet,
        inputs: np.ndarray,
        labels: np.ndarray,
        training: Training,
        size: int,
        rng: np.random.Generator,
    ):
        self.model, self.inputs, self.labels, self.rng = model, inputs, labels, rng
        self.size = min(size, len(inputs))
        self.batches = len(inputs) // self.size
        compile_objective(model, training, self.batches * training.epochs)

    def fit(self) -> float:
        """Train one epoch, and return its mean loss.

        Raises:
            InputError: a loss that is not finite.
        """
        order = self.rng.permutation(len(self.inputs))[: self.batches * self.size]
        drawn = self.inputs[order].astype(np.float32)
        history = self.model.fit(drawn, self.labels[order], batch_size=self.size, shuffle=False, verbose=0).history
        check_finite_loss(history["loss"])
        return float(history["loss"][0])


def log_epoch(fitted: Fitted, data: TripletData, features: np.ndarray, epoch: int, loss: float) -> float:
    """Add an epoch to the training log, print it, and return the macro AUROC of k-NN on the selection fold."""
    auroc = data.selection_auroc(features, fitted.projection)
    fitted.history.append({"probe": "triplet", "epoch": epoch, "loss": loss, "selection_auroc": auroc})
    stage = f"epoch {epoch}" if epoch else "projection only"
    text = "triplet: %s, loss %.4f, k-NN macro AUROC on the selection fold %.4f"
    logger.info(text, stage, loss, auroc)
    return auroc


def fit_projection(
    fitted: Fitted, data: TripletData, hyperparameters: TripletConfig, config: Config, rng: np.random.Generator
) -> None:
    """Train the projection of the mean tokens of the frozen encoder; it is epoch 0 of the training log."""
    features = data.features(fitted.encoder)
    means, labels = features[data.train], data.labels[data.train]
    fitted.projection = build_projection(
        means, config.finetuning.projection, hyperparameters.projection_dropout, seed=0
    )
    training = replace(
        config.training,
        epochs=hyperparameters.projection_epochs,
        learning_rate=hyperparameters.projection_learning_rate,
        jit_compile=False,  # compilation would take ten times as long as training
    )
    model = Triplet(fitted.projection, config.finetuning.margin)
    epochs = Epochs(model, means, labels, training, config.loader.batch_size, rng)
    losses = [epochs.fit() for _ in tqdm(range(training.epochs), "projection", unit="epoch", disable=bars_hidden())]
    log_epoch(fitted, data, features, 0, losses[-1])


def fit_encoder(
    fitted: Fitted, data: TripletData, hyperparameters: TripletConfig, config: Config, rng: np.random.Generator
) -> None:
    """Train the encoder and its projection, and restore the weights of the best epoch."""
    settings = config.finetuning
    try:
        model = build_triplet(fitted.encoder, data.leads, hyperparameters, fitted.projection, settings.margin, seed=0)
    except ValueError as error:
        raise InputError("model.options", str(error), "hyperparameters that fit the encoder", "correct them") from error
    epochs = Epochs(model, *data.examples(), config.training, config.loader.batch_size, rng)
    best, kept, waited = max((row["selection_auroc"] for row in fitted.history), default=-1.0), fitted.weights(), 0
    for epoch in range(1, config.training.epochs + 1):
        loss = epochs.fit()
        auroc = log_epoch(fitted, data, data.features(fitted.encoder), epoch, loss)
        if auroc > best:
            best, kept, waited = auroc, fitted.weights(), 0
        elif (waited := waited + 1) >= settings.patience:
            break
    fitted.set_weights(kept)


def fit_triplet(config: Config, folds: Folds) -> Fitted:
    """Train the configured encoder with the triplet loss on the training folds.

    The epoch with the highest k-NN macro AUROC on the selection fold is kept; epoch 0 trains the projection only.

    Raises:
        InputError: an unknown hyperparameter, one that does not fit the encoder, or a loss that is not finite.
    """
    hyperparameters = from_dict(TripletConfig, config.model.options, "model.options")
    encoder = load_encoder(hyperparameters.weights)
    data = read_triplet_data(config.database.data_dir, folds, encoder)
    fitted = Fitted(encoder.model, None, encoder.contract)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    if config.finetuning.projection:
        fit_projection(fitted, data, hyperparameters, config, rng)
    if not (fitted.projection and hyperparameters.frozen_stages < 0):
        fit_encoder(fitted, data, hyperparameters, config, rng)
    return fitted
