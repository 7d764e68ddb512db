"""The masked autoencoder: an encoder that sees a few patches of a window, a light decoder that fills in the rest.

He K et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, https://arxiv.org/abs/2111.06377.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches, V visible patches, D width.

Departures from the paper: patches are stretches of time over all leads instead of squares; no class token; 0.6 of the
patches are masked instead of 0.75, for neighbouring patches of an ECG tell less of each other than those of a picture;
targets are the signals themselves unless `normalize_targets`, which divides by the standard deviation of the patch
itself where the reference code takes the unbiased one; a patch embedding of LeCun's initialization.

    autoencoder = MaskedAutoencoder((1000, 1), MAEConfig())
    rate = keras.optimizers.schedules.CosineDecay(2e-4, steps, warmup_target=2e-3, warmup_steps=50)
    autoencoder.compile(keras.optimizers.AdamW(rate, beta_2=0.95, weight_decay=0.05, global_clipnorm=1.0))
    autoencoder.fit(signals)             # (B, T, L), or a dataset of them
    autoencoder.encoder.save("encoder.keras")

With positions added to the tokens alone training starts on a plateau, a `relative_loss` of one, for some 300 steps: the
mean is all that it predicts before attention finds where the beats stand. Rotary attention is off it after 100.
"""

from dataclasses import asdict, dataclass

import keras
from keras import layers, ops

from keras_ecg.layers.masking import MaskTokens, RandomMasking, count_visible
from keras_ecg.layers.patches import PatchEmbedding, count_patches, patchify, unpatchify
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.transformer import Transformer

TINY_VARIANCE = 1e-6  # of a flat patch, which has no spread to divide by


@dataclass(frozen=True)
class MAEConfig:
    """Hyperparameters of the masked autoencoder."""

    width: int = 128  # D of the encoder
    depth: int = 4
    heads: int = 4
    expansion: int = 4  # of the feed-forward parts, the decoder's too
    dropout: float = 0.0  # of the encoder: masking is noise enough for pretraining, few labels may want it
    decoder_width: int = 64
    decoder_depth: int = 2
    decoder_heads: int = 4
    rotary: bool = True  # attention that knows distances, besides positions added to the tokens: no plateau
    patch_samples: int = 10  # P: 0.1 s at 100 Hz, a QRS complex
    mask_ratio: float = 0.6
    normalize_targets: bool = False  # each patch by its own mean and spread


def build_encoder(shape: tuple[int, int], config: MAEConfig, dtype: str | None = None) -> keras.Model:
    """The encoder: signals (B, T, L) to tokens (B, N, D). It knows neither masks nor losses.

    Args:
        shape: (T, L).
        config: the hyperparameters.
        dtype: policy of its layers; None takes the global one.

    Raises:
        ValueError: T does not divide into patches, or the width into heads.
    """
    signals = keras.Input(shape, name="signals")
    x = PatchEmbedding(config.width, config.patch_samples, name="patches", dtype=dtype)(signals)
    x = SinCosPositions(name="positions", dtype=dtype)(x)
    x = Transformer(
        config.depth, config.heads, config.expansion, config.dropout, config.rotary, name="transformer", dtype=dtype
    )(x)
    return keras.Model(signals, x, name="mae_encoder")


def normalized(patches):
    """Each patch (B, N, P L) with a mean of zero and a spread of one."""
    mean, variance = ops.moments(patches, [-1], keepdims=True)
    return (patches - mean) / ops.sqrt(variance + TINY_VARIANCE)


def masked_error(targets, predictions, mask):
    """Mean squared error over the masked patches of every sample: (B,), in float32.

    Args:
        targets: (B, N, P L).
        predictions: (B, N, P L), or what broadcasts to it.
        mask: (B, N), true where a patch was hidden.
    """
    targets, predictions, mask = (ops.cast(v, "float32") for v in (targets, predictions, mask))
    errors = ops.mean(ops.square(predictions - targets), -1)  # (B, N)
    return ops.sum(errors * mask, -1) / ops.sum(mask, -1)


