"""ECG-JEPA: predicts a target encoder's tokens of masked patches from the visible patches.

Kim S, Learning General Representation of 12-Lead Electrocardiogram With a Joint-Embedding Predictive Architecture,
2024, https://arxiv.org/abs/2410.08559. The architecture is that of

Assran M et al., Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (I-JEPA),
CVPR 2023, https://arxiv.org/abs/2301.08243.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches per lead, V visible patches, D width. A row
(B L, ...) is one lead of one window.

Patches at the same times are masked in all leads: single patches, or with `block` blocks of consecutive patches. The
encoder gets the visible patches of all leads; a token attends to its own lead and its own time only (`cross_pattern`).
The predictor gets one lead at a time. Targets are the layer-normalized tokens that the target encoder computes from the
whole window. The target encoder is an exponential moving average of the encoder and receives no gradient.

Departures from the paper: each window has its own mask, where the reference code draws one per batch; the mask ratio is
constant, where the paper draws it from 0.6 to 0.7, or masks four possibly overlapping blocks of 0.175 to 0.225 each;
leads have learned embeddings instead of two-dimensional positions, as they have no order; positions are added once
instead of before every block; optionally rotary position embeddings (`rotary`).
"""

from dataclasses import asdict, dataclass

import keras
import numpy as np
from keras import layers, ops

from keras_ecg.layers.leads import FoldLeads, JoinLeads, LeadEmbedding, fold_leads, join_leads, split_leads
from keras_ecg.layers.masking import MaskTokens, RandomMasking, count_visible
from keras_ecg.layers.patches import PatchEmbedding, count_patches
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.transformer import Transformer
from keras_ecg.models.mae import Ratio, normalized, signals_of


@dataclass(frozen=True)
class ECGJEPAConfig:
    """Hyperparameters of ECG-JEPA; the defaults are the paper's: ViT-Base over windows of 10 s at 250 Hz."""

    width: int = 768  # D of the encoder
    depth: int = 12
    heads: int = 16  # as in the reference code
    expansion: int = 4  # of the feed-forward networks of encoder and predictor
    dropout: float = 0.0  # of the encoder
    predictor_width: int = 384
    predictor_depth: int = 6
    predictor_heads: int = 12
    rotary: bool = False  # rotary position embeddings in attention
    patch_samples: int = 50  # P: 0.2 s at 250 Hz
    mask_ratio: float = 0.65  # of the patches of each lead
    block: int = 1  # consecutive patches masked together: 10 of 50 for multi-block masks
    momentum: float = 0.996  # initial momentum of the target encoder; it rises linearly to 1 at the last step


def build_encoder(shape: tuple[int, int], config: ECGJEPAConfig, dtype: str | None = None) -> keras.Model:
    """Build the encoder: signals (B, T, L) to tokens (B, L N, D), the leads concatenated.

    Args:
        shape: (T, L).
        config: hyperparameters.
        dtype: dtype policy of the layers; None for the global policy.

    Raises:
        ValueError: T is not divisible by the patch length, or the width by the number of heads.
    """
    leads = shape[1]
    signals = keras.Input(shape, name="signals")
    x = FoldLeads(name="fold", dtype=dtype)(signals)  # (B L, T, 1)
    x = PatchEmbedding(config.width, config.patch_samples, name="patches", dtype=dtype)(x)  # (B L, N, D)
    x = SinCosPositions(name="positions", dtype=dtype)(x)
    x = LeadEmbedding(leads, name="lead_embedding", dtype=dtype)(x)
    x = JoinLeads(leads, name="join", dtype=dtype)(x)  # (B, L N, D)
    x = Transformer(
        config.depth,
        config.heads,
        config.expansion,
        config.dropout,
        config.rotary,
        rows=leads,
        cross=True,
        name="transformer",
        dtype=dtype,
    )(x)
    return keras.Model(signals, x, name="ecg_jepa_encoder")


