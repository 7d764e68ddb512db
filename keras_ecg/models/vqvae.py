"""VQ-VAE: an ECG as words, one of K codes for every tenth of a second of every lead, and the ECG from the words.

van den Oord A, Vinyals O, Kavukcuoglu K, Neural Discrete Representation Learning, NeurIPS 2017,
https://arxiv.org/abs/1711.00937; its codebook is that of `keras_ecg.layers.quantizer`.

Shapes: B batch, T samples, L leads, N tokens of a lead, D width, C width of the codes, K codes. A row (B L, ...) is one
lead of one window.

Departures from the paper: tokens and codes have a length of one, and fewer channels than the encoder; codes start at
the centres of k-means and restart where they die, so that the codebook does not collapse; the decoder is a Transformer.
With `encoder: cnn` leads are encoded one by one, by the same weights; with `st_mem` each token has seen all leads.

    model = VQVAE((1000, 12), VQVAEConfig(), seed=0)
    model.begin(signals, batches)  # k-means, on some training windows
    codes = model.codes_of(signals)  # (B, L N) int: the words
    signals = model.signals_of_codes(codes)  # (B, T, L): the ECG from them

A run of `run_pretraining.py` keeps all of it: `load_model("Research_Runs/…")` of `keras_ecg.models.loading`.
"""

from dataclasses import asdict, dataclass, field

import keras
import numpy as np
from keras import layers, ops
from sklearn.cluster import KMeans

from keras_ecg.config import from_dict
from keras_ecg.layers.leads import FoldLeads, JoinLeads, split_leads, unfold_leads
from keras_ecg.layers.patches import unpatchify
from keras_ecg.layers.positions import SinCosPositions
from keras_ecg.layers.quantizer import CodePerplexity, CodeUsage, VectorQuantizer
from keras_ecg.layers.transformer import Transformer
from keras_ecg.models.encoders import CNNConfig, convolve
from keras_ecg.models.mae import Ratio, signals_of
from keras_ecg.models.st_mem import STMEMConfig
from keras_ecg.models.st_mem import build_encoder as build_st_mem

START_TOKENS = 100  # for each code, that k-means sees at most
START_BATCH = 16  # windows that are encoded at a time before k-means


@dataclass(frozen=True)
class VQVAEConfig:
    """Hyperparameters of the VQ-VAE."""

    encoder: str = "cnn"  # or st_mem
    encoder_options: dict = field(default_factory=dict)  # of CNNConfig or STMEMConfig; they say how long a token is
    codes: int = 512  # K
    code_width: int = 32  # C
    decay: float = 0.99  # of the codes' moving averages
    dead: float = 0.1  # share of the average use below which a code restarts
    commitment: float = 0.25  # weight of the commitment loss
    decoder_width: int = 128
    decoder_depth: int = 2
    decoder_heads: int = 4
    expansion: int = 4  # of the decoder's feed-forward parts


def build_cnn(shape: tuple[int, int], config: CNNConfig) -> keras.Model:
    """Convolutions over each lead by itself: signals (B, T, L) to tokens (B, L N, D), one lead after the other."""
    signals = keras.Input(shape, name="signals")
    x = convolve(FoldLeads(name="fold")(signals), config)  # (B L, N, D)
    return keras.Model(signals, JoinLeads(shape[1], name="join")(x), name="vqvae_cnn_encoder")


DEFAULTS = {
    "cnn": (CNNConfig(kernel_sizes=(15, 7), strides=(5, 2), dropout=0.0), build_cnn),  # 10 tokens a second at 100 Hz
    "st_mem": (STMEMConfig(width=128, depth=4, heads=4, rotary=True, patch_samples=10), build_st_mem),
}


def build_encoder(shape: tuple[int, int], config: VQVAEConfig) -> keras.Model:
    """The encoder: signals (B, T, L) to tokens (B, L N, D), one lead after the other, before they are quantized.

    Raises:
        InputError: a misspelt hyperparameter of it.
        ValueError: no such encoder, or hyperparameters that do not fit the shape.
    """
    if config.encoder not in DEFAULTS:
        raise ValueError(f"no encoder {config.encoder!r}: one of {', '.join(DEFAULTS)}")
    defaults, build = DEFAULTS[config.encoder]
    options = {**asdict(defaults), **config.encoder_options}
    return build(shape, from_dict(type(defaults), options, "model.options.encoder_options"))


