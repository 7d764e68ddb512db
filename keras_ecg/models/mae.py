"""Masked autoencoder: the encoder gets the visible patches of a window, a small decoder reconstructs the masked ones.

He K et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, https://arxiv.org/abs/2111.06377.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches, V visible patches, D width.

Departures from the paper: patches are segments of time over all leads instead of squares of an image; no class token;
mask ratio 0.6 instead of 0.75, as neighbouring patches of an ECG are less redundant than those of an image; targets are
the raw signals unless `normalize_targets`, which uses the biased standard deviation of the patch, where the reference
code uses the unbiased one; LeCun initialization of the patch embedding; rotary position embeddings by default.

    autoencoder = MaskedAutoencoder((1000, 1), MAEConfig())
    rate = keras.optimizers.schedules.CosineDecay(2e-4, steps, warmup_target=2e-3, warmup_steps=50)
    autoencoder.compile(keras.optimizers.AdamW(rate, beta_2=0.95, weight_decay=0.05, global_clipnorm=1.0))
    autoencoder.fit(signals)             # (B, T, L), or a dataset of such batches
    autoencoder.encoder.save("encoder.keras")

With absolute positions only, training stays on a plateau with a `relative_loss` of 1 for about 300 steps, predicting
the mean until attention resolves the positions of the beats. With rotary positions the plateau ends after about 100
steps.
"""

from dataclasses import asdict, dataclass

import keras
from keras import layers, ops

from keras_ecg.layers.masking import MaskTokens, RandomMasking, count_visible
from keras_ecg.layers.patches import PatchEmbedding, count_patches, patchify, unpatchify
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.transformer import Transformer

TINY_VARIANCE = 1e-6  # added to the variance: that of a flat patch is zero


@dataclass(frozen=True)
class MAEConfig:
    """Hyperparameters of the masked autoencoder."""

    width: int = 128  # D of the encoder
    depth: int = 4
    heads: int = 4
    expansion: int = 4  # of the feed-forward networks of encoder and decoder
    dropout: float = 0.0  # of the encoder: masking regularizes pretraining; fine-tuning on few labels may need it
    decoder_width: int = 64
    decoder_depth: int = 2
    decoder_heads: int = 4
    rotary: bool = True  # rotary in addition to absolute positions: shortens the initial plateau of the loss
    patch_samples: int = 10  # P: 0.1 s at 100 Hz, the duration of a QRS complex
    mask_ratio: float = 0.6
    normalize_targets: bool = False  # normalize each target patch by its own mean and standard deviation


def build_encoder(shape: tuple[int, int], config: MAEConfig, dtype: str | None = None) -> keras.Model:
    """Build the encoder: signals (B, T, L) to tokens (B, N, D), without masking.

    Args:
        shape: (T, L).
        config: hyperparameters.
        dtype: dtype policy of the layers; None for the global policy.

    Raises:
        ValueError: T is not divisible by the patch length, or the width by the number of heads.
    """
    signals = keras.Input(shape, name="signals")
    x = PatchEmbedding(config.width, config.patch_samples, name="patches", dtype=dtype)(signals)
    x = SinCosPositions(name="positions", dtype=dtype)(x)
    x = Transformer(
        config.depth, config.heads, config.expansion, config.dropout, config.rotary, name="transformer", dtype=dtype
    )(x)
    return keras.Model(signals, x, name="mae_encoder")


def normalized(patches):
    """Normalize each patch (B, N, P L) to mean 0 and variance 1."""
    mean, variance = ops.moments(patches, [-1], keepdims=True)
    return (patches - mean) / ops.sqrt(variance + TINY_VARIANCE)


def masked_error(targets, predictions, mask):
    """Compute the mean squared error over the masked patches of every example: (B,), in float32.

    Args:
        targets: (B, N, P L).
        predictions: (B, N, P L), or an array that broadcasts to it.
        mask: (B, N), true where a patch was masked.
    """
    targets, predictions, mask = (ops.cast(v, "float32") for v in (targets, predictions, mask))
    errors = ops.mean(ops.square(predictions - targets), -1)  # (B, N)
    return ops.sum(errors * mask, -1) / ops.sum(mask, -1)


