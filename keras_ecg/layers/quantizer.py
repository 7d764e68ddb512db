"""Vector quantization of tokens with a codebook updated by exponential moving averages.

van den Oord A, Vinyals O, Kavukcuoglu K, Neural Discrete Representation Learning (VQ-VAE), NeurIPS 2017,
https://arxiv.org/abs/1711.00937: codes as exponential moving averages (appendix A.1), commitment loss,
straight-through gradients. Yu J et al., Vector-quantized Image Modeling with Improved VQGAN, ICLR 2022,
https://arxiv.org/abs/2110.04627: l2-normalized tokens and codes. Dhariwal P et al., Jukebox: A Generative Model for
Music, 2020, https://arxiv.org/abs/2005.00341: unused codes are restarted at random tokens.

Shapes: B batch, N tokens, C width of tokens and codes, K codes.
"""

import keras
from keras import layers, ops

from keras_ecg.layers.normalize import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ecg")
class VectorQuantizer(layers.Layer):
    """Quantize tokens (B, N, C): nearest codes (B, N, C), code indices (B, N) int32, squared distances (B, N).

    Tokens and codes are l2-normalized, so the nearest code is the one of the largest cosine similarity. Gradients pass
    straight through from the codes to the normalized tokens. The squared distance of a normalized token to its code is
    the commitment loss, whose gradient reaches the token only.

    In training each code is an exponential moving average of the tokens assigned to it. A code whose usage falls below
    `dead` times the average usage is restarted at a random token of the batch. If an optimizer step accumulates the
    gradients of `accumulated` batches, each batch decays the averages by the corresponding root of `decay`.

    Args:
        codes: K.
        decay: decay of the moving averages per optimizer step.
        dead: usage, as a fraction of the average usage, below which a code is restarted; 0 for never.
        seed: seed of the restarts and of the initial codes; None draws one.
    """

    def __init__(self, codes: int = 512, decay: float = 0.99, dead: float = 0.1, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.codes, self.decay, self.dead, self.seed = codes, decay, dead, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.accumulated = 1

    def build(self, shape):
        def state(name, shape, initializer):
            # float32 under every precision policy: the updates are below the resolution of half precision
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, trainable=False, dtype="float32", autocast=False
            )

        self.codebook = state("codebook", (self.codes, shape[-1]), keras.initializers.RandomNormal(seed=self.seed))
        self.codebook.assign(l2_normalize(self.codebook))
        self.uses = state("uses", (self.codes,), "ones")  # moving average of the number of tokens per code
        self.sums = state("sums", (self.codes, shape[-1]), "zeros")  # moving average of the sum of these tokens
        self.sums.assign(ops.copy(self.codebook))  # a copy: JAX donates buffers, so weights must not share one

    def call(self, x, training=None):
        tokens = l2_normalize(x)  # (B, N, C)
        flat = ops.reshape(tokens, (-1, tokens.shape[-1]))
        index = ops.cast(ops.argmax(ops.matmul(flat, ops.transpose(self.codebook)), -1), "int32")  # (B N,)
        codes = ops.stop_gradient(ops.reshape(ops.take(self.codebook, index, axis=0), ops.shape(tokens)))
        distances = ops.sum(ops.square(tokens - codes), -1)  # (B, N)
        if training:
            self.update_codebook(ops.stop_gradient(flat), index)
        out = tokens + ops.stop_gradient(codes - tokens)
        return ops.cast(out, self.compute_dtype), ops.reshape(index, ops.shape(tokens)[:2]), distances

    def update_codebook(self, tokens, index) -> None:
        """Update the codes by tokens (n, C) and their code indices (n,), and restart unused codes."""
        uses = ops.segment_sum(ops.ones_like(tokens[:, 0]), index, self.codes)
        sums = ops.segment_sum(tokens, index, self.codes)
        decay = self.decay ** (1 / self.accumulated)
        uses = decay * self.uses + (1 - decay) * uses
        sums = decay * self.sums + (1 - decay) * sums
        if self.dead:
            average = ops.mean(uses)
            restart = uses < self.dead * average  # (K,)
            drawn = keras.random.randint((self.codes,), 0, ops.shape(tokens)[0], "int32", self.generator)
            uses = ops.where(restart, average, uses)
            sums = ops.where(restart[:, None], average * ops.take(tokens, drawn, axis=0), sums)
        self.uses.assign(uses)
        self.sums.assign(sums)
        self.codebook.assign(l2_normalize(sums))

    def initialize(self, codebook) -> None:
        """Set the codes (K, C), which are l2-normalized here, with equal usage."""
        codebook = l2_normalize(codebook)
        self.codebook.assign(codebook)
        self.sums.assign(ops.copy(codebook))
        self.uses.assign(ops.ones((self.codes,)))

    def get_config(self):
        hyperparameters = ("codes", "decay", "dead", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}


def perplexity(counts):
    """Return the perplexity of code counts (K,): exp of their entropy, K for uniform usage."""
    share = counts / ops.maximum(ops.sum(counts), 1.0)
    return ops.exp(-ops.sum(share * ops.log(ops.maximum(share, 1e-12))))


@keras.saving.register_keras_serializable(package="keras_ecg")
class CodeUsage(keras.metrics.Metric):
    """Fraction of the K codes that are used at least once since the last reset."""

    def __init__(self, codes: int = 512, name: str = "usage", **kwargs):
        super().__init__(name=name, **kwargs)
        self.codes = codes
        self.counts = self.add_variable((codes,), "zeros", name="counts")

    def update_state(self, indices, sample_weight=None):
        """Count code indices (...,) int."""
        flat = ops.reshape(indices, (-1,))
        self.counts.assign_add(ops.segment_sum(ops.ones_like(flat, dtype=self.dtype), flat, self.codes))

    def result(self):
        return ops.mean(ops.cast(self.counts > 0, self.dtype))

    def get_config(self):
        return {**super().get_config(), "codes": self.codes}


@keras.saving.register_keras_serializable(package="keras_ecg")
class CodePerplexity(CodeUsage):
    """`perplexity` of the code indices since the last reset: 1 to K."""

    def __init__(self, codes: int = 512, name: str = "perplexity", **kwargs):
        super().__init__(codes, name, **kwargs)

    def result(self):
        return perplexity(self.counts)
