"""Contrastive pretraining: NT-Xent (SimCLR), and CLOCS with its three objectives CMSC, CMLC and CMSMLC.

Chen T, Kornblith S, Norouzi M, Hinton G, A Simple Framework for Contrastive Learning of Visual Representations
(SimCLR), ICML 2020, https://arxiv.org/abs/2002.05709.
Kiyasseh D, Zhu T, Clifton DA, CLOCS: Contrastive Learning of Cardiac Signals Across Space, Time, and Patients,
ICML 2021, https://arxiv.org/abs/2005.13249.

Shapes: B windows in a batch, V views per window, T samples, L leads, N tokens, D width, K width of the projections.

Departures from the papers: the loss of CLOCS is the mean over positive pairs of -log(pair / all pairs of the row), in
which the windows of one patient compete with each other; here it is the mean over rows of -log(sum of positive pairs /
sum of all pairs), which can reach zero. The two are equal if each patient has one window in the batch. CLOCS has no
projection head; here all objectives have SimCLR's, applied to the mean of the encoder's tokens.

With `level="token"` NT-Xent contrasts tokens instead of windows: a positive pair is a token of the encoder on the
augmented window, and the projection of the short signal segment around that token by two dense layers, without position
or context. Zero-masked stretches of the augmented window turn this into masked prediction, as in

Baevski A, Zhou H, Mohamed A, Auli M, wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations,
NeurIPS 2020, https://arxiv.org/abs/2006.11477,

except that visible tokens contribute to the loss, too, and the negatives are all other tokens of the batch. Two encoded
views would not do: tokens would be matched by their position embeddings alone.
"""

from collections.abc import Callable
from dataclasses import asdict

import keras
import numpy as np
from keras import layers, ops

from keras_ecg.layers.normalize import l2_normalize
from keras_ecg.signals.window_augment import WindowAugment, augment_windows

OBJECTIVES = ("nt_xent", "cmsc", "cmlc", "cmsmlc")
LEVELS = ("window", "token")
SEGMENT_TOKENS = 2  # length of the signal segment around a token, in token strides


