"""Triplet loss: embeddings of windows that share a diagnosis are closer than those of other windows, by a margin.

Schroff F, Kalenichenko D, Philbin J, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015,
https://arxiv.org/abs/1503.03832: semi-hard negatives, the nearest ones that are further from the anchor than the
positive, and a linear projection to the embedding. The projection is trained first, then the projection and the encoder
together: Kumar A et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022,
https://arxiv.org/abs/2202.10054.

Shapes: B windows in a batch, T samples, L leads, N tokens, D width, R rows (leads) of tokens, K width of the
embeddings, C classes.

Departures from the paper: if an anchor has no negative further away than the positive, the furthest negative is used,
so that every pair contributes to the loss. A window may have several diagnoses: positives share at least one, negatives
none.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from sklearn.decomposition import PCA

from keras_ecg.layers.normalize import l2_normalize
from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.recording_classifier import set_trainable, tokens_of

FAR = 1e9


@dataclass(frozen=True)
class TripletConfig:
    """Hyperparameters of training an encoder with the triplet loss."""

    weights: str = ""  # pretrained encoder: a preset or a run folder
    frozen_stages: int = 0  # counted from the input; -1 freezes the encoder and trains the projection only
    patch_dropout: float = 0.0  # fraction of each lead's patches dropped in training, for encoders of patches
    projection_dropout: float = 0.7  # of the mean tokens, before the projection
    projection_epochs: int = 60  # of training the projection only
    projection_learning_rate: float = 1e-3  # of training the projection only


def pairs_of(labels):
    """Find the positive and the negative pairs of windows in a batch: two matrices (B, B) bool.

    Args:
        labels: classes (B,) int, or (B, C) zeros and ones for several classes per window. A window without any class is
            in no pair, as its diagnosis is unknown.
    """
    others = ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool"))
    if len(labels.shape) == 1:
        same = ops.equal(labels[:, None], labels[None])
        return ops.logical_and(same, others), ops.logical_not(same)
    labels = ops.cast(labels, "float32")
    shared, known = ops.matmul(labels, ops.transpose(labels)) > 0, ops.sum(labels, 1) > 0
    different = ops.logical_and(ops.logical_not(shared), ops.logical_and(known[:, None], known[None]))
    return ops.logical_and(shared, others), different


def triplet_loss(embeddings, labels, margin: float = 0.2):
    """Compute the triplet loss: mean over pairs of max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Distances d are squared Euclidean distances of l2-normalized embeddings; negatives are semi-hard. Pairs whose anchor
    has no negative in the batch are excluded; without any pair the loss is zero.

    Args:
        embeddings: (B, K), normalized here.
        labels: labels as in `pairs_of`.
        margin: distance by which negatives should be further away than positives.
    """
    z = l2_normalize(embeddings)
    distance = 2 - 2 * ops.matmul(z, ops.transpose(z))  # (B, B)
    positive, negative = pairs_of(labels)
    # anchor, positive, negative: (B, B, B)
    beyond = ops.logical_and(negative[:, None], distance[:, None] > distance[:, :, None])
    nearest = ops.min(ops.where(beyond, distance[:, None], FAR), -1)  # (B, B), nearest negative beyond the positive
    furthest = ops.max(ops.where(negative, distance, -FAR), -1, keepdims=True)  # (B, 1)
    hard = ops.where(nearest < FAR, nearest, furthest)
    counted = ops.cast(ops.logical_and(positive, ops.any(negative, -1, keepdims=True)), "float32")
    losses = ops.maximum(distance - hard + margin, 0) * counted
    return ops.sum(losses) / ops.maximum(ops.sum(counted), 1.0)


@keras.saving.register_keras_serializable(package="keras_ecg")
class Triplet(keras.Model):
    """A model trained with the triplet loss, with l2-normalized outputs: (B, ...) to (B, K).

    `fit` takes inputs and labels as in `pairs_of`.

    Args:
        body: model from (B, ...) to (B, K).
        margin: distance by which negatives should be further away than positives.
    """

    def __init__(self, body: keras.Model, margin: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.body, self.margin = body, margin
        self.built = True

    def call(self, inputs, training=None):
        return l2_normalize(self.body(inputs, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return triplet_loss(y_pred, y, self.margin)

    def get_config(self):
        body = keras.saving.serialize_keras_object(self.body)
        return {**super().get_config(), "body": body, "margin": self.margin}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "body": keras.saving.deserialize_keras_object(config["body"])})


def build_projection(means: np.ndarray, size: int, dropout: float, seed: int | None = None) -> keras.Model:
    """Build a linear projection of standardized mean tokens, initialised by PCA: (B, R D) to (B, K).

    Args:
        means: mean tokens (n, R D) of the training set, for standardization and PCA.
        size: K; at most the number of principal components.
        dropout: dropout rate of the means in training.
        seed: seed of the dropout.
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
    """Build a triplet model on a pretrained encoder, which is trained in place: signals (B, T, L) to (B, K).

    The embedding is the projection of the mean token; if tokens belong to single leads, of the concatenated mean tokens
    of all leads.

    Args:
        encoder: model from (B, T, L) or (B, T, 1) to (B, N, D).
        leads: L.
        config: hyperparameters `frozen_stages` and `patch_dropout`.
        projection: projection of the mean tokens; None for the identity.
        margin: distance by which negatives should be further away than positives.
        seed: seed of the patch dropout.

    Raises:
        ValueError: more frozen stages than there are, or patch dropout for an encoder without patches.
    """
    encoder = set_trainable(encoder, config.frozen_stages, config.patch_dropout, seed)
    signals = keras.Input((encoder.input_shape[1], leads), name="signals")
    tokens, rows = tokens_of(encoder, signals)
    means = RowMeans(rows, name="means", dtype="float32")(tokens)
    return Triplet(keras.Model(signals, projection(means) if projection else means), margin)
