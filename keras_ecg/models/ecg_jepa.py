"""ECG-JEPA: what a slowly moving encoder makes of hidden stretches, predicted from the visible ones.

Kim S, Learning General Representation of 12-Lead Electrocardiogram With a Joint-Embedding Predictive Architecture,
2024, https://arxiv.org/abs/2410.08559. The architecture is that of

Assran M et al., Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture (I-JEPA),
CVPR 2023, https://arxiv.org/abs/2301.08243.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches of a lead, V visible ones, D width. A row
(B L, ...) is one lead of one window.

The same stretches of time are hidden in all leads: single patches, or with `block` whole blocks of them. The encoder
sees the visible patches of all leads; a token attends to its own lead and its own time only (`cross_pattern`). The
predictor sees one lead at a time. Targets are the tokens, normalized, that the target encoder makes of the whole
window; it is the moving average of the encoder, and no gradient goes there.

Departures from the paper: each window has a mask of its own, where the reference code draws one for a batch, and every
mask hides the same share, where the paper draws it from 0.6 to 0.7, or hides four blocks of 0.175 to 0.225 each that
may overlap; leads have learned embeddings instead of a place in a two-dimensional table, for they have no order;
positions are added once, not before every block. With `rotary` attention knows distances in time.
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
    """Hyperparameters of ECG-JEPA, by default the paper's: ViT-Base over windows of 10 s at 250 Hz."""

    width: int = 768  # D of the encoder
    depth: int = 12
    heads: int = 16  # of the reference code
    expansion: int = 4  # of the feed-forward parts, the predictor's too
    dropout: float = 0.0  # of the encoder
    predictor_width: int = 384
    predictor_depth: int = 6
    predictor_heads: int = 12
    rotary: bool = False  # attention that knows distances
    patch_samples: int = 50  # P: 0.2 s at 250 Hz
    mask_ratio: float = 0.65  # of the time, in all leads
    block: int = 1  # patches that are hidden together: 10 of 50 for multi-block masks
    momentum: float = 0.996  # of the target encoder at first; it rises to 1 with the last step


def build_encoder(shape: tuple[int, int], config: ECGJEPAConfig, dtype: str | None = None) -> keras.Model:
    """The encoder: signals (B, T, L) to tokens (B, L N, D), one lead after the other.

    Args:
        shape: (T, L).
        config: the hyperparameters.
        dtype: policy of its layers; None takes the global one.

    Raises:
        ValueError: T does not divide into patches, or the width into heads.
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
    """Huber's loss with its corner at one, element by element, in float32."""
    distance = ops.abs(ops.cast(predictions, "float32") - ops.cast(targets, "float32"))
    return ops.where(distance < 1, 0.5 * ops.square(distance), distance - 0.5)