@keras.saving.register_keras_serializable(package="keras_ecg")
class VQVAE(keras.Model):
    """Encoder, codebook and decoder: signals (B, T, L) to their reconstruction (B, T, L), codes (B, L N), distances.

    `fit` needs signals alone, or a dict that has them under that name. It logs

        relative_loss  squared error over that of each lead's own mean; 1 - R2. Both are summed before they divide
        commitment     mean squared distance of the scaled tokens (B, L N) to their codes
        usage          share of the codes that are used in the epoch
        perplexity     of these codes: 1 to K

    Args:
        shape: (T, L).
        config: the hyperparameters.
        seed: of the codes' start and restarts; None draws one.

    Raises:
        InputError: a misspelt hyperparameter of the encoder.
        ValueError: hyperparameters that do not fit the shape, or each other.
    """

    def __init__(self, shape: tuple[int, int], config: VQVAEConfig, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.shape, self.config, self.seed = tuple(shape), config, seed
        self.rows, policy = self.shape[1], self.dtype_policy.name
        self.encoder = build_encoder(self.shape, config)
        tokens, width = self.encoder.output_shape[1] // self.rows, self.encoder.output_shape[2]
        if self.shape[0] % tokens:
            raise ValueError(f"windows of {self.shape[0]} samples do not divide into {tokens} tokens of a lead")
        self.to_codes = layers.Dense(config.code_width, name="to_codes", dtype=policy)
        self.quantizer = VectorQuantizer(config.codes, config.decay, config.dead, seed, name="quantizer", dtype=policy)
        self.from_codes = layers.Dense(config.decoder_width, name="from_codes", dtype=policy)
        self.positions = SinCosPositions(name="decoder_positions", dtype=policy)
        self.decoder = Transformer(
            config.decoder_depth,
            config.decoder_heads,
            config.expansion,
            rotary=True,
            name="decoder",
            dtype=policy,
        )
        self.predict_patches = layers.Dense(self.shape[0] // tokens, name="predict_patches", dtype="float32")
        self.to_codes.build((None, None, width))
        self.quantizer.build((None, None, config.code_width))
        self.from_codes.build((None, tokens, config.code_width))
        for part in (self.positions, self.decoder, self.predict_patches):
            part.build((None, tokens, config.decoder_width))
        self.relative_loss, self.commitment = Ratio("relative_loss"), keras.metrics.Mean("commitment")
        self.usage, self.perplexity = CodeUsage(config.codes), CodePerplexity(config.codes)
        self.built = True

    def begin(self, signals: np.ndarray, batches: int, accumulated: int = 1) -> None:
        """Starts the codes at the centres of the tokens of some signals (n, T, L), by k-means.

        Args:
            signals: of training windows.
            batches: of the training; not looked at.
            accumulated: of them to a step of the optimizer: codes move with each, by as much less.

        Raises:
            ValueError: fewer tokens than codes.
        """
        parts = np.array_split(signals, -(-len(signals) // START_BATCH))
        tokens = np.concatenate([ops.convert_to_numpy(self.tokens(part)) for part in parts])
        flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float32)
        if len(flat) < self.config.codes:
            raise ValueError(f"{len(flat)} tokens to start {self.config.codes} codes")
        rng = np.random.default_rng(self.seed)
        flat = flat[rng.permutation(len(flat))[: START_TOKENS * self.config.codes]]
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        found = KMeans(self.config.codes, n_init=1, max_iter=20, random_state=self.seed).fit(flat)
        self.quantizer.start(found.cluster_centers_)
        self.quantizer.accumulated = accumulated

    def call(self, inputs, training=None):
        signals = signals_of(inputs)
        tokens = self.tokens(signals, training)  # (B, L N, C)
        quantized, codes, distances = self.quantizer(tokens, training=training)
        return self.decode(quantized, training), codes, distances

    def tokens(self, signals, training=None):
        """Signals (B, T, L) to the tokens (B, L N, C) that are to be quantized."""
        return self.to_codes(self.encoder(signals, training=training))

    def decode(self, quantized, training=None):
        """Quantized tokens (B, L N, C) to signals (B, T, L), one lead at a time."""
        x = self.positions(self.from_codes(split_leads(quantized, self.rows)))  # (B L, N, decoder width)
        patches = self.predict_patches(self.decoder(x, training=training))  # (B L, N, P)
        return unfold_leads(unpatchify(patches, 1), self.rows)

    def codes_of(self, signals):
        """Signals (B, T, L) to their words (B, L N) int32, one lead after the other."""
        return self.quantizer(self.tokens(signals, training=False), training=False)[1]

    def signals_of_codes(self, codes):
        """Words (B, L N) int, one lead after the other, to the signals (B, T, L) that they stand for."""
        return self.decode(ops.take(self.quantizer.codebook, codes, axis=0), training=False)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss: mean squared error of the reconstruction and the weighted commitment, a scalar in float32."""
        reconstruction, codes, distances = y_pred
        errors, chance = self.errors(signals_of(x), reconstruction)
        self.relative_loss.update_state(errors, chance)
        self.commitment.update_state(distances)
        self.usage.update_state(codes)
        self.perplexity.update_state(codes)
        return ops.mean(errors) + self.config.commitment * ops.mean(distances)

    def errors(self, signals, reconstruction):
        """Mean squared errors (B,) of reconstructions of signals (B, T, L), and of each lead's own mean."""
        signals = ops.cast(signals, "float32")
        guesses = (reconstruction, ops.mean(signals, 1, keepdims=True))
        return tuple(ops.mean(ops.square(signals - guess), (1, 2)) for guess in guesses)

    def scores(self, signals, seed: int) -> dict:
        """What an evaluation stores of held-out signals (B, T, L): `errors` by name, and the codes (B, L N)."""
        reconstruction, codes, _ = self(signals, training=False)
        error, mean_error = self.errors(signals, reconstruction)
        return {"error": error, "mean_error": mean_error, "codes": codes}

    def reconstruct(self, signals, seed: int):
        """The reconstruction (B, T, L) of signals, for pictures, and where it stands for them: (B, T, L), all true."""
        reconstruction = self(signals, training=False)[0]
        return reconstruction, ops.ones_like(reconstruction, dtype="bool")

    def get_config(self):
        return {**super().get_config(), "shape": self.shape, "config": asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": from_dict(VQVAEConfig, config["config"])})
