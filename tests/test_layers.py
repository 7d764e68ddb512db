import keras
import numpy as np
import pytest
import scipy.stats
from layer_checks import run_layer_test

from keras_ecg.layers.attention import SelfAttention
from keras_ecg.layers.beat_encoder import BeatEncoder
from keras_ecg.layers.conformer import ConformerBlock, ConvolutionModule
from keras_ecg.layers.feed_forward import HalfFeedForward
from keras_ecg.layers.piecewise_linear import PiecewiseLinear
from keras_ecg.layers.positions import PositionEmbedding
from keras_ecg.layers.similarity import Similarity
from keras_ecg.models.inputs import BeatChannels
from keras_ecg.signals.beats import qrs_difference

TOKENS = {"x": (4, 5, 8)}
BEATS = {"x": (2, 3, 60, 4)}
KEY_BIAS = ("key/bias",)  # shifts all logits of a query equally, so the softmax does not depend on it

LAYERS = {
    "half feed-forward": (HalfFeedForward, {"expansion": 3, "dropout": 0.2}, TOKENS, (4, 5, 8)),
    "convolution module": (ConvolutionModule, {"kernel_size": 5, "dropout": 0.2}, TOKENS, (4, 5, 8)),
    "self-attention": (SelfAttention, {"heads": 2, "dropout": 0.2}, TOKENS, (4, 5, 8)),
    "conformer block": (
        ConformerBlock, {"heads": 2, "kernel_size": 3, "expansion": 3, "dropout": 0.1}, TOKENS, (4, 5, 8),
    ),
    "positions": (PositionEmbedding, {}, TOKENS, (4, 5, 8)),
    "beat encoder": (
        BeatEncoder,
        {
            "width": 6, "bottleneck": 5, "kernel_sizes": (5, 3), "strides": (3, 2), "channel_dropout": 0.1,
            "dropout": 0.2,
        },
        BEATS,
        (2, 3, 5),
    ),
    "similarity": (Similarity, {"token": 2}, {"waveforms": (2, 4, 187, 2)}, (2, 4, 13)),
    "similarity in its record": (
        Similarity, {"token": 2}, {"waveforms": (2, 4, 187, 2), "difference_quantiles": (2, 4)}, (2, 4, 20),
    ),
    "piecewise linear": (PiecewiseLinear, {"bins": 5}, TOKENS, (4, 5, 40)),
    "channels": (BeatChannels, {}, {"scalograms": (2, 3, 4, 60, 1), "waveforms": (2, 3, 60, 2)}, (2, 3, 60, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, tmp_path):
    run_layer_test(*LAYERS[name], tmp_path, unmoved=KEY_BIAS)


def norm(x, gamma, beta):
    mean, spread = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(spread + 1e-3) * gamma + beta


def silu(x):
    return x / (1 + np.exp(-x))


def feed_forward(x, w, name):
    y = norm(x, w[f"{name}/norm/gamma"], w[f"{name}/norm/beta"])
    y = silu(y @ w[f"{name}/wide/kernel"] + w[f"{name}/wide/bias"])
    return x + 0.5 * (y @ w[f"{name}/narrow/kernel"] + w[f"{name}/narrow/bias"])


def attention(x, w):
    y = norm(x, w["attention/norm/gamma"], w["attention/norm/beta"])
    q, k, v = (
        np.einsum("bnd,dhk->bhnk", y, w[f"attention/attend/{n}/kernel"]) + w[f"attention/attend/{n}/bias"][:, None]
        for n in ("query", "key", "value")
    )
    logits = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    share = np.exp(logits - logits.max(-1, keepdims=True))
    seen = share / share.sum(-1, keepdims=True) @ v
    out = "attention/attend/attention_output"
    return x + np.einsum("bhnk,hkd->bnd", seen, w[f"{out}/kernel"]) + w[f"{out}/bias"]


def convolution(x, w):
    y = norm(x, w["convolution/norm/gamma"], w["convolution/norm/beta"])
    value = y @ w["convolution/value/kernel"] + w["convolution/value/bias"]
    y = value / (1 + np.exp(-(y @ w["convolution/gate/kernel"] + w["convolution/gate/bias"])))
    kernel = w["convolution/depthwise/kernel"][..., 0]  # (K, D)
    padded = np.pad(y, ((0, 0), (len(kernel) // 2,) * 2, (0, 0)))
    y = sum(padded[:, k : k + x.shape[1]] * kernel[k] for k in range(len(kernel))) + w["convolution/depthwise/bias"]
    y = silu(norm(y, w["convolution/norm_depthwise/gamma"], w["convolution/norm_depthwise/beta"]))
    return x + y @ w["convolution/project/kernel"] + w["convolution/project/bias"]


def test_conformer_block_equals_numpy_reference():
    keras.utils.set_random_seed(0)
    block = ConformerBlock(heads=2, kernel_size=3, expansion=2, dropout=0.3, name="block")
    x = np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)
    block(x)
    rng = np.random.default_rng(1)
    block.set_weights([rng.normal(size=w.shape) * 0.4 for w in block.weights])  # biases and norms have effect
    w = {v.path.removeprefix("block/"): keras.ops.convert_to_numpy(v) for v in block.weights}
    y = feed_forward(convolution(attention(feed_forward(x, w, "before"), w), w), w, "after")
    y = norm(y, w["norm/gamma"], w["norm/beta"])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(block(x)), y, atol=2e-4)


def test_width_not_divisible_by_heads_is_rejected():
    with pytest.raises(ValueError, match="a width of 8 does not divide into 3 heads"):
        SelfAttention(heads=3).build((None, 5, 8))


def test_positions_distinguish_equal_tokens():
    layer = PositionEmbedding()
    out = keras.ops.convert_to_numpy(layer(np.ones((2, 4, 8), np.float32)))
    assert np.abs(np.diff(out, axis=1)).min(0).max() > 0
    np.testing.assert_array_equal(out[0], out[1])


def test_beat_encoder_encodes_beats_independently():
    keras.utils.set_random_seed(0)
    encoder = BeatEncoder(width=6, bottleneck=5)
    x = np.random.default_rng(0).normal(size=(2, 3, 187, 4)).astype(np.float32)
    out = keras.ops.convert_to_numpy(encoder(x))
    x[:, 1] += 1
    changed = keras.ops.convert_to_numpy(encoder(x))
    np.testing.assert_array_equal(changed[:, [0, 2]], out[:, [0, 2]])
    assert (changed[:, 1] != out[:, 1]).any(1).all()


def test_similarity_of_a_beat_to_the_median_beat_and_to_the_labelled_one():
    rng = np.random.default_rng(0)
    beat = rng.normal(size=(1, 3, 187)).astype(np.float32)
    beat[:, 0] = beat[:, 1]  # the first is the labelled beat itself
    median = beat.copy()
    median[:, 2] = rng.normal(size=187)
    out = keras.ops.convert_to_numpy(Similarity(token=1)(np.stack([beat, beat - median], -1)))[0]
    np.testing.assert_allclose(out[:2, :4], 1, atol=1e-4)  # equal in every part
    expected = np.corrcoef(beat[0, 2], median[0, 2])[0, 1]
    np.testing.assert_allclose(out[2, 0], expected, atol=1e-4)
    np.testing.assert_allclose(out[:2, 4:8], 1, atol=1e-4)
    np.testing.assert_allclose(out[2, 4], np.corrcoef(beat[0, 2], beat[0, 1])[0, 1], atol=1e-4)
    np.testing.assert_allclose(out[:2, 8:11], np.log(0.05), atol=1e-3)  # no difference
    np.testing.assert_allclose(out[:2, 12], 0, atol=1e-4)  # as steep as the median beat


def test_the_size_of_a_difference_relative_to_the_records_quantiles():
    rng = np.random.default_rng(1)
    beats, median = rng.normal(size=(4, 187)).astype(np.float32), rng.normal(size=187).astype(np.float32)
    quantiles = np.array([-2, -1, 0.5, 0.75], np.float32)
    out = Similarity()(np.stack([beats, beats - median], -1)[None], quantiles[None])
    added = keras.ops.convert_to_numpy(out)[0, :, 13:]
    size = np.log((beats - median)[:, 70:115].std(1) / (median.std() + 0.03) + 0.05)
    np.testing.assert_allclose(added[:, :4], size[:, None] - quantiles, atol=1e-5)
    np.testing.assert_allclose(added[:, 4:], np.tile([1, 2.5, 2.75], (4, 1)), atol=1e-5)
    np.testing.assert_allclose(qrs_difference(beats, median), size, atol=1e-5)  # as it is packed


def test_piecewise_linear_encoding_is_fraction_of_each_bin():
    x = np.array([[-9.0, -3.0, -0.2], [0.0, 0.5, 9.0]], np.float32)
    edges = np.r_[-3, scipy.stats.norm.ppf([0.25, 0.5, 0.75]), 3]
    out = keras.ops.convert_to_numpy(PiecewiseLinear(4)(x)).reshape(2, 3, 4)
    for row, column in np.ndindex(2, 3):
        expected = [np.interp(x[row, column], edges[k : k + 2], [0, 1]) for k in range(4)]
        np.testing.assert_allclose(out[row, column], expected, atol=1e-5)
    many = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    full = keras.ops.convert_to_numpy(PiecewiseLinear(8)(many)).sum(1)
    assert unevenness(full[np.abs(many[:, 0]) < 3]) < 0.1  # as many in each bin


def unevenness(values) -> float:
    """Largest relative deviation of a bin of integers from a uniform distribution."""
    counts = np.histogram(values, 8, (0, 8))[0]
    return np.abs(counts / counts.mean() - 1).max()
