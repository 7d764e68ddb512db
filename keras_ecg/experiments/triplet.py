"""An encoder on triplets of PTB-XL's superclasses: the projection of its means learns first, all of it then."""

from dataclasses import dataclass, field, replace

import keras
import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from keras_ecg.config import Config, Training, from_dict
from keras_ecg.contract import Contract
from keras_ecg.encoders import load_encoder
from keras_ecg.errors import InputError
from keras_ecg.evaluation.embeddings import neighbour_probabilities
from keras_ecg.experiments.compared import components, projected
from keras_ecg.experiments.diagnoses import Folds, read_windows
from keras_ecg.experiments.superclasses import embed_recordings, leads_of
from keras_ecg.models.triplet import Triplet, TripletConfig, build_projection, build_triplet
from keras_ecg.training import adamw


@dataclass
class Fitted:
    """An encoder after triplets, and how it came about."""

    encoder: keras.Model
    projection: keras.Model | None  # of its mean tokens
    contract: Contract
    history: list[dict] = field(default_factory=list)


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
        model.compile(adamw(training, self.batches * training.epochs), jit_compile=training.jit_compile)

    def fit(self) -> float:
        """The mean loss of one more epoch.

        Raises:
            InputError: it is not a number.
        """
        order = self.rng.permutation(len(self.inputs))[: self.batches * self.size]
        drawn = self.inputs[order].astype(np.float32)
        history = self.model.fit(drawn, self.labels[order], batch_size=self.size, shuffle=False, verbose=0).history
        loss = float(history["loss"][0])
        if not np.isfinite(loss):
            raise InputError("training", "a loss that is not a number", "a finite one", "lower training.learning_rate")
        return loss


def fit_triplet(config: Config, folds: Folds) -> Fitted:
    """The configured encoder after triplets of the training folds' recordings.

    It keeps the epoch after which neighbours know most of the selection fold; epoch 0 is the projection alone.

    Raises:
        InputError: an unknown knob, one that does not fit the encoder, or a loss that is not a number.
    """
    knobs, wanted = from_dict(TripletConfig, config.model.options, "model.options"), config.finetuning
    training, size = config.training, config.loader.batch_size
    encoder = load_encoder(knobs.weights)
    leads, apart = leads_of(encoder)
    used = np.concatenate([folds.train, folds.select])
    train, select = np.split(np.arange(len(used)), [len(folds.train)])
    records = tuple(np.array(folds.diagnosed.record)[used].tolist())
    own, truth = read_windows(config.database.data_dir, records, encoder.contract, leads, apart), folds.labels[used]
    fitted = Fitted(encoder.model, None, encoder.contract)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)

    def features() -> np.ndarray:
        return embed_recordings(fitted.encoder, own, len(leads) if apart else 1)

    def score(epoch: int, loss: float) -> float:
        """What neighbours know of the selection fold after an epoch, which joins the history."""
        known = features()
        x = projected(fitted.projection, known, train) if fitted.projection else components(known, train)
        area = roc_auc_score(truth[select], neighbour_probabilities(x[train], truth[train], x[select]))
        fitted.history.append({"probe": "triplet", "epoch": epoch, "loss": loss, "selection_auroc": area})
        of = f"epoch {epoch} of {training.epochs}" if epoch else "projection alone"
        print(f"triplets: {of}, loss {loss:.4f}, neighbours on the selection fold {area:.4f}", flush=True)
        return area

    def weights() -> list:
        return [model.get_weights() for model in (fitted.encoder, fitted.projection) if model]

    best, kept, epochs = -1.0, None, training.epochs
    if wanted.projection:
        means = features()[train]
        fitted.projection = build_projection(means, wanted.projection, knobs.projection_dropout, seed=0)
        alone = replace(training, epochs=knobs.projection_epochs, learning_rate=knobs.projection_learning_rate)
        first = Epochs(Triplet(fitted.projection, wanted.margin), means, truth[train], alone, size, rng)
        losses = [first.fit() for _ in tqdm(range(alone.epochs), "projection", unit="epoch")]
        best, kept = score(0, losses[-1]), weights()
        if knobs.frozen_stages < 0:
            return fitted
    try:
        model = build_triplet(fitted.encoder, len(leads), knobs, fitted.projection, wanted.margin, seed=0)
    except ValueError as error:
        raise InputError("model.options", str(error), "knobs that fit the encoder", "correct them") from error
    windows = beside(own[train], len(leads)) if apart else own[train]
    labels = np.repeat(truth[train], windows.shape[1], axis=0)
    whole, waited = Epochs(model, windows.reshape(-1, *windows.shape[2:]), labels, training, size, rng), 0
    for epoch in range(1, epochs + 1):
        area = score(epoch, whole.fit())
        if area > best:
            best, kept, waited = area, weights(), 0
        elif (waited := waited + 1) >= wanted.patience:
            break
    for part, values in zip((fitted.encoder, fitted.projection), kept, strict=False):
        part.set_weights(values)
    return fitted
