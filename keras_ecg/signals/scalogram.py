"""Morlet scalograms of beats as one matrix product.

A continuous wavelet transform of a fixed-length beat is a fixed linear map: PyWavelets applied to the identity
gives its matrix once, and all beats are one product with it, equal to `pywt.cwt` within float32 rounding.
"""

from functools import lru_cache

import numpy as np
import pywt

BLOCK = 128  # beats at a time: their 3 MB of coefficients stay near the processor between product, abs and cast


@lru_cache(maxsize=4)
def cwt_matrix(samples: int, scales: int, wavelet: str = "morl") -> np.ndarray:
    """The transform of `samples` samples at scales 1 to `scales`, as a matrix (T, F * T) float32, read-only."""
    identity = np.eye(samples)
    coefficients, _ = pywt.cwt(identity, np.arange(1, scales + 1), wavelet, axis=-1)  # (F, T in, T out)
    matrix = np.ascontiguousarray(coefficients.transpose(1, 0, 2).reshape(samples, scales * samples), dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


def scalograms(beats: np.ndarray, scales: int = 32, wavelet: str = "morl", dtype: type = np.float32) -> np.ndarray:
    """Magnitudes of the wavelet coefficients of beats.

    Args:
        beats: (n, T), millivolts.
        scales: F; the scales are 1 to F samples.
        wavelet: a real wavelet's PyWavelets name.
        dtype: of the result; the arithmetic is float32.

    Returns:
        (n, F, T), equal to `abs(pywt.cwt(beat, range(1, F + 1), wavelet)[0])`.
    """
    beats = np.ascontiguousarray(beats, dtype=np.float32)
    n, samples = beats.shape
    matrix = cwt_matrix(samples, scales, wavelet)
    out = np.empty((n, scales * samples), dtype)
    block = np.empty((min(BLOCK, n), scales * samples), np.float32)
    for start in range(0, n, BLOCK):
        part = beats[start : start + BLOCK]
        product = np.matmul(part, matrix, out=block[: len(part)])
        np.abs(product, out=product)
        out[start : start + len(part)] = product
    return out.reshape(n, scales, samples)
