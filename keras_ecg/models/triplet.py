"""Triplets: windows of one diagnosis are drawn together, until those of another are further off by a margin.

Schroff F, Kalenichenko D, Philbin J, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015,
https://arxiv.org/abs/1503.03832: semi-hard negatives, which are further off than the positive, but the nearest such.

Shapes: B windows of a batch, T samples, L leads, N tokens, D width, K width of the embeddings, C classes.

Departures from the paper: where an anchor has no negative beyond its positive, the furthest one takes its place, so
that every pair has a part in the loss. A window may have several diagnoses: positives have the same ones, negatives
share none, and windows that share some are neither.
"""

from dataclasses import dataclass

import keras
from keras import layers, ops

from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.fewer_leads import token_rows
from keras_ecg.models.fewer_patches import with_patch_dropout
from keras_ecg.models.window_classifier import freeze

FAR = 1e9


@dataclass(frozen=True)
class TripletConfig:
    """Knobs of an encoder under triplets."""

    weights: str = ""  # a pretrained encoder: a name under weights/, or a run folder
    frozen_stages: int = 0  # from the input on; -1 freezes the encoder
    patch_dropout: float = 0.0  # share of each lead's patches that training leaves out, of an encoder that has them


def pairs_of(labels):
    """Which windows of a batch are positives and negatives of each other: two (B, B) bool.

    Args:
        labels: classes (B,) int, or (B, C) that are one where a window has the class. A window without any has no
            negatives, for nothing says what it is not.
    """
    others = ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool"))
    if len(labels.shape) == 1:
        same = ops.equal(labels[:, None], labels[None])
        return ops.logical_and(same, others), ops.logical_not(same)
    labels = ops.cast(labels, "float32")
    shared, sizes = ops.matmul(labels, ops.transpose(labels)), ops.sum(labels, 1)
    same = ops.logical_and(ops.equal(shared, sizes[:, None]), ops.equal(shared, sizes[None]))
    apart = ops.logical_and(ops.equal(shared, 0), ops.logical_and(sizes[:, None] > 0, sizes[None] > 0))
    return ops.logical_and(same, others), apart


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
    """A pretrained encoder under the triplet loss: signals (B, T, L) to embeddings (B, K) of length one.

    It is fitted to signals and labels, as `pairs_of` wants them. What is drawn together is the mean token; of an
    encoder of single leads' tokens the mean of each lead, side by side.

    Args:
        encoder: (B, T, L) to (B, N, D).
        projection: K, of a linear layer on the means; 0 for none, K = D times the leads that have tokens of their own.
        margin: that negatives are to be further off.
    """

    def __init__(self, encoder: keras.Model, projection: int = 128, margin: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.projection, self.margin = encoder, projection, margin
        rows = token_rows(encoder)
        self.means = RowMeans(rows, name="means", dtype="float32")
        self.project = layers.Dense(projection, use_bias=False, name="project", dtype="float32") if projection else None
        if self.project:
            self.project.build((None, rows * encoder.output_shape[-1]))
        self.built = True

    def call(self, signals, training=None):
        x = self.means(ops.cast(self.encoder(signals, training=training), "float32"))
        return ops.normalize(self.project(x) if self.project else x, axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return triplet_loss(y_pred, y, self.margin)

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "projection": self.projection,
            "margin": self.margin,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})


def build_triplet(
    encoder: keras.Model, config: TripletConfig, projection: int = 0, margin: float = 0.2, seed: int | None = None
) -> Triplet:
    """A pretrained encoder, whose weights will change, under the triplet loss.

    Args:
        encoder: (B, T, L) to (B, N, D).
        config: what of it learns, and on which patches.
        projection: as `Triplet` has it.
        margin: likewise.
        seed: of the patches that are left out.

    Raises:
        ValueError: too many frozen stages, or no patches to leave out.
    """
    encoder.trainable = True
    freeze(encoder, config.frozen_stages)
    if config.patch_dropout:
        encoder = with_patch_dropout(encoder, config.patch_dropout, seed)
    return Triplet(encoder, projection, margin)