def mean_of(targets, leads: int):
    """Predict the mean, per lead, of all samples of each window's targets (B, N, P L): (B, 1, P L)."""
    means = ops.mean(unpatchify(targets, leads), 1)  # (B, L)
    return ops.tile(means, (1, targets.shape[-1] // leads))[:, None]


def signals_of(inputs):
    """Return signals (B, T, L), given as such or as a dict with the key `signals`."""
    return inputs["signals"] if isinstance(inputs, dict) else inputs


@keras.saving.register_keras_serializable(package="keras_ecg")
class Ratio(keras.metrics.Metric):
    """Ratio of the sum of the numerators to the sum of the denominators since the last reset."""

    def __init__(self, name: str = "ratio", **kwargs):
        super().__init__(name=name, **kwargs)
        self.numerator = self.add_variable((), "zeros", name="numerator")
        self.denominator = self.add_variable((), "zeros", name="denominator")

    def update_state(self, numerators, denominators):
        self.numerator.assign_add(ops.sum(ops.cast(numerators, self.dtype)))
        self.denominator.assign_add(ops.sum(ops.cast(denominators, self.dtype)))

    def result(self):
        return self.numerator / self.denominator


@keras.saving.register_keras_serializable(package="keras_ecg")
class MaskedAutoencoder(keras.Model):
    """Masked autoencoder: signals (B, T, L) to predicted patches (B, N, P L) and the mask (B, N).

    `fit` takes signals, or a dict with the key `signals`; other entries, labels and sample weights are ignored. It logs

        masked_loss    mean squared error on masked patches, of raw or, with `normalize_targets`, normalized targets
        relative_loss  masked_loss divided by that of the prediction `mean_of`, the mean per window and lead; numerator
                       and denominator are sums over the epoch

    A new mask is drawn at every call, in evaluation, too.

    Args:
        shape: (T, L).
        config: hyperparameters.
        seed: seed of the masks; None draws one.

    Raises:
        ValueError: hyperparameters that do not fit the shape or each other.
    """

    config_class, build_encoder = MAEConfig, staticmethod(build_encoder)
    rows = 1  # independently masked and decoded rows per window: 1, or the number of leads in ST-MEM

    def __init__(self, shape: tuple[int, int], config: MAEConfig, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.shape, self.config, self.seed = tuple(shape), config, seed
        policy = self.dtype_policy.name
        self.encoder = self.build_encoder(self.shape, config, policy)
        self.masking = RandomMasking(config.mask_ratio, seed, name="masking", dtype=policy)
        self.bridge = layers.Dense(config.decoder_width, name="bridge", dtype=policy)
        self.mask_tokens = MaskTokens(name="mask_tokens", dtype=policy)
        self.positions = SinCosPositions(name="decoder_positions", dtype=policy)
        self.decoder = Transformer(
            config.decoder_depth,
            config.decoder_heads,
            config.expansion,
            rotary=config.rotary,
            name="decoder",
            dtype=policy,
        )
        self.predict_patches = layers.Dense(
            config.patch_samples * self.shape[1] // self.rows, name="predict_patches", dtype="float32"
        )
        self.masked_loss = keras.metrics.Mean("masked_loss")
        self.relative_loss = Ratio("relative_loss")
        tokens = count_patches(self.shape[0], config.patch_samples)
        count_visible(tokens, config.mask_ratio)
        self.bridge.build((None, tokens, config.width))
        inner = (None, tokens, config.decoder_width)
        self.mask_tokens.build(inner, (None, tokens))
        for part in (self.positions, self.decoder, self.predict_patches):
            part.build(inner)
        self.built = True

    def call(self, inputs, training=None, seed: int | None = None):
        tokens = self.patchify(signals_of(inputs))  # (B, N, D)
        visible, mask, order = self.mask(tokens, seed)  # (B, V, D), (B, N), (B, N)
        encoded = self.encode(visible, order, training)  # (B, V, D)
        return self.decode(encoded, order, training), mask  # (B, N, P L), (B, N)

    def patchify(self, signals):
        """Embed the patches of signals (B, T, L) as tokens (B, N, D), with positions added."""
        return self.encoder.get_layer("positions")(self.encoder.get_layer("patches")(signals))

    def mask(self, tokens, seed: int | None = None):
        """Mask tokens (B, N, D): visible tokens (B, V, D), mask (B, N) and order (B, N) of `RandomMasking`."""
        return self.masking(tokens, seed=seed)

    def encode(self, visible, order, training=None):
        """Encode visible tokens (B, V, D), the first V of the order (B, N): (B, V, D)."""
        positions = ops.argsort(order, axis=1)[:, : visible.shape[1]]  # (B, V), before shuffling
        return self.encoder.get_layer("transformer")(visible, positions, training=training)

    def decode(self, encoded, order, training=None):
        """Decode encoded tokens (B, V, D) and mask tokens, restored by order (B, N), to patches (B, N, P L)."""
        x = self.positions(self.mask_tokens(self.bridge(encoded), order))  # (B, N, decoder width)
        return self.predict_patches(self.decoder(x, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the mean squared error of the predictions on masked patches, a float32 scalar."""
        predictions, mask = y_pred
        losses, chance = self.errors(signals_of(x), predictions, mask)
        self.masked_loss.update_state(losses)
        self.relative_loss.update_state(losses, chance)
        return ops.mean(losses)

    def errors(self, signals, predictions, mask):
        """Compute masked errors (B,) on signals (B, T, L): of predictions (B, N, P L), and of `mean_of` the targets."""
        targets = self.targets(signals)
        compared = (predictions, mean_of(targets, self.shape[1] // self.rows))
        return tuple(ops.mean(ops.reshape(masked_error(targets, p, mask), (-1, self.rows)), 1) for p in compared)

    def scores(self, signals, seed: int) -> dict:
        """Compute what an evaluation stores of held-out signals (B, T, L): `errors` by name, with masks by seed."""
        error, mean_error = self.errors(signals, *self(signals, training=False, seed=seed))
        return {"error": error, "mean_error": mean_error}

    def patches(self, signals):
        """Cut signals (B, T, L) into float32 patches (B, N, P L)."""
        return patchify(ops.cast(signals, "float32"), self.config.patch_samples)

    def windows(self, patches):
        """Invert `patches`: (B, N, P L) to (B, T, L)."""
        return unpatchify(patches, self.shape[1])

    def targets(self, signals):
        """Compute the targets (B, N, P L) from signals (B, T, L)."""
        patches = self.patches(signals)
        return normalized(patches) if self.config.normalize_targets else patches

    def reconstruct(self, signals, seed: int):
        """Reconstruct the masked patches, for figures.

        Normalized predictions are scaled by the mean and standard deviation of the true patch, which the model does not
        get.

        Args:
            signals: (B, T, L).
            seed: seed of the mask; equal seeds mask the same patches.

        Returns:
            The signals (B, T, L) with masked samples replaced by predictions, and the mask (B, T, L), true there.
        """
        predictions, mask = self(signals, training=False, seed=seed)
        patches = self.patches(signals)
        if self.config.normalize_targets:
            mean, variance = ops.moments(patches, [-1], keepdims=True)
            predictions = predictions * ops.sqrt(variance + TINY_VARIANCE) + mean
        filled = ops.where(mask[..., None], predictions, patches)
        return self.windows(filled), self.windows(ops.broadcast_to(mask[..., None], ops.shape(patches)))

    def get_config(self):
        return {**super().get_config(), "shape": self.shape, "config": asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": cls.config_class(**config["config"])})
