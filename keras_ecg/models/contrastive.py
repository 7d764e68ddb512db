"""Contrastive pretraining: NT-Xent, and the three forms of CLOCS.

Chen T, Kornblith S, Norouzi M, Hinton G, A Simple Framework for Contrastive Learning of Visual Representations
(SimCLR), ICML 2020, https://arxiv.org/abs/2002.05709.
Kiyasseh D, Zhu T, Clifton DA, CLOCS: Contrastive Learning of Cardiac Signals Across Space, Time, and Patients,
ICML 2021, https://arxiv.org/abs/2005.13249.

Shapes: B windows of a batch, V views of a window, T samples, L leads, N tokens, D width, K width of the projections.

Departures from the papers: CLOCS takes the mean over positive pairs of -log(pair / all pairs of the row), so that a
patient's windows compete with each other; here it is the mean over rows of -log(all positive pairs / all pairs), which
is zero where each patient's windows are alike. The two are equal where each patient has one window in the batch. CLOCS
has no projection head; here all objectives have SimCLR's, and the encoder's tokens are averaged before it.

At the level of tokens NT-Xent asks which moment of the batch a token stands for: one view is the augmented window, seen
by the encoder, the other the bare stretch of signal around each token, seen by two dense layers that know neither its
place nor its neighbours. Stretches of zeros in the first view make of it a cloze, as in

Baevski A, Zhou H, Mohamed A, Auli M, wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations,
NeurIPS 2020, https://arxiv.org/abs/2006.11477,

but visible tokens count as well, and the negatives are all other moments of the batch. With two augmented views of the
encoder in their place, tokens find each other by their positions alone.
"""

from collections.abc import Callable
from dataclasses import asdict

import keras
import numpy as np
from keras import layers, ops

from keras_ecg.signals.window_augment import WindowAugment, augment_windows

OBJECTIVES = ("nt_xent", "cmsc", "cmlc", "cmsmlc")
LEVELS = ("window", "token")
STRETCH = 2  # of signal around a token, in steps from token to token


