"""VQ-VAE: an ECG as a sequence of code indices, one of K codes per 0.1 s and lead, and its reconstruction from them.

van den Oord A, Vinyals O, Kavukcuoglu K, Neural Discrete Representation Learning, NeurIPS 2017,
https://arxiv.org/abs/1711.00937. The codebook is `keras_ecg.layers.quantizer`.

Shapes: B batch, T samples, L leads, N tokens per lead, D width, C width of the codes, K codes. A row (B L, ...) is one
lead of one window.

Departures from the paper: tokens and codes are l2-normalized and have fewer channels than the encoder; codes are
initialised by k-means and unused codes are restarted, against codebook collapse; the decoder is a Transformer. With
`encoder: cnn` each lead is encoded separately with shared weights; with `st_mem` tokens attend to all leads.

    model = VQVAE((1000, 12), VQVAEConfig(), seed=0)
    model.begin(signals, batches)  # k-means initialisation of the codes on training windows
    codes = model.codes_of(signals)  # (B, L N) int, code indices
    signals = model.signals_of_codes(codes)  # (B, T, L), reconstruction

`keras-ecg pretrain` saves the whole model: `keras_ecg.load_model(RUN_FOLDER)`.
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

START_TOKENS = 100  # tokens per code for k-means, at most
START_BATCH = 16  # windows per batch of encoding before k-means


@dataclass(frozen=True)
class VQVAEConfig:
    """Hyperparameters of the VQ-VAE."""

    encoder: str = "cnn"  # or st_mem
    encoder_options: dict = field(default_factory=dict)  # of CNNConfig or STMEMConfig; they set the length of a token
    codes: int = 512  # K
    code_width: int = 32  # C
    decay: float = 0.99  # of the codes' exponential moving averages
    dead: float = 0.1  # usage, as a fraction of the average usage, below which a code is restarted
    commitment: float = 0.25  # weight of the commitment loss
    decoder_width: int = 128
    decoder_depth: int = 2
    decoder_heads: int = 4
    expansion: int = 4  # of the decoder's feed-forward networks


def build_cnn(shape: tuple[int, int], config: CNNConfig) -> keras.Model:
    """Build a CNN applied to each lead separately: signals (B, T, L) to tokens (B, L N, D), the leads concatenated."""
    signals = keras.Input(shape, name="signals")
    x = convolve(FoldLeads(name="fold")(signals), config)  # (B L, N, D)
    return keras.Model(signals, JoinLeads(shape[1], name="join")(x), name="vqvae_cnn_encoder")


DEFAULTS = {
    "cnn": (CNNConfig(kernel_sizes=(15, 7), strides=(5, 2), dropout=0.0), build_cnn),  # 10 tokens per second at 100 Hz
    "st_mem": (STMEMConfig(width=128, depth=4, heads=4, rotary=True, patch_samples=10), build_st_mem),
}


def build_encoder(shape: tuple[int, int], config: VQVAEConfig) -> keras.Model:
    """Build the encoder: signals (B, T, L) to tokens (B, L N, D) before quantization, the leads concatenated.

    Raises:
        InputError: an unknown hyperparameter of the encoder.
        ValueError: an unknown encoder, or hyperparameters that do not fit the shape.
    """
    if config.encoder not in DEFAULTS:
        raise ValueError(f"unknown encoder {config.encoder!r}: give one of {', '.join(DEFAULTS)}")
    defaults, build = DEFAULTS[config.encoder]
    options = {**asdict(defaults), **config.encoder_options}
    return build(shape, from_dict(type(defaults), options, "model.options.encoder_options"))


@keras.saving.register_keras_serializable(package="keras_ecg")
class VQVAE(keras.Model):
    """VQ-VAE: signals (B, T, L) to reconstruction (B, T, L), code indices (B, L N) and squared distances (B, L N).

    `fit` takes signals, or a dict with the key `signals`. It logs

        relative_loss  squared error divided by that of predicting each lead's mean (1 - R2); both sums over the epoch
        commitment     mean squared distance of the normalized tokens to their codes
        usage          fraction of the codes that are used in the epoch
        perplexity     perplexity of the code indices: 1 to K

    Args:
        shape: (T, L).
        config: hyperparameters.
        seed: seed of initialisation and restarts of the codes; None draws one.

    Raises:
        InputError: an unknown hyperparameter of the encoder.
        ValueError: hyperparameters that do not fit the shape or each other.
    """

    def __init__(self, shape: tuple[int, int], config: VQVAEConfig, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.shape, self.config, self.seed = tuple(shape), config, seed
        self.rows, policy = self.shape[1], self.dtype_policy.name
        self.encoder = build_encoder(self.shape, config)
        tokens, width = self.encoder.output_shape[1] // self.rows, self.encoder.output_shape[2]
        if self.shape[0] % tokens:
            raise ValueError(f"windows of {self.shape[0]} samples do not divide into {tokens} tokens per lead")
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
        """Initialise the codes by k-means on the tokens of training windows (n, T, L).

        Args:
            signals: training windows.
            batches: number of training batches; ignored.
            accumulated: batches per optimizer step; the decay of the codes per batch depends on it.

        Raises:
            ValueError: fewer tokens than codes.
        """
        parts = np.array_split(signals, -(-len(signals) // START_BATCH))
        tokens = np.concatenate([ops.convert_to_numpy(self.tokens(part)) for part in parts])
        flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float32)
        if len(flat) < self.config.codes:
            raise ValueError(f"{len(flat)} tokens are too few to initialise {self.config.codes} codes")
        rng = np.random.default_rng(self.seed)
        flat = flat[rng.permutation(len(flat))[: START_TOKENS * self.config.codes]]
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        fitted = KMeans(self.config.codes, n_init=1, max_iter=20, random_state=self.seed).fit(flat)
        self.quantizer.initialize(fitted.cluster_centers_)
        self.quantizer.accumulated = accumulated

    def call(self, inputs, training=None):
        signals = signals_of(inputs)
        tokens = self.tokens(signals, training)  # (B, L N, C)
        quantized, codes, distances = self.quantizer(tokens, training=training)
        return self.decode(quantized, training), codes, distances

    def tokens(self, signals, training=None):
        """Encode signals (B, T, L) as tokens (B, L N, C) before quantization."""
        return self.to_codes(self.encoder(signals, training=training))

    def decode(self, quantized, training=None):
        """Decode quantized tokens (B, L N, C) to signals (B, T, L), each lead separately."""
        x = self.positions(self.from_codes(split_leads(quantized, self.rows)))  # (B L, N, decoder width)
        patches = self.predict_patches(self.decoder(x, training=training))  # (B L, N, P)
        return unfold_leads(unpatchify(patches, 1), self.rows)

    def codes_of(self, signals):
        """Encode signals (B, T, L) as code indices (B, L N) int32, the leads concatenated."""
        return self.quantizer(self.tokens(signals, training=False), training=False)[1]

    def signals_of_codes(self, codes):
        """Decode code indices (B, L N) int, the leads concatenated, to signals (B, T, L)."""
        return self.decode(ops.take(self.quantizer.codebook, codes, axis=0), training=False)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute mean squared error of the reconstruction plus weighted commitment loss, a float32 scalar."""
        reconstruction, codes, distances = y_pred
        errors, chance = self.errors(signals_of(x), reconstruction)
        self.relative_loss.update_state(errors, chance)
        self.commitment.update_state(distances)
        self.usage.update_state(codes)
        self.perplexity.update_state(codes)
        return ops.mean(errors) + self.config.commitment * ops.mean(distances)

    def errors(self, signals, reconstruction):
        """Compute mean squared errors (B,) on signals (B, T, L): of the reconstruction, and of each lead's mean."""
        signals = ops.cast(signals, "float32")
        compared = (reconstruction, ops.mean(signals, 1, keepdims=True))
        return tuple(ops.mean(ops.square(signals - prediction), (1, 2)) for prediction in compared)

    def scores(self, signals, seed: int) -> dict:
        """Compute what an evaluation stores of held-out signals (B, T, L): `errors` and code indices (B, L N)."""
        reconstruction, codes, _ = self(signals, training=False)
        error, mean_error = self.errors(signals, reconstruction)
        return {"error": error, "mean_error": mean_error, "codes": codes}

    def reconstruct(self, signals, seed: int):
        """Reconstruct signals (B, T, L), for figures; the mask (B, T, L) of reconstructed samples is all true."""
        reconstruction = self(signals, training=False)[0]
        return reconstruction, ops.ones_like(reconstruction, dtype="bool")

    def get_config(self):
        return {**super().get_config(), "shape": self.shape, "config": asdict(self.config), "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "config": from_dict(VQVAEConfig, config["config"])})
