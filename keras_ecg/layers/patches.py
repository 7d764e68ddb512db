"""Patch embedding: signals cut into patches of equal length, each projected linearly to a token.

Shapes: B batch, T samples, L leads, P samples per patch, N = T / P patches, D width.
"""

import keras
from keras import layers, ops


def patchify(signals, patch_samples: int):
    """Cut signals (B, T, L) into patches (B, N, P L), N = T / P, ordered by sample, then by lead.

    Args:
        signals: (B, T, L).
        patch_samples: P.

    Raises:
        ValueError: P does not divide T.
    """
    _, samples, leads = signals.shape
    return ops.reshape(signals, (-1, count_patches(samples, patch_samples), patch_samples * leads))


def unpatchify(patches, leads: int):
    """Invert `patchify`: patches (B, N, P L) to signals (B, T, L).

    Args:
        patches: (B, N, P L).
        leads: L.
    """
    _, tokens, values = patches.shape
    return ops.reshape(patches, (-1, tokens * values // leads, leads))


def count_patches(samples: int | None, patch_samples: int) -> int:
    """Return N = T / P, the number of patches in a window.

    Args:
        samples: T.
        patch_samples: P.

    Raises:
        ValueError: P does not divide T, or T is unknown.
    """
    if not samples or samples % patch_samples:
        raise ValueError(f"windows of {samples} samples do not divide into patches of {patch_samples}")
    return samples // patch_samples


@keras.saving.register_keras_serializable(package="keras_ecg")
class PatchEmbedding(layers.Layer):
    """Project every patch linearly: signals (B, T, L) to tokens (B, N, D).

    Args:
        width: D.
        patch_samples: P.
    """

    def __init__(self, width: int = 128, patch_samples: int = 20, **kwargs):
        super().__init__(**kwargs)
        self.width, self.patch_samples = width, patch_samples

    def build(self, shape):
        patches = count_patches(shape[1], self.patch_samples)
        self.project = layers.Dense(
            self.width, kernel_initializer="lecun_normal", name="project", dtype=self.dtype_policy
        )  # unit variance like the positions added later; Glorot's would be far smaller, as P L is below D
        self.project.build((None, patches, self.patch_samples * shape[2]))

    def call(self, signals):
        return self.project(patchify(signals, self.patch_samples))

    def compute_output_shape(self, shape):
        return (shape[0], count_patches(shape[1], self.patch_samples), self.width)

    def get_config(self):
        return {**super().get_config(), "width": self.width, "patch_samples": self.patch_samples}
