"""ResNet1D: residual convolutions over a recording, and a classifier of its rhythm.

Hannun AY et al., Cardiologist-level arrhythmia detection and classification in ambulatory electrocardiograms using a
deep neural network, Nature Medicine 25 (2019), https://doi.org/10.1038/s41591-018-0268-3. Residual blocks: He K et al.,
Deep Residual Learning for Image Recognition, CVPR 2016, https://arxiv.org/abs/1512.03385.

Shapes: B batch, T samples, L leads, N = T / 16 tokens, D width of the last stage.

Departures from the paper: six blocks instead of sixteen, with kernels of 9 samples at 100 Hz instead of 16 at 200 Hz,
so that it trains on a CPU; normalization after each convolution, as in He et al.; padding is masked in every layer, so
that the output does not depend on the amount of padding; one prediction per recording instead of one every 1.3 s, from
the mean and the maximum of the tokens and from the features of `rhythm_head`.
"""

from dataclasses import dataclass, field

import keras
from keras import layers

from keras_ecg.layers.masked import LengthMask, MaskedBatchNorm
from keras_ecg.models.rhythm_head import RhythmHeadConfig, rhythm_head, rhythm_inputs


@dataclass(frozen=True)
class ConvolutionsConfig:
    """Hyperparameters of the residual convolutions."""

    width: int = 32  # of the first stage; each further stage doubles the width and halves the number of tokens
    stages: int = 3
    blocks: int = 2  # per stage
    kernel_size: int = 9
    stem_kernel_size: int = 15
    dropout: float = 0.1  # of whole channels, inside the blocks


@dataclass(frozen=True)
class ResNet1DConfig(ConvolutionsConfig):
    """Hyperparameters of the ResNet1D."""

    sampling_rate_hz: float = 100.0
    head: RhythmHeadConfig = field(default_factory=RhythmHeadConfig)


Mask = keras.KerasTensor | None  # (B, N, 1); None if there is no padding


def normalized(x: keras.KerasTensor, mask: Mask, name: str, active: bool = True) -> keras.KerasTensor:
    """Apply masked batch normalization to x (B, N, D), then ReLU if `active`."""
    x = MaskedBatchNorm(name=f"{name}_norm")(x, *([] if mask is None else [mask]))
    return layers.Activation("relu", name=f"{name}_active")(x) if active else x


def residual_block(
    x: keras.KerasTensor, mask: Mask, width: int, stride: int, config: ConvolutionsConfig, name: str
) -> keras.KerasTensor:
    """Apply a residual block of two convolutions: x (B, N, C), mask (B, N / stride, 1) to (B, N / stride, D)."""
    y = layers.Conv1D(width, config.kernel_size, stride, padding="same", use_bias=False, name=f"{name}_first")(x)
    y = normalized(y, mask, f"{name}_first")
    y = layers.SpatialDropout1D(config.dropout, name=f"{name}_drop")(y)
    y = layers.Conv1D(width, config.kernel_size, padding="same", use_bias=False, name=f"{name}_second")(y)
    y = normalized(y, mask, f"{name}_second", active=False)
    if stride > 1:
        x = layers.AveragePooling1D(stride, padding="same", name=f"{name}_shorter")(x)
    if x.shape[-1] != width:
        x = layers.Conv1D(width, 1, use_bias=False, name=f"{name}_wider")(x)
    return layers.Activation("relu", name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def encode(signals: keras.KerasTensor, mask: Mask, config: ConvolutionsConfig) -> tuple[keras.KerasTensor, Mask]:
    """Encode signals (B, T, L) with mask (B, T, 1) as tokens (B, N, D) with mask (B, N, 1)."""
    mask = None if mask is None else mask[:, ::2]
    kernel = config.stem_kernel_size
    x = layers.Conv1D(config.width, kernel, 2, padding="same", use_bias=False, name="stem")(signals)
    x = normalized(x, mask, "stem")
    for i in range(config.stages):
        mask = None if mask is None else mask[:, ::2]
        for j in range(config.blocks):
            x = residual_block(x, mask, config.width * 2**i, 1 if j else 2, config, f"stage_{i}_block_{j}")
    return x, mask


def samples_per_token(config: ConvolutionsConfig) -> int:
    """Return the total stride: a factor of two from the stem and from every stage."""
    return 2 ** (1 + config.stages)


def build_encoder(shape: tuple[int, int], config: ConvolutionsConfig) -> keras.Model:
    """Build the encoder of windows without padding: (B, T, L) to (B, N, D)."""
    signals = keras.Input(shape, name="signals")
    return keras.Model(signals, encode(signals, None, config)[0], name="resnet1d_encoder")


def build(shapes: dict[str, tuple[int, ...]], token: int, classes: int, config: ResNet1DConfig) -> keras.Model:
    """Build the classifier: named inputs (`keras_ecg.models.rhythm_head`) to probabilities (B, classes).

    Args:
        shapes: shapes of the named inputs, without the batch axis.
        token: ignored, as a recording has one label.
        classes: number of classes.
        config: hyperparameters.

    Raises:
        ValueError: T is not divisible by the total stride.
    """
    samples = shapes["signals"][0]
    if samples and samples % samples_per_token(config):
        raise ValueError(f"{samples} samples do not divide into tokens of {samples_per_token(config)}")
    inputs = rhythm_inputs(shapes)
    mask = LengthMask(name="mask")(inputs["length"], inputs["signals"])
    tokens, mask = encode(inputs["signals"], mask, config)
    rate, stride = config.sampling_rate_hz, samples_per_token(config)
    outputs = rhythm_head(tokens, mask, inputs, rate / stride, rate, classes, config.head)
    return keras.Model(inputs, outputs, name="resnet1d")
