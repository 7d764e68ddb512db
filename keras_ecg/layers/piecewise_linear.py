"""Piecewise linear encoding of numbers: each becomes how far it has come through each of a row of bins.

Gorishniy Y et al., On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS 2022,
https://arxiv.org/abs/2203.05556.
"""

from statistics import NormalDist

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class PiecewiseLinear(layers.Layer):
    """Standardized numbers (B, ..., R) to (B, ..., R * bins), each within 0 and 1.

    The paper takes the edges of bins from the training set's quantiles; here they are those of the normal distribution,
    from -3 to 3, and a normalization stands before. What lies beyond the last edge counts as the edge: a patient whose
    rhythm is unlike any in training is no further off than the oddest of them.

    Args:
        bins: to each number.
    """

    def __init__(self, bins: int = 16, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins
        self.edges = [-3.0, *(NormalDist().inv_cdf(k / bins) for k in range(1, bins)), 3.0]

    def call(self, x):
        start, stop = (ops.convert_to_tensor(edges, x.dtype) for edges in (self.edges[:-1], self.edges[1:]))
        share = ops.clip((x[..., None] - start) / (stop - start), 0.0, 1.0)
        return ops.reshape(share, (-1, *x.shape[1:-1], x.shape[-1] * self.bins))

    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-1] * self.bins)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}