def views_of(signals, objective: str, augment: Callable | None = None):
    """Split windows into the views that an objective contrasts.

    Args:
        signals: (B, T, L).
        objective: `nt_xent`: two augmentations of the window; `cmsc`: its two halves in time; `cmlc`: its leads;
            `cmsmlc`: the two halves of each lead.
        augment: function that augments views (B V, T, L) independently; required by `nt_xent`.

    Returns:
        Views (B, V, T, L), with T / 2 samples for `cmsc` and `cmsmlc`, and one lead for `cmlc` and `cmsmlc`.

    Raises:
        ValueError: unknown objective, `nt_xent` without augmentation, or `cmlc` with one lead.
    """
    samples, leads = signals.shape[1:]
    halves = ops.reshape(signals[:, : samples // 2 * 2], (-1, 2, samples // 2, leads))
    if objective == "nt_xent":
        if augment is None:
            raise ValueError("nt_xent needs augment: the loss of two equal views has no information")
        views = ops.stack([signals, signals], 1)
    elif objective == "cmsc":
        views = halves
    elif objective == "cmlc":
        if leads < 2:
            raise ValueError("cmlc contrasts leads: windows of at least two leads are needed")
        views = ops.transpose(signals, (0, 2, 1))[..., None]
    elif objective == "cmsmlc":
        views = ops.reshape(ops.transpose(halves, (0, 3, 1, 2)), (-1, 2 * leads, samples // 2, 1))
    else:
        raise ValueError(f"unknown objective {objective!r}: give one of {', '.join(OBJECTIVES)}")
    if augment is None:
        return views
    return ops.reshape(augment(ops.reshape(views, (-1, *views.shape[2:]))), (-1, *views.shape[1:]))


def nt_xent(z1, z2, temperature: float = 0.1):
    """Compute the NT-Xent loss of SimCLR: cross-entropy of the positive view among the other 2 B - 1 views.

    Args:
        z1: embeddings (B, D) of the first views.
        z2: embeddings (B, D) of the second views of the same windows.
        temperature: divisor of the cosine similarities.
    """
    z, batch = l2_normalize(ops.concatenate([z1, z2], 0)), ops.shape(z1)[0]
    logits = ops.matmul(z, ops.transpose(z)) / temperature  # (2 B, 2 B)
    logits -= 1e9 * ops.eye(2 * batch)  # exclude the pair of a view with itself
    same = ops.sum(z * ops.roll(z, batch, 0), -1) / temperature
    return ops.mean(ops.logsumexp(logits, -1) - same)


def clocs_loss(views, patients, temperature: float = 0.1):
    """Compute the loss of CLOCS: windows of the same patient in another view are the positives.

    Args:
        views: embeddings (B, V, D) of at least two views of each window.
        patients: (B,) patient of each window.
        temperature: divisor of the cosine similarities.
    """
    views, count = l2_normalize(views), views.shape[1]
    logits = ops.einsum("ivd,jwd->vwij", views, views) / temperature
    positive = ops.equal(patients[:, None], patients[None])  # (B, B)
    loss = ops.logsumexp(logits, -1) - ops.logsumexp(ops.where(positive, logits, -1e9), -1)  # (V, V, B)
    return ops.sum(ops.mean(loss, -1) * (1 - ops.eye(count))) / (count * (count - 1))


def log_n(patients, objective: str, tokens: int = 1):
    """Return the loss at chance, of equal embeddings: the log of the number of candidates per positive.

    Args:
        patients: (B,) patient of each window.
        objective: one of `OBJECTIVES`.
        tokens: tokens per window that `nt_xent` contrasts; 1 at the level of windows.
    """
    if objective == "nt_xent":
        return ops.log(2.0 * tokens * ops.cast(ops.shape(patients)[0], "float32") - 1)
    positive = ops.cast(ops.equal(patients[:, None], patients[None]), "float32")
    return -ops.mean(ops.log(ops.mean(positive, -1)))


def view_shape(shape: tuple[int, int], objective: str) -> tuple[int, int]:
    """Return the shape (T, L) of a view, the encoder's input, of windows of `shape` (T, L)."""
    samples, leads = shape
    return (
        samples // 2 if objective in ("cmsc", "cmsmlc") else samples,
        1 if objective in ("cmlc", "cmsmlc") else leads,
    )


@keras.saving.register_keras_serializable(package="keras_ecg")
class Contrastive(keras.Model):
    """An encoder with a contrastive pretraining objective.

    Inputs are views (..., T, L), or a dict with `signals` (B, T, L), from which views (B, V, T, L) are made. Outputs
    are a dict of `embeddings` (..., D), the mean tokens, and `projections` (..., K), or (..., N, K) for
    `level="token"`, where the second of two views is not encoded. `fit` takes a dict of `signals` and `subject` (B,)
    int, or of `views` and `subject`, and logs `loss` and `log_n`, the loss at chance.

    Args:
        encoder: model from (B, T, L) to (B, N, D), built for the shape of a view (`view_shape`).
        objective: one of `OBJECTIVES`.
        level: what is contrasted, one of `LEVELS`; `token` requires `nt_xent` and an encoder whose N divides T.
        temperature: divisor of the cosine similarities.
        projection: K, width of both layers of the projection head.
        augment: augmentation of the views made from `signals`; None for none, which `nt_xent` rejects.
        seed: seed of the augmentation; None draws one.
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
            raise ValueError(f"unknown objective {objective!r}: give one of {', '.join(OBJECTIVES)}")
        if level not in LEVELS or (level == "token" and objective != "nt_xent"):
            raise ValueError(f"unknown level {level!r} of {objective}: give window, or token with nt_xent")
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
            self.step = step  # token stride, in samples
            self.moment_hidden = layers.Dense(2 * projection, activation="relu", name="moment_hidden")
            self.moment_project = layers.Dense(projection, name="moment_project", dtype="float32")
            self.moment_hidden.build((None, SEGMENT_TOKENS * step * leads))
            self.moment_project.build((None, 2 * projection))
        self.built = True  # all weights exist, so the model can be saved before the first call
        self.log_n = keras.metrics.Mean("log_n")

    def views(self, signals, seed=None):
        """Make views (B, V, T, L) of signals (B, T, L), augmented with the given seed or the model's generator.

        At the level of tokens the second view is not augmented.
        """
        change = None
        if self.augment:

            def change(views):
                return augment_windows(views, self.generator if seed is None else seed, self.augment)

        if self.level == "token":
            return ops.stack([signals if change is None else change(signals), signals], 1)
        return views_of(signals, self.objective, change)

    def moments(self, signals):
        """Project the segment of signals (B, T, L) around each token: (B, N, K)."""
        samples, around = signals.shape[1], (SEGMENT_TOKENS - 1) * self.step
        padded = ops.pad(signals, ((0, 0), (around // 2, around - around // 2), (0, 0)))
        index = np.arange(0, samples, self.step)[:, None] + np.arange(SEGMENT_TOKENS * self.step)
        segments = ops.take(padded, index, axis=1)  # (B, N, SEGMENT_TOKENS step, L)
        flat = ops.reshape(segments, (-1, len(index), index.shape[1] * signals.shape[-1]))
        return self.moment_project(self.moment_hidden(flat))

    def call(self, inputs, training=None):
        signals = inputs
        if isinstance(inputs, dict):
            signals = inputs["views"] if "views" in inputs else self.views(inputs["signals"])
        outer, second = (-1, *signals.shape[1:-2]), None
        if self.level == "token" and outer[1:]:  # two views, of which only the first is encoded
            outer, signals, second = (-1, 1), signals[:, 0], signals[:, 1]
        x = self.encoder(ops.reshape(signals, (-1, *signals.shape[-2:])), training=training)
        embeddings = ops.mean(ops.cast(x, "float32"), 1)  # (B V, D)
        projections = self.project(self.hidden(embeddings if self.level == "window" else x))
        projections = ops.reshape(projections, (*outer, *projections.shape[1:]))
        if second is not None:
            projections = ops.concatenate([projections, self.moments(second)[:, None]], 1)
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
        """Return the loss at chance of a batch with windows of these patients (B,)."""
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
