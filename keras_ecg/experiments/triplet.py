"""An encoder on triplets of PTB-XL's superclasses: the projection of its means learns first, all of it then."""

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
from keras_ecg.training import compile_objective, reject_no_number

logger = logging.getLogger(__name__)


@dataclass
class Fitted:
    """An encoder after triplets, and how it came about."""

    encoder: keras.Model
    projection: keras.Model | None  # of its mean tokens
    contract: Contract
    history: list[dict] = field(default_factory=list)

    def weights(self) -> list[list[np.ndarray]]:
        """Those of its parts."""
        return [part.get_weights() for part in (self.encoder, self.projection) if part]

    def set_weights(self, weights: list[list[np.ndarray]]) -> None:
        """Puts `weights` back."""
        for part, values in zip((self.encoder, self.projection), weights, strict=False):
            part.set_weights(values)


@dataclass
class Learned:
    """Recordings of the training and the selection folds, as an encoder is fed them."""

    windows: np.ndarray  # (n, G, T, L), or of single leads, lead after lead, (n, L G, T, 1)
    labels: np.ndarray  # (n, C)
    train: np.ndarray  # indices
    select: np.ndarray
    leads: int
    apart: bool  # whether windows are those of single leads

    def features(self, encoder: keras.Model) -> np.ndarray:
        """The mean tokens (n, K) of all of them."""
        return embed_recordings(encoder, self.windows, self.leads if self.apart else 1)

    def area(self, features: np.ndarray, projection: keras.Model | None) -> float:
        """What neighbours know of the selection fold, by features (n, K) of all recordings."""
        x = projected(projection, features, self.train) if projection else components(features, self.train)
        found = neighbour_probabilities(x[self.train], self.labels[self.train], x[self.select])
        return roc_auc_score(self.labels[self.select], found)

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Windows of all leads (m, T, L) and their labels (m, C), of training."""
        own = self.windows[self.train]
        own = beside(own, self.leads) if self.apart else own
        return own.reshape(-1, *own.shape[2:]), np.repeat(self.labels[self.train], own.shape[1], axis=0)


def read_learned(folder: str, folds: Folds, encoder: Encoder) -> Learned:
    """Raises `InputError` where recordings break the encoder's contract."""
    leads, apart = leads_of(encoder)
    used = np.concatenate([folds.train, folds.select])
    records = tuple(np.array(folds.diagnosed.record)[used].tolist())
    windows = read_windows(folder, records, encoder.contract, leads, apart)
    train, select = np.split(np.arange(len(used)), [len(folds.train)])
    return Learned(windows, folds.labels[used], train, select, len(leads), apart)


def beside(windows: np.ndarray, leads: int) -> np.ndarray:
    """Windows of single leads (n, L G, T, 1), lead after lead, as those of all leads: (n, G, T, L)."""
    count, _, samples, _ = windows.shape
    return windows.reshape(count, leads, -1, samples).transpose(0, 2, 3, 1)


class Epochs:
    """Epochs of a model under the triplet loss.

    Args:
        model: to be compiled.
        inputs: (n, ...).
        labels: (n, C).
        training: how; `training.epochs` of them.
        size: of a batch. What does not fill the last one is left out: a small one has few triplets.
        rng: of the order.
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
        """The mean loss of one more epoch.

        Raises:
            InputError: it is not a number.
        """
        order = self.rng.permutation(len(self.inputs))[: self.batches * self.size]
        drawn = self.inputs[order].astype(np.float32)
        history = self.model.fit(drawn, self.labels[order], batch_size=self.size, shuffle=False, verbose=0).history
        reject_no_number(history["loss"])
        return float(history["loss"][0])


def record(fitted: Fitted, learned: Learned, features: np.ndarray, epoch: int, loss: float) -> float:
    """Adds an epoch to the history, and says it: what neighbours know of the selection fold by features after it."""
    area = learned.area(features, fitted.projection)
    fitted.history.append({"probe": "triplet", "epoch": epoch, "loss": loss, "selection_auroc": area})
    of = f"epoch {epoch}" if epoch else "projection alone"
    logger.info("triplets: %s, loss %.4f, neighbours on the selection fold %.4f", of, loss, area)
    return area


def fit_projection(
    fitted: Fitted, learned: Learned, hyperparameters: TripletConfig, config: Config, rng: np.random.Generator
) -> None:
    """Trains a projection of the encoder's means, which stay as they are; it is epoch 0 of the history."""
    features = learned.features(fitted.encoder)
    means, labels = features[learned.train], learned.labels[learned.train]
    fitted.projection = build_projection(
        means, config.finetuning.projection, hyperparameters.projection_dropout, seed=0
    )
    training = replace(
        config.training,
        epochs=hyperparameters.projection_epochs,
        learning_rate=hyperparameters.projection_learning_rate,
        jit_compile=False,  # XLA takes ten times as long over so little
    )
    model = Triplet(fitted.projection, config.finetuning.margin)
    epochs = Epochs(model, means, labels, training, config.loader.batch_size, rng)
    losses = [epochs.fit() for _ in tqdm(range(training.epochs), "projection", unit="epoch", disable=bars_hidden())]
    record(fitted, learned, features, 0, losses[-1])


def fit_encoder(
    fitted: Fitted, learned: Learned, hyperparameters: TripletConfig, config: Config, rng: np.random.Generator
) -> None:
    """Trains the encoder, with its projection if there is one, and leaves them as they were after the best epoch."""
    wanted = config.finetuning
    try:
        model = build_triplet(fitted.encoder, learned.leads, hyperparameters, fitted.projection, wanted.margin, seed=0)
    except ValueError as error:
        raise InputError("model.options", str(error), "hyperparameters that fit the encoder", "correct them") from error
    epochs = Epochs(model, *learned.examples(), config.training, config.loader.batch_size, rng)
    best, kept, waited = max((row["selection_auroc"] for row in fitted.history), default=-1.0), fitted.weights(), 0
    for epoch in range(1, config.training.epochs + 1):
        loss = epochs.fit()
        area = record(fitted, learned, learned.features(fitted.encoder), epoch, loss)
        if area > best:
            best, kept, waited = area, fitted.weights(), 0
        elif (waited := waited + 1) >= wanted.patience:
            break
    fitted.set_weights(kept)


def fit_triplet(config: Config, folds: Folds) -> Fitted:
    """The configured encoder after triplets of the training folds' recordings.

    It keeps the epoch after which neighbours know most of the selection fold; epoch 0 is the projection alone.

    Raises:
        InputError: an unknown hyperparameter, one that does not fit the encoder, or a loss that is not a number.
    """
    hyperparameters = from_dict(TripletConfig, config.model.options, "model.options")
    encoder = load_encoder(hyperparameters.weights)
    learned = read_learned(config.database.data_dir, folds, encoder)
    fitted = Fitted(encoder.model, None, encoder.contract)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    if config.finetuning.projection:
        fit_projection(fitted, learned, hyperparameters, config, rng)
    if not (fitted.projection and hyperparameters.frozen_stages < 0):
        fit_encoder(fitted, learned, hyperparameters, config, rng)
    return fitted