def views_of(signals, objective: str, augment: Callable | None = None):
    """The views that an objective contrasts.

    Args:
        signals: (B, T, L).
        objective: `nt_xent`: the window twice, each time augmented; `cmsc`: its halves in time; `cmlc`: its leads;
            `cmsmlc`: the halves of its leads.
        augment: changes views (B V, T, L), each on its own; `nt_xent` needs it.

    Returns:
        (B, V, T, L), with T / 2 samples for halves and one lead for leads.

    Raises:
        ValueError: no such objective, `nt_xent` without augmentation, or `cmlc` of one lead.
    """
    samples, leads = signals.shape[1:]
    halves = ops.reshape(signals[:, : samples // 2 * 2], (-1, 2, samples // 2, leads))
    if objective == "nt_xent":
        if augment is None:
            raise ValueError("nt_xent needs augment: two equal views teach nothing")
        views = ops.stack([signals, signals], 1)
    elif objective == "cmsc":
        views = halves
    elif objective == "cmlc":
        if leads < 2:
            raise ValueError("cmlc contrasts leads, and there is one")
        views = ops.transpose(signals, (0, 2, 1))[..., None]
    elif objective == "cmsmlc":
        views = ops.reshape(ops.transpose(halves, (0, 3, 1, 2)), (-1, 2 * leads, samples // 2, 1))
    else:
        raise ValueError(f"no objective {objective!r}: one of {', '.join(OBJECTIVES)}")
    if augment is None:
        return views
    return ops.reshape(augment(ops.reshape(views, (-1, *views.shape[2:]))), (-1, *views.shape[1:]))


def _normalized(embeddings):
    return ops.normalize(ops.cast(embeddings, "float32"), axis=-1)


def nt_xent(z1, z2, temperature: float = 0.1):
    """SimCLR's loss: which of the other 2 B - 1 views is of the same window.

    Args:
        z1: (B, D).
        z2: (B, D), of the same windows.
        temperature: divides the cosines.
    """
    z, batch = _normalized(ops.concatenate([z1, z2], 0)), ops.shape(z1)[0]
    logits = ops.matmul(z, ops.transpose(z)) / temperature  # (2 B, 2 B)
    logits -= 1e9 * ops.eye(2 * batch)  # a view is no candidate for itself
    same = ops.sum(z * ops.roll(z, batch, 0), -1) / temperature
    return ops.mean(ops.logsumexp(logits, -1) - same)


def clocs_loss(views, patients, temperature: float = 0.1):
    """The loss of CLOCS: which windows, seen in another view, are of the same patient.

    Args:
        views: embeddings (B, V, D) of at least two views of each window.
        patients: (B,), equal where windows are of one patient.
        temperature: divides the cosines.
    """
    views, count = _normalized(views), views.shape[1]
    logits = ops.einsum("ivd,jwd->vwij", views, views) / temperature
    positive = ops.equal(patients[:, None], patients[None])  # (B, B)
    loss = ops.logsumexp(logits, -1) - ops.logsumexp(ops.where(positive, logits, -1e9), -1)  # (V, V, B)
    return ops.sum(ops.mean(loss, -1) * (1 - ops.eye(count))) / (count * (count - 1))


def log_n(patients, objective: str, tokens: int = 1):
    """The loss of embeddings that are all equal: the log of how many candidates there are for each positive.

    Args:
        patients: (B,).
        objective: one of `OBJECTIVES`.
        tokens: of each window that `nt_xent` tells apart.
    """
    if objective == "nt_xent":
        return ops.log(2.0 * tokens * ops.cast(ops.shape(patients)[0], "float32") - 1)
    positive = ops.cast(ops.equal(patients[:, None], patients[None]), "float32")
    return -ops.mean(ops.log(ops.mean(positive, -1)))


def view_shape(shape: tuple[int, int], objective: str) -> tuple[int, int]:
    """The shape (T, L) of a view of windows of `shape`: what the encoder takes."""
    samples, leads = shape
    return (
        samples // 2 if objective in ("cmsc", "cmsmlc") else samples,
        1 if objective in ("cmlc", "cmsmlc") else leads,
    )


@keras.saving.register_keras_serializable(package="keras_ecg")
class Contrastive(keras.Model):
    """An encoder under a contrastive objective.

    Called with views (..., T, L), or with a dict of `signals` (B, T, L) from which it makes its views (B, V, T, L), it
    returns a dict: `embeddings` (..., D), the mean of the tokens, and `projections` (..., K), or (..., N, K) at the
    level of tokens, where of two views the second is never encoded. It is fitted to a dict of `signals` and `subject`
    (B,) int, or of ready `views` and `subject`; it logs `loss`, and `log_n`, which is the loss at chance.

    Args:
        encoder: (B, T, L) to (B, N, D), built for the shape of a view (`view_shape`).
        objective: one of `OBJECTIVES`.
        level: of what is told apart, one of `LEVELS`; `nt_xent` alone knows tokens, of an encoder whose N divides T.
        temperature: divides the cosines.
        projection: K, of both layers of the projection head.
        augment: of views that are made here; None leaves them as they are, which `nt_xent` rejects.
        seed: of the augmentation; None draws one.
    """

    def __init__(
        self,
        encoder: keras.Model,
        objective: str = "nt_xent",
        level: str = "window",
        temperature: float = 0.1,
        projection: int = 128,
        augment: WindowAugment | None = None,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if objective not in OBJECTIVES:
            raise ValueError(f"no objective {objective!r}: one of {', '.join(OBJECTIVES)}")
        if level not in LEVELS or (level == "token" and objective != "nt_xent"):
            raise ValueError(f"no level {level!r} of {objective}: window, or of nt_xent token")
        self.encoder, self.objective, self.level = encoder, objective, level
        self.temperature, self.projection = temperature, projection
        self.augment, self.seed = augment, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.hidden = layers.Dense(projection, activation="relu", name="hidden")
        self.project = layers.Dense(projection, name="project", dtype="float32")
        self.hidden.build((None, encoder.output_shape[-1]))
        self.project.build((None, projection))
        if level == "token":
            samples, leads = encoder.input_shape[1:]
            step, rest = divmod(samples, encoder.output_shape[1])
            if rest:
                raise ValueError(f"level token: {samples} samples do not divide into {encoder.output_shape[1]} tokens")
            self.step = step  # samples from token to token
            self.moment_hidden = layers.Dense(2 * projection, activation="relu", name="moment_hidden")
            self.moment_project = layers.Dense(projection, name="moment_project", dtype="float32")
            self.moment_hidden.build((None, STRETCH * step * leads))
            self.moment_project.build((None, 2 * projection))
        self.built = True  # it can be saved before it is called
        self.log_n = keras.metrics.Mean("log_n")

    def views(self, signals, seed=None):
        """Views (B, V, T, L) of signals (B, T, L), augmented by the model's own seed or the given one.

        At the level of tokens the second one is left as it is.
        """
        change = None
        if self.augment:

            def change(views):
                return augment_windows(views, self.generator if seed is None else seed, self.augment)

        if self.level == "token":
            return ops.stack([signals if change is None else change(signals), signals], 1)
        return views_of(signals, self.objective, change)

    def moments(self, signals):
        """Projections (B, N, K) of the stretch of signals (B, T, L) around each token."""
        samples, around = signals.shape[1], (STRETCH - 1) * self.step
        padded = ops.pad(signals, ((0, 0), (around // 2, around - around // 2), (0, 0)))
        index = np.arange(0, samples, self.step)[:, None] + np.arange(STRETCH * self.step)
        stretches = ops.take(padded, index, axis=1)  # (B, N, STRETCH step, L)
        flat = ops.reshape(stretches, (-1, len(index), index.shape[1] * signals.shape[-1]))
        return self.moment_project(self.moment_hidden(flat))

    def call(self, inputs, training=None):
        signals = inputs
        if isinstance(inputs, dict):
            signals = inputs["views"] if "views" in inputs else self.views(inputs["signals"])
        outer, bare = (-1, *signals.shape[1:-2]), None
        if self.level == "token" and outer[1:]:  # two views, of which the encoder sees the first
            outer, signals, bare = (-1, 1), signals[:, 0], signals[:, 1]
        x = self.encoder(ops.reshape(signals, (-1, *signals.shape[-2:])), training=training)
        embeddings = ops.mean(ops.cast(x, "float32"), 1)  # (B V, D)
        told = embeddings if self.level == "window" else x
        projections = self.project(self.hidden(told))
        projections = ops.reshape(projections, (*outer, *projections.shape[1:]))
        if bare is not None:
            projections = ops.concatenate([projections, self.moments(bare)[:, None]], 1)
        return {
            "embeddings": ops.reshape(embeddings, (*outer, embeddings.shape[-1])),
            "projections": projections,
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        z = y_pred["projections"]  # (B, V, K), or (B, V, N, K)
        if self.objective == "nt_xent":
            z1, z2 = (ops.reshape(z[:, v], (-1, self.projection)) for v in range(2))
            return nt_xent(z1, z2, self.temperature)
        return clocs_loss(z, x["subject"], self.temperature)

    def chance(self, patients):
        """The loss of a batch of windows of these patients (B,) whose embeddings are all equal."""
        return log_n(patients, self.objective, 1 if self.level == "window" else self.encoder.output_shape[1])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.log_n.update_state(self.chance(x["subject"]))
        return self.get_metrics_result()

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "objective": self.objective,
            "level": self.level,
            "temperature": self.temperature,
            "projection": self.projection,
            "augment": None if self.augment is None else asdict(self.augment),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        augment = None if config["augment"] is None else WindowAugment(**config["augment"])
        return cls(**{**config, "encoder": encoder, "augment": augment})
