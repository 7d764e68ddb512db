"""Multi-label classifier of recordings on a pretrained or randomly initialised encoder.

Shapes: B batch, T samples, L leads, N tokens, D width, R rows (leads) of tokens, K intervals and amplitudes.
"""

from dataclasses import asdict, dataclass, field

import keras
from keras import layers

from keras_ecg.layers.leads import FoldLeads, JoinLeads
from keras_ecg.layers.pooling import AttentionPooling, RowMeans
from keras_ecg.models.fewer_leads import token_rows
from keras_ecg.models.fewer_patches import with_patch_dropout
from keras_ecg.models.resnet1d import ConvolutionsConfig, build_encoder
from keras_ecg.models.window_classifier import freeze
from keras_ecg.signals.window_augment import WindowAugment, augment_windows


@dataclass(frozen=True)
class RecordingClassifierConfig:
    """Hyperparameters of the classifier."""

    weights: str = ""  # pretrained encoder: a preset or a run folder; empty for random initialisation
    random: bool = False  # the architecture of `weights`, randomly initialised: the baseline trained from scratch
    encoder: ConvolutionsConfig = field(default_factory=ConvolutionsConfig)  # without `weights`: a ResNet1D
    frozen_stages: int = 0  # counted from the input; -1 freezes the encoder
    patch_dropout: float = 0.0  # fraction of each lead's patches dropped in training, for encoders of patches
    intervals_hidden: tuple[int, ...] = (256, 64)  # widths of the dense layers that encode the intervals
    intervals_dropout: float = 0.3  # after each of them
    dropout: float = 0.2  # before the last layer
    augment: WindowAugment = field(default_factory=WindowAugment)


@keras.saving.register_keras_serializable(package="keras_ecg")
class AugmentWindows(layers.Layer):
    """Augment windows (B, T, L) randomly and independently in training; the identity otherwise.

    Args:
        augment: strengths of the augmentations.
        seed: seed of the augmentation; None draws one.
    """

    def __init__(self, augment: WindowAugment | dict | None = None, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.augment = WindowAugment(**augment) if isinstance(augment, dict) else augment or WindowAugment()
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, signals, training=None):
        return augment_windows(signals, self.generator, self.augment) if training else signals

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "augment": asdict(self.augment), "seed": self.seed}


def tokens_of(encoder: keras.Model, signals: keras.KerasTensor) -> tuple[keras.KerasTensor, int]:
    """Encode signals (B, T, L): tokens (B, N, D), and the number of leads whose tokens are concatenated.

    A single-lead encoder is applied to each lead separately.
    """
    leads = signals.shape[-1]
    if encoder.input_shape[-1] == 1 < leads:
        return JoinLeads(leads, name="leads_joined")(encoder(FoldLeads(name="leads_apart")(signals))), leads
    return encoder(signals), token_rows(encoder)


def set_trainable(
    encoder: keras.Model, frozen_stages: int, patch_dropout: float, seed: int | None = None
) -> keras.Model:
    """Set which stages of an encoder are trainable, and add patch dropout; the layers are shared with `encoder`.

    Args:
        encoder: model from (B, T, L) to (B, N, D).
        frozen_stages: number of frozen stages, counted from the input; -1 for all.
        patch_dropout: fraction of each lead's patches dropped in training; 0 for none.
        seed: seed of the patch dropout.

    Raises:
        ValueError: more frozen stages than there are, or patch dropout for an encoder without patches.
    """
    encoder.trainable = True
    freeze(encoder, frozen_stages)
    return with_patch_dropout(encoder, patch_dropout, seed) if patch_dropout else encoder


def build_recording_classifier(
    shapes: dict[str, tuple[int, ...]],
    classes: int,
    config: RecordingClassifierConfig,
    encoder: keras.Model | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Build the classifier: `signals` (B, T, L) and optional `intervals` (B, K) to probabilities (B, classes).

    Args:
        shapes: shapes of the named inputs, without the batch axis.
        classes: number of classes, which are not mutually exclusive.
        config: hyperparameters.
        encoder: model from (B, T, L) or (B, T, 1) to (B, N, D); None builds a ResNet1D.
        seed: seed of augmentation and patch dropout.

    Raises:
        ValueError: more frozen stages than there are, or patch dropout for an encoder without patches.
    """
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    dropped = config.patch_dropout if encoder else 0.0  # a ResNet1D has no patches
    encoder = encoder or build_encoder(shapes["signals"], config.encoder)
    encoder = set_trainable(encoder, config.frozen_stages, dropped, seed)
    x = inputs["signals"]
    if config.augment.probability:
        x = AugmentWindows(config.augment, seed, name="augment")(x)
    tokens, rows = tokens_of(encoder, x)
    x = layers.LayerNormalization(name="tokens_norm")(RowMeans(rows, name="means")(tokens))
    if "intervals" in inputs:
        intervals = inputs["intervals"]
        for i, width in enumerate(config.intervals_hidden):
            intervals = layers.Dense(width, activation="relu", name=f"intervals_hidden_{i}")(intervals)
            intervals = layers.Dropout(config.intervals_dropout, name=f"intervals_drop_{i}")(intervals)
        x = layers.Concatenate(name="known")([x, intervals])
    x = layers.Dropout(config.dropout, name="head_drop")(x)
    outputs = layers.Dense(classes, activation="sigmoid", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="recording_classifier")


def build_attentive_probe(shape: tuple[int, int], classes: int, heads: int = 4) -> keras.Model:
    """Build an attentive probe: attention pooling of a frozen encoder's tokens (B, N, D), then a linear classifier."""
    tokens = keras.Input(shape, name="tokens")
    x = AttentionPooling(heads, name="pool")(tokens)
    outputs = layers.Dense(classes, activation="sigmoid", dtype="float32", name="probabilities")(x)
    return keras.Model({"tokens": tokens}, outputs, name="attentive_probe")