@keras.saving.register_keras_serializable(package="keras_ecg")
class ECGJEPA(keras.Model):
    """The encoder under its pretraining task.

    Signals (B, T, L) to predicted tokens (B L, N, D), targets (B L, N, D) and the mask (B, N), true where the time is
    hidden. `fit` needs signals alone, or a dict that has them under that name. It logs

        jepa_loss      smooth L1 between predictions and targets at hidden times
        relative_loss  the same over that of predicting each lead's mean target; both are summed before they divide

    Every step of training moves the target encoder's weights towards the encoder's, as they are before the step, by
    1 - momentum. The momentum rises linearly to 1 over the batches that `begin` announces; without it, it stays. Where
    several batches make a step of the optimizer the last of them moves it: its targets are those of all of them.

    Args:
        shape: (T, L).
        config: the hyperparameters.
        seed: of the masks; None draws one.

    Raises:
        ValueError: hyperparameters that do not fit the shape, or each other.
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
        """Announces how many batches training has, and how many make a step; signals (n, T, L) are not looked at."""
        self.steps.assign(batches)
        self.accumulated = accumulated

    def call(self, inputs, training=None, seed: int | None = None):
        signals = signals_of(inputs)
        tokens = self.patchify(signals)  # (B L, N, D)
        visible, mask, order = self.mask(tokens, seed)  # (B L, V, D), (B, N), (B L, N)
        encoded = self.encode(visible, order, training)  # (B L, V, D)
        return self.predict_hidden(encoded, order, training), self.targets(signals), mask

    def patchify(self, signals):
        """Signals (B, T, L) to tokens (B L, N, D) that know their positions."""
        return self.encoder.get_layer("positions")(self.encoder.get_layer("patches")(fold_leads(signals)))

    def mask(self, tokens, seed: int | None = None):
        """Tokens (B L, N, D) to visible ones (B L, V, D), the mask (B, N), and the order (B L, N) that restores them.

        A window's leads are masked as one: a time is hidden in all of them.
        """
        rows, (count, width) = self.rows, tokens.shape[1:]
        columns = ops.transpose(ops.reshape(tokens, (-1, rows, count, width)), (0, 2, 1, 3))  # (B, N, L, D)
        visible, mask, order = self.masking(ops.reshape(columns, (-1, count, rows * width)), seed=seed)
        visible = ops.transpose(ops.reshape(visible, (-1, visible.shape[1], rows, width)), (0, 2, 1, 3))
        return ops.reshape(visible, (-1, *visible.shape[2:])), mask, ops.repeat(order, rows, 0)

    def encode(self, visible, order, training=None):
        """Visible tokens (B L, V, D), the first of their order (B L, N), to encoded ones (B L, V, D)."""
        positions = ops.argsort(order, axis=1)[:, : visible.shape[1]]  # (B L, V): where each one stood
        x = self.encoder.get_layer("lead_embedding")(visible)
        x, positions = (join_leads(v, self.rows) for v in (x, positions))  # all leads in one sequence
        return split_leads(self.encoder.get_layer("transformer")(x, positions, training=training), self.rows)

    def predict_hidden(self, encoded, order, training=None):
        """Encoded tokens (B L, V, D) and mask tokens, in their order (B L, N), to predicted ones (B L, N, D)."""
        x = self.positions(self.mask_tokens(self.bridge(encoded), order))  # (B L, N, predictor width)
        return self.predict_tokens(self.predictor(x, training=training))  # one lead at a time

    def targets(self, signals):
        """What is to be predicted, (B L, N, D): the target encoder's tokens, each of mean zero and spread one."""
        tokens = ops.cast(self.target_encoder(signals, training=False), "float32")
        return ops.stop_gradient(normalized(split_leads(tokens, self.rows)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss: smooth L1 of the predictions at hidden times, a scalar in float32. Training moves the targets."""
        losses, chance = self.errors(*y_pred)
        self.jepa_loss.update_state(losses)
        self.relative_loss.update_state(losses, chance)
        if training:
            self.follow()
        return ops.mean(losses)

    def errors(self, predictions, targets, mask):
        """Losses (B,) of predictions (B L, N, D) at hidden times, and of predicting each lead's mean target there."""
        mask = ops.cast(mask, "float32")

        def of(guess):
            apart = ops.mean(smooth_l1(targets, guess), -1)  # (B L, N)
            each = ops.mean(ops.reshape(apart, (-1, self.rows, apart.shape[1])), 1)  # (B, N)
            return ops.sum(each * mask, 1) / ops.sum(mask, 1)

        return of(predictions), of(ops.mean(targets, 1, keepdims=True))

    def follow(self) -> None:
        """Counts a batch, and moves the target encoder towards the encoder if it is the last of its step."""
        place = ops.mod(self.step, self.accumulated)  # among the batches of its step
        progress = ops.minimum((self.step - place) / ops.maximum(self.steps, 1.0), 1.0)
        progress = ops.where(self.steps > 0, progress, 0.0)
        share = (1 - self.config.momentum) * (1 - progress)  # 1 - momentum
        share = ops.where(place == self.accumulated - 1, share, 0.0)
        for slow, fast in zip(self.target_encoder.weights, self.encoder.weights, strict=True):
            slow.assign(slow + share * (ops.stop_gradient(fast) - slow))
        self.step.assign_add(1.0)

    def scores(self, signals, seed: int) -> dict:
        """What an evaluation stores of held-out signals (B, T, L): `errors` by name, and mean tokens (B, D)."""
        error, mean_error = self.errors(*self(signals, training=False, seed=seed))
        embeddings = ops.mean(ops.cast(self.encoder(signals, training=False), "float32"), 1)
        return {"error": error, "mean_error": mean_error, "embeddings": embeddings}

    def get_config(self):
        return {**super().get_config(), "shape": self.shape, "config": asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": ECGJEPAConfig(**config["config"])})
