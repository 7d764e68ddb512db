"""Rows of single leads, cross-pattern attention, block masks, and encoders of fewer leads."""

import keras
import numpy as np
import pytest
from layer_checks import run_layer_test

from keras_ecg.layers.attention import RotarySelfAttention, SelfAttention, cross_pattern
from keras_ecg.layers.leads import (
    DropSeparators,
    JoinLeads,
    LeadEmbedding,
    Separators,
    fold_leads,
    join_leads,
    split_leads,
    unfold_leads,
)
from keras_ecg.layers.masking import RandomMasking
from keras_ecg.layers.transformer import Transformer
from keras_ecg.models.encoders import build_encoder as build_convolutions
from keras_ecg.models.fewer_leads import with_leads
from keras_ecg.models.mae import MAEConfig
from keras_ecg.models.mae import build_encoder as build_mae

LAYERS = {
    "lead embedding": (LeadEmbedding, {"known": 3, "leads": (2, 0)}, {"x": (4, 5, 8)}, (4, 5, 8)),
    "separators": (Separators, {}, {"x": (4, 5, 8)}, (4, 7, 8)),
    "cross-pattern transformer": (
        Transformer, {"depth": 1, "heads": 2, "rotary": True, "rows": 2, "cross": True}, {"x": (3, 6, 8)}, (3, 6, 8),
    ),
}  # fmt: skip


def array(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, tmp_path):
    run_layer_test(*LAYERS[name], tmp_path, unmoved=("key/bias",))


def test_folding_and_joining_of_leads_are_invertible():
    x = normal(2, 6, 3)
    rows = array(fold_leads(x))
    assert rows.shape == (6, 6, 1)
    np.testing.assert_array_equal(rows[4, :, 0], x[1, :, 1])  # the second window's second lead
    np.testing.assert_array_equal(array(unfold_leads(rows, 3)), x)
    sequence = array(join_leads(rows, 3))
    np.testing.assert_array_equal(sequence[1, :, 0], x[1].T.ravel())  # one lead after the other
    np.testing.assert_array_equal(array(split_leads(sequence, 3)), rows)
    np.testing.assert_array_equal(array(JoinLeads(3)(rows)), sequence)


def test_separators_are_added_at_both_ends_and_dropped():
    x, layer = normal(6, 4, 8), Separators()
    out = array(layer(x))
    np.testing.assert_array_equal(out[:, 1:-1], x)
    for end, place in enumerate((0, -1)):
        np.testing.assert_array_equal(out[:, place], np.tile(array(layer.tokens)[end], (6, 1)))
    np.testing.assert_array_equal(array(DropSeparators(3)(join_leads(out, 3))), array(join_leads(x, 3)))


def test_lead_embedding_depends_on_the_lead_not_its_position():
    x, every = normal(6, 4, 8), LeadEmbedding(3)
    added = array(every(x)) - x
    table = array(every.table)[:, 0]
    np.testing.assert_allclose(added, np.tile(table[[0, 1, 2, 0, 1, 2], None], (1, 4, 1)), atol=1e-6)
    some = LeadEmbedding(3, (2, 0))
    some.build(x.shape)
    some.set_weights(every.get_weights())
    np.testing.assert_allclose(array(some(x)) - x, np.tile(table[[2, 0, 2, 0, 2, 0], None], (1, 4, 1)), atol=1e-6)
    for leads in ((), (3,)):
        with pytest.raises(ValueError, match="an embedding of 3 leads"):
            LeadEmbedding(3, leads)


def test_cross_pattern_is_row_or_column():
    # two leads of three times: a0 a1 a2 b0 b1 b2
    assert cross_pattern(2, 3).astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 1, 0],
        [1, 1, 1, 0, 0, 1],
        [1, 0, 0, 1, 1, 1],
        [0, 1, 0, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
    ]
    table = cross_pattern(8, 50)
    assert (table == table.T).all() and (table.sum(1) == 50 + 8 - 1).all()