def mean_of(targets, leads: int):
    """The mean of each window's targets (B, N, P L) over all its samples, lead by lead, as a prediction (B, 1, P L)."""
    means = ops.mean(unpatchify(targets, leads), 1)  # (B, L)
    return ops.tile(means, (1, targets.shape[-1] // leads))[:, None]


def signals_of(inputs):
    """Signals (B, T, L) from themselves, or from a dict that has them."""
    return inputs["signals"] if isinstance(inputs, dict) else inputs


@keras.saving.register_keras_serializable(package="keras_ecg")
class Ratio(keras.metrics.Metric):
    """The sum of the numerators over the sum of the denominators since the last reset."""

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
    """The encoder under its pretraining task: signals (B, T, L) to predicted patches (B, N, P L) and the mask (B, N).

    `fit` needs signals alone, or a dict that has them under that name; subjects, labels and sample weights that come
    with them are not looked at. It logs

        masked_loss    mean squared error on masked patches, of raw or, with `normalize_targets`, normalized targets
        relative_loss  the same over that of predicting `mean_of` the targets: each window's own mean over all its
                       samples, lead by lead; numerator and denominator are summed over the epoch before they divide

    Masks are drawn anew at every call, in evaluation too.

    Args:
        shape: (T, L).
        config: the hyperparameters.
        seed: of the masks; None draws one.

    Raises:
        ValueError: hyperparameters that do not fit the shape, or each other.
    """

    config_class, build_encoder = MAEConfig, staticmethod(build_encoder)
    rows = 1  # of a window, each of which is masked and decoded by itself

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
        """Signals (B, T, L) to tokens (B, N, D) that know their positions."""
        return self.encoder.get_layer("positions")(self.encoder.get_layer("patches")(signals))

    def mask(self, tokens, seed: int | None = None):
        """Tokens (B, N, D) to visible ones (B, V, D), the mask (B, N) and the order (B, N) that restores them."""
        return self.masking(tokens, seed=seed)

    def encode(self, visible, order, training=None):
        """Visible tokens (B, V, D), the first of their order (B, N), to encoded ones (B, V, D)."""
        positions = ops.argsort(order, axis=1)[:, : visible.shape[1]]  # (B, V): where each one stood
        return self.encoder.get_layer("transformer")(visible, positions, training=training)

    def decode(self, encoded, order, training=None):
        """Encoded tokens (B, V, D) and mask tokens, in their order (B, N), to predicted patches (B, N, P L)."""
        x = self.positions(self.mask_tokens(self.bridge(encoded), order))  # (B, N, decoder width)
        return self.predict_patches(self.decoder(x, training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss: mean squared error of the predictions on masked patches, a scalar in float32."""
        predictions, mask = y_pred
        losses, chance = self.errors(signals_of(x), predictions, mask)
        self.masked_loss.update_state(losses)
        self.relative_loss.update_state(losses, chance)
        return ops.mean(losses)

    def errors(self, signals, predictions, mask):
        """Masked errors (B,) of predictions (B, N, P L), and of `mean_of` the targets of signals (B, T, L)."""
        targets = self.targets(signals)
        guesses = (predictions, mean_of(targets, self.shape[1] // self.rows))
        return tuple(ops.mean(ops.reshape(masked_error(targets, g, mask), (-1, self.rows)), 1) for g in guesses)

    def scores(self, signals, seed: int) -> dict:
        """What an evaluation stores of held-out signals (B, T, L): `errors` by name, the masks by seed."""
        error, mean_error = self.errors(signals, *self(signals, training=False, seed=seed))
        return {"error": error, "mean_error": mean_error}

    def patches(self, signals):
        """Signals (B, T, L) cut into what is predicted, (B, N, P L), in float32."""
        return patchify(ops.cast(signals, "float32"), self.config.patch_samples)

    def windows(self, patches):
        """The inverse of `patches`."""
        return unpatchify(patches, self.shape[1])

    def targets(self, signals):
        """What is to be predicted, (B, N, P L), from signals (B, T, L)."""
        patches = self.patches(signals)
        return normalized(patches) if self.config.normalize_targets else patches

    def reconstruct(self, signals, seed: int):
        """What the model makes of the hidden patches, for pictures.

        Normalized predictions get the mean and the spread of the patch that they predict, which no model knows.

        Args:
            signals: (B, T, L).
            seed: of the mask; the same one hides the same patches.

        Returns:
            The signals (B, T, L) with predictions in the place of hidden samples, and the mask (B, T, L), true there.
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
