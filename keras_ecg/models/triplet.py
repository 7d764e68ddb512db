"""Triplets: windows that share a diagnosis are drawn together, until those of others are further off by a margin.

Schroff F, Kalenichenko D, Philbin J, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015,
https://arxiv.org/abs/1503.03832: semi-hard negatives, which are further off than the positive, but the nearest such; a
linear layer makes the embedding. It is trained alone first, and the encoder with it then: Kumar A et al., Fine-Tuning
can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022, https://arxiv.org/abs/2202.10054.

Shapes: B windows of a batch, T samples, L leads, N tokens, D width, R rows of tokens, K width of the embeddings, C
classes.

Departures from the paper: where an anchor has no negative beyond its positive, the furthest one takes its place, so
that every pair has a part in the loss. A window may have several diagnoses: positives share one, negatives none.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from sklearn.decomposition import PCA

from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.recording_classifier import learning, tokens_of

FAR = 1e9


@dataclass(frozen=True)
class TripletConfig:
    """Hyperparameters of an encoder under triplets."""

    weights: str = ""  # a pretrained encoder: a preset, or a run folder
    frozen_stages: int = 0  # from the input on; -1 freezes the encoder: the projection learns alone, in a minute
    patch_dropout: float = 0.0  # share of each lead's patches that training leaves out, of an encoder that has them
    projection_dropout: float = 0.7  # of the mean tokens, before the projection
    projection_epochs: int = 60  # of the projection alone
    projection_learning_rate: float = 1e-3  # then


def pairs_of(labels):
    """Which windows of a batch are positives and negatives of each other: two (B, B) bool.

    Args:
        labels: classes (B,) int, or (B, C) that are one where a window has the class. A window without any has neither
            positives nor negatives, for nothing says what it is or is not.
    """
    others = ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool"))
    if len(labels.shape) == 1:
        same = ops.equal(labels[:, None], labels[None])
        return ops.logical_and(same, others), ops.logical_not(same)
    labels = ops.cast(labels, "float32")
    shared, known = ops.matmul(labels, ops.transpose(labels)) > 0, ops.sum(labels, 1) > 0
    apart = ops.logical_and(ops.logical_not(shared), ops.logical_and(known[:, None], known[None]))
    return ops.logical_and(shared, others), apart


def triplet_loss(embeddings, labels, margin: float = 0.2):
    """The mean over pairs of anchor and positive of max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Distances d are squared, of embeddings of length one; the negative is the semi-hard one. A pair whose anchor has no
    negative in the batch does not count; without any pair the loss is zero.

    Args:
        embeddings: (B, K), of any length.
        labels: as `pairs_of` wants them.
        margin: that negatives are to be further off.
    """
    z = ops.normalize(ops.cast(embeddings, "float32"), axis=-1)
    distance = 2 - 2 * ops.matmul(z, ops.transpose(z))  # (B, B)
    positive, negative = pairs_of(labels)
    beyond = ops.logical_and(negative[:, None], distance[:, None] > distance[:, :, None])  # (B, B, B): a, p, n
    nearest = ops.min(ops.where(beyond, distance[:, None], FAR), -1)  # (B, B): the nearest negative beyond p
    furthest = ops.max(ops.where(negative, distance, -FAR), -1, keepdims=True)  # (B, 1)
    hard = ops.where(nearest < FAR, nearest, furthest)
    counted = ops.cast(ops.logical_and(positive, ops.any(negative, -1, keepdims=True)), "float32")
    losses = ops.maximum(distance - hard + margin, 0) * counted
    return ops.sum(losses) / ops.maximum(ops.sum(counted), 1.0)


@keras.saving.register_keras_serializable(package="keras_ecg")
class Triplet(keras.Model):
    """A model under the triplet loss, whose outputs it scales to a length of one: (B, ...) to (B, K).

    It is fitted to inputs and labels, as `pairs_of` wants them.

    Args:
        body: (B, ...) to (B, K).
        margin: that negatives are to be further off.
    """

    def __init__(self, body: keras.Model, margin: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.body, self.margin = body, margin
        self.built = True

    def call(self, inputs, training=None):
        return ops.normalize(ops.cast(self.body(inputs, training=training), "float32"), axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return triplet_loss(y_pred, y, self.margin)

    def get_config(self):
        body = keras.saving.serialize_keras_object(self.body)
        return {**super().get_config(), "body": body, "margin": self.margin}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "body": keras.saving.deserialize_keras_object(config["body"])})


def build_projection(means: np.ndarray, size: int, dropout: float, seed: int | None = None) -> keras.Model:
    """A linear layer on standardized mean tokens: (B, R D) to (B, K). It begins as their principal components.

    Args:
        means: (n, R D) of training, which set the scale and the start.
        size: K, but no more than there are.
        dropout: of the means, while training.
        seed: of the dropout.
    """
    means = means.astype(np.float32)
    standard = layers.Normalization(name="standard", dtype="float32")
    standard.adapt(means)
    scaled = ops.convert_to_numpy(standard(means))
    found = PCA(min(size, *means.shape), svd_solver="full").fit(scaled).components_
    inputs = keras.Input(means.shape[1:], name="means")
    x = layers.Dropout(dropout, seed=seed, name="drop")(standard(inputs))
    project = layers.Dense(len(found), use_bias=False, name="project", dtype="float32")
    model = keras.Model(inputs, project(x), name="projection")
    project.set_weights([found.T])
    return model


def build_triplet(
    encoder: keras.Model,
    leads: int,
    config: TripletConfig,
    projection: keras.Model | None = None,
    margin: float = 0.2,
    seed: int | None = None,
) -> Triplet:
    """A pretrained encoder, whose weights will change, under the triplet loss: signals (B, T, L) to (B, K).

    What is drawn together is the projection of the mean token; of an encoder of single leads' tokens, or of one lead,
    that of the means of each lead, side by side.

    Args:
        encoder: (B, T, L) or (B, T, 1) to (B, N, D).
        leads: L.
        config: what of it learns, and on which patches.
        projection: of the means; None: K is their own width.
        margin: that negatives are to be further off.
        seed: of the patches that are left out.

    Raises:
        ValueError: too many frozen stages, or no patches to leave out.
    """
    encoder = learning(encoder, config.frozen_stages, config.patch_dropout, seed)
    signals = keras.Input((encoder.input_shape[1], leads), name="signals")
    tokens, rows = tokens_of(encoder, signals)
    means = RowMeans(rows, name="means", dtype="float32")(tokens)
    return Triplet(keras.Model(signals, projection(means) if projection else means), margin)