@pytest.mark.parametrize("kind", [SelfAttention, RotarySelfAttention])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_masked_tokens_do_not_affect_attention(kind, dtype):
    keras.utils.set_random_seed(0)
    layer, x = kind(2, 0.0, dtype=dtype), normal(1, 6, 8)
    out = array(layer(x, rows=2)).astype("f4")
    heard = np.zeros((6, 6), bool)
    for k in range(6):
        moved = x.copy()
        moved[0, k] = normal(8, seed=9 + k)
        heard[:, k] = np.abs(array(layer(moved, rows=2)).astype("f4") - out).max((0, 2)) > 0
    np.testing.assert_array_equal(heard, cross_pattern(2, 3))
    np.testing.assert_allclose(array(layer(x, rows=1)), array(layer(x)), atol=1e-3)  # a single row is full attention


def test_cross_pattern_attention_equals_masked_attention():
    keras.utils.set_random_seed(0)
    layer, x = RotarySelfAttention(2, 0.0), normal(3, 12, 8)
    out = array(layer(x, np.zeros(12), rows=3)) - x
    normed, (kernel, bias) = array(layer.norm(x)), (array(w) for w in layer.query_key_value.weights)
    query, key, value = np.split((normed @ kernel + bias).reshape(3, 12, 6, 4).swapaxes(1, 2), 3, axis=1)
    scores = np.exp(query @ key.swapaxes(2, 3) / 2) * cross_pattern(3, 4)
    heard = (scores / scores.sum(-1, keepdims=True)) @ value
    kernel, bias = (array(w) for w in layer.output_projection.weights)
    np.testing.assert_allclose(heard.swapaxes(1, 2).reshape(3, 12, 8) @ kernel + bias, out, atol=1e-5)


def test_positions_restart_in_each_row():
    keras.utils.set_random_seed(0)
    layer, x = Transformer(1, 2, rotary=True, rows=2), normal(2, 6, 8)
    out = array(layer(x))
    np.testing.assert_allclose(out, array(layer(x, np.array([0, 1, 2, 0, 1, 2]))), atol=1e-6)
    assert np.abs(out - array(layer(x, np.arange(6)))).max() > 1e-3
    with pytest.raises(ValueError, match="5 tokens do not divide into 2 rows"):
        layer(x[:, :5])


def runs(mask) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_masked_blocks_are_complete_except_one():
    mask = array(RandomMasking(0.6, seed=1, block=5)(np.zeros((2000, 50, 1), np.float32))[1])
    np.testing.assert_array_equal(mask.sum(1), 30)
    inner = [runs(row)[1:-1] for row in mask]  # without the ends
    assert np.mean([sum(length < 5 for length in row) <= 1 for row in inner]) == 1  # the truncated block
    single = array(RandomMasking(0.6, seed=1)(np.zeros((2000, 50, 1), np.float32))[1])
    assert np.mean([len(runs(row)) for row in mask]) < 0.5 * np.mean([len(runs(row)) for row in single])
    share = mask.mean(0)
    assert np.abs(share - 0.6).max() < 0.06  # an end is hidden about as often as the middle


def test_missing_lead_equals_zeros_for_convolutions():
    keras.utils.set_random_seed(0)
    options = {"width": 8, "kernel_sizes": (5, 3), "strides": (2, 2), "blocks": 1, "heads": 2}
    encoder = build_convolutions("cnn_transformer", (40, 3), options)
    x = normal(2, 40, 3)
    without = x.copy()
    without[..., 1] = 0
    np.testing.assert_allclose(array(with_leads(encoder, [2, 0])(x[..., [2, 0]])), array(encoder(without)), atol=1e-5)
    np.testing.assert_allclose(array(with_leads(encoder, [2, 0, 1])(x[..., [2, 0, 1]])), array(encoder(x)), atol=1e-5)
    assert np.abs(array(encoder(x)) - array(encoder(without))).max() > 1e-2


def test_unsupported_leads_are_rejected():
    mixing = build_mae((20, 3), MAEConfig(width=8, depth=1, heads=2, patch_samples=5))
    for leads in ([0, 1], [1, 0, 2]):
        with pytest.raises(ValueError, match="give all 3, in their order"):
            with_leads(mixing, leads)
    for leads in ([], [3], [1, 1]):
        with pytest.raises(ValueError, match="of the 3 leads of the encoder"):
            with_leads(mixing, leads)