def smooth_l1(targets, predictions):
    """Compute the element-wise smooth L1 loss (Huber loss with delta 1) in float32."""
    distance = ops.abs(ops.cast(predictions, "float32") - ops.cast(targets, "float32"))
    return ops.where(distance < 1, 0.5 * ops.square(distance), distance - 0.5)


@keras.saving.register_keras_serializable(package="keras_ecg")
class ECGJEPA(keras.Model):
    """ECG-JEPA: encoder, target encoder and predictor for pretraining.

    Signals (B, T, L) to predicted tokens (B L, N, D), targets (B L, N, D) and the mask (B, N), true where a patch is
    masked. `fit` takes signals, or a dict with the key `signals`. It logs

        jepa_loss      smooth L1 between predictions and targets at masked patches
        relative_loss  jepa_loss divided by the loss of predicting each lead's mean target; both sums are over the epoch

    Every optimizer step moves the target encoder's weights by 1 - momentum towards the encoder's weights before the
    step. The momentum rises linearly to 1 over the number of batches given to `begin`; without `begin` it is constant.
    With gradient accumulation the target encoder moves at the last batch of each optimizer step.

    Args:
        shape: (T, L).
        config: hyperparameters.
        seed: seed of the masks; None draws one.

    Raises:
        ValueError: hyperparameters that do not fit the shape or each other.
    """

    def __init__(self, shape: tuple[int, int], config: ECGJEPAConfig, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.shape, self.config, self.seed = tuple(shape), config, seed
        self.rows, policy = self.shape[1], self.dtype_policy.name
        tokens = count_patches(self.shape[0], config.patch_samples)
        count_visible(tokens, config.mask_ratio)
        self.encoder = build_encoder(self.shape, config, policy)
        self.target_encoder = build_encoder(self.shape, config, policy)
        self.target_encoder.trainable = False
        self.target_encoder.set_weights(self.encoder.get_weights())
        self.masking = RandomMasking(config.mask_ratio, seed, config.block, name="masking", dtype=policy)
        self.bridge = layers.Dense(config.predictor_width, name="bridge", dtype=policy)
        self.mask_tokens = MaskTokens(name="mask_tokens", dtype=policy)
        self.positions = SinCosPositions(name="predictor_positions", dtype=policy)
        self.predictor = Transformer(
            config.predictor_depth,
            config.predictor_heads,
            config.expansion,
            rotary=config.rotary,
            name="predictor",
            dtype=policy,
        )
        self.predict_tokens = layers.Dense(config.width, name="predict_tokens", dtype="float32")
        self.bridge.build((None, tokens, config.width))
        inner = (None, tokens, config.predictor_width)
        self.mask_tokens.build(inner, (None, tokens))
        for part in (self.positions, self.predictor, self.predict_tokens):
            part.build(inner)
        self.step, self.steps = (
            self.add_weight(shape=(), initializer="zeros", trainable=False, name=name) for name in ("step", "steps")
        )
        self.accumulated = 1
        self.jepa_loss = keras.metrics.Mean("jepa_loss")
        self.relative_loss = Ratio("relative_loss")
        self.built = True

    def begin(self, signals: np.ndarray, batches: int, accumulated: int = 1) -> None:
        """Set the number of training batches and of batches per optimizer step; signals (n, T, L) are ignored."""
        self.steps.assign(batches)
        self.accumulated = accumulated

    def call(self, inputs, training=None, seed: int | None = None):
        signals = signals_of(inputs)
        tokens = self.patchify(signals)  # (B L, N, D)
        visible, mask, order = self.mask(tokens, seed)  # (B L, V, D), (B, N), (B L, N)
        encoded = self.encode(visible, order, training)  # (B L, V, D)
        return self.predict_hidden(encoded, order, training), self.targets(signals), mask

    def patchify(self, signals):
        """Embed the patches of signals (B, T, L) as tokens (B L, N, D), with positions added."""
        return self.encoder.get_layer("positions")(self.encoder.get_layer("patches")(fold_leads(signals)))

    def mask(self, tokens, seed: int | None = None):
        """Mask tokens (B L, N, D): visible tokens (B L, V, D), mask (B, N), and order (B L, N) of `RandomMasking`.

        The same patches are masked in all leads of a window.
        """
        rows, (count, width) = self.rows, tokens.shape[1:]
        columns = ops.transpose(ops.reshape(tokens, (-1, rows, count, width)), (0, 2, 1, 3))  # (B, N, L, D)
        visible, mask, order = self.masking(ops.reshape(columns, (-1, count, rows * width)), seed=seed)
        visible = ops.transpose(ops.reshape(visible, (-1, visible.shape[1], rows, width)), (0, 2, 1, 3))
        return ops.reshape(visible, (-1, *visible.shape[2:])), mask, ops.repeat(order, rows, 0)

    def encode(self, visible, order, training=None):
        """Encode visible tokens (B L, V, D), the first V of the order (B L, N): (B L, V, D)."""
        positions = ops.argsort(order, axis=1)[:, : visible.shape[1]]  # (B L, V), before shuffling
        x = self.encoder.get_layer("lead_embedding")(visible)
        x, positions = (join_leads(v, self.rows) for v in (x, positions))  # all leads in one sequence
        return split_leads(self.encoder.get_layer("transformer")(x, positions, training=training), self.rows)

    def predict_hidden(self, encoded, order, training=None):
        """Predict tokens (B L, N, D) from encoded tokens (B L, V, D) and mask tokens, restored by order (B L, N)."""
        x = self.positions(self.mask_tokens(self.bridge(encoded), order))  # (B L, N, predictor width)
        return self.predict_tokens(self.predictor(x, training=training))  # one lead at a time

    def targets(self, signals):
        """Compute the targets (B L, N, D): the target encoder's tokens, normalized to mean 0 and variance 1."""
        tokens = ops.cast(self.target_encoder(signals, training=False), "float32")
        return ops.stop_gradient(normalized(split_leads(tokens, self.rows)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the smooth L1 loss at masked patches, a float32 scalar; update the target encoder in training."""
        losses, chance = self.errors(*y_pred)
        self.jepa_loss.update_state(losses)
        self.relative_loss.update_state(losses, chance)
        if training:
            self.update_target_encoder()
        return ops.mean(losses)

    def errors(self, predictions, targets, mask):
        """Compute losses (B,) at masked patches: of predictions (B L, N, D), and of each lead's mean target."""
        mask = ops.cast(mask, "float32")

        def masked_loss(prediction):
            per_lead = ops.mean(smooth_l1(targets, prediction), -1)  # (B L, N)
            per_patch = ops.mean(ops.reshape(per_lead, (-1, self.rows, per_lead.shape[1])), 1)  # (B, N)
            return ops.sum(per_patch * mask, 1) / ops.sum(mask, 1)

        return masked_loss(predictions), masked_loss(ops.mean(targets, 1, keepdims=True))

    def update_target_encoder(self) -> None:
        """Count a batch; after the last one of an optimizer step, move the target encoder towards the encoder."""
        batch = ops.mod(self.step, self.accumulated)  # index within its optimizer step
        progress = ops.minimum((self.step - batch) / ops.maximum(self.steps, 1.0), 1.0)
        progress = ops.where(self.steps > 0, progress, 0.0)
        rate = (1 - self.config.momentum) * (1 - progress)  # 1 - momentum at this step
        rate = ops.where(batch == self.accumulated - 1, rate, 0.0)
        for target, source in zip(self.target_encoder.weights, self.encoder.weights, strict=True):
            target.assign(target + rate * (ops.stop_gradient(source) - target))
        self.step.assign_add(1.0)

    def scores(self, signals, seed: int) -> dict:
        """Compute what an evaluation stores of held-out signals (B, T, L): `errors` and mean tokens (B, D)."""
        error, mean_error = self.errors(*self(signals, training=False, seed=seed))
        embeddings = ops.mean(ops.cast(self.encoder(signals, training=False), "float32"), 1)
        return {"error": error, "mean_error": mean_error, "embeddings": embeddings}

    def get_config(self):
        return {**super().get_config(), "shape": self.shape, "config": asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": ECGJEPAConfig(**config["config"])})
