"""Piecewise-linear encoding (PLE) of numerical features.

Gorishniy Y et al., On Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS 2022,
https://arxiv.org/abs/2203.05556.

Departure from the paper: the bin edges are quantiles of the standard normal distribution, from -3 to 3, instead of the
training set's, for features that are normalized before. Values beyond the outermost edges are clipped, so that a
patient with RR features outside the training range gets the encoding of the nearest edge.
"""

from statistics import NormalDist

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class PiecewiseLinear(layers.Layer):
    """Encode standardized features (B, ..., R) as (B, ..., R * bins), with values from 0 to 1.

    Args:
        bins: number of bins per feature.
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
