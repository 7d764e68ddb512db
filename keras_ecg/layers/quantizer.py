"""Tokens replaced by the nearest of a codebook's vectors.

van den Oord A, Vinyals O, Kavukcuoglu K, Neural Discrete Representation Learning (VQ-VAE), NeurIPS 2017,
https://arxiv.org/abs/1711.00937: codes as moving averages (appendix A.1), the commitment loss, straight-through
gradients. Yu J et al., Vector-quantized Image Modeling with Improved VQGAN, ICLR 2022,
https://arxiv.org/abs/2110.04627: tokens and codes of length one. Dhariwal P et al., Jukebox: A Generative Model for
Music, 2020, https://arxiv.org/abs/2005.00341: dead codes restart where tokens are.
"""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_ecg")
class VectorQuantizer(layers.Layer):
    """Tokens (B, N, C) to the nearest codes (B, N, C), which codes they are (B, N) int32, and the distances (B, N).

    Tokens are first scaled to a length of one, as codes are; the nearest code is that of the largest cosine. Gradients
    pass from the codes to the scaled tokens as if nothing had been replaced. The squared distance of a scaled token to
    its code is the commitment loss: its gradient moves the token alone.

    In training each code follows the mean of the tokens that chose it, by a moving average over steps. A code that has
    been chosen less than `dead` times as often as all are on average starts anew at a random token of the batch. Where
    `accumulated` batches make a step of the optimizer, each decays the averages by that root of `decay`.

    Args:
        codes: K.
        decay: of the moving averages, each step.
        dead: share of the average use below which a code restarts; 0 for never.
        seed: of the restarts and of the first codes; None draws one.
    """

    def __init__(self, codes: int = 512, decay: float = 0.99, dead: float = 0.1, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.codes, self.decay, self.dead, self.seed = codes, decay, dead, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.accumulated = 1

    def build(self, shape):
        def state(name, shape, initializer):
            # float32 whatever the precision: averages move by less than half precision can hold
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, trainable=False, dtype="float32", autocast=False
            )

        self.codebook = state("codebook", (self.codes, shape[-1]), keras.initializers.RandomNormal(seed=self.seed))
        self.codebook.assign(ops.normalize(self.codebook, axis=-1))
        self.uses = state("uses", (self.codes,), "ones")  # tokens that chose the code, average over steps
        self.sums = state("sums", (self.codes, shape[-1]), "zeros")  # of these tokens
        self.sums.assign(ops.copy(self.codebook))  # JAX hands buffers on, each once: no two weights may share one

    def call(self, x, training=None):
        tokens = ops.normalize(ops.cast(x, "float32"), axis=-1)  # (B, N, C)
        flat = ops.reshape(tokens, (-1, tokens.shape[-1]))
        chosen = ops.cast(ops.argmax(ops.matmul(flat, ops.transpose(self.codebook)), -1), "int32")  # (B N,)
        codes = ops.stop_gradient(ops.reshape(ops.take(self.codebook, chosen, axis=0), ops.shape(tokens)))
        distances = ops.sum(ops.square(tokens - codes), -1)  # (B, N)
        if training:
            self.learn(ops.stop_gradient(flat), chosen)
        out = tokens + ops.stop_gradient(codes - tokens)
        return ops.cast(out, self.compute_dtype), ops.reshape(chosen, ops.shape(tokens)[:2]), distances

    def learn(self, tokens, chosen) -> None:
        """Moves codes towards the tokens (n, C) that chose them (n,), and restarts those that are dead."""
        uses = ops.segment_sum(ops.ones_like(tokens[:, 0]), chosen, self.codes)
        sums = ops.segment_sum(tokens, chosen, self.codes)
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
        self.codebook.assign(ops.normalize(sums, axis=-1))

    def start(self, codebook) -> None:
        """Sets the codes (K, C), of any length, as if every one had been used equally."""
        codebook = ops.normalize(ops.cast(codebook, "float32"), axis=-1)
        self.codebook.assign(codebook)
        self.sums.assign(ops.copy(codebook))
        self.uses.assign(ops.ones((self.codes,)))

    def get_config(self):
        hyperparameters = ("codes", "decay", "dead", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in hyperparameters}}


def perplexity(counts):
    """How many codes would be as spread as these, used equally: exp of the entropy of counts (K,)."""
    share = counts / ops.maximum(ops.sum(counts), 1.0)
    return ops.exp(-ops.sum(share * ops.log(ops.maximum(share, 1e-12))))


@keras.saving.register_keras_serializable(package="keras_ecg")
class CodeUsage(keras.metrics.Metric):
    """Share of the K codes that are used since the last reset."""

    def __init__(self, codes: int = 512, name: str = "usage", **kwargs):
        super().__init__(name=name, **kwargs)
        self.codes = codes
        self.counts = self.add_variable((codes,), "zeros", name="counts")

    def update_state(self, chosen, sample_weight=None):
        """Counts codes (...,) int."""
        flat = ops.reshape(chosen, (-1,))
        self.counts.assign_add(ops.segment_sum(ops.ones_like(flat, dtype=self.dtype), flat, self.codes))

    def result(self):
        return ops.mean(ops.cast(self.counts > 0, self.dtype))

    def get_config(self):
        return {**super().get_config(), "codes": self.codes}


@keras.saving.register_keras_serializable(package="keras_ecg")
class CodePerplexity(CodeUsage):
    """`perplexity` of the codes that are used since the last reset: 1 to K."""

    def __init__(self, codes: int = 512, name: str = "perplexity", **kwargs):
        super().__init__(codes, name, **kwargs)

    def result(self):
        return perplexity(self.counts)
