"""Morlet scalograms of beats as one matrix product.

A continuous wavelet transform of a fixed-length beat is a fixed linear map: PyWavelets applied to the identity
gives its matrix once, and all beats are one product with it, equal to `pywt.cwt` within float32 rounding.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pywt
from threadpoolctl import ThreadpoolController

BLOCK = 128  # beats at a time: their 3 MB of coefficients stay near the processor between product, abs and cast
CAST = 16  # beats at a time in `to_half`, whose scratch then stays in the second-level cache


@lru_cache(maxsize=4)
def cwt_matrix(samples: int, scales: int, wavelet: str = "morl") -> np.ndarray:
    """The transform of `samples` samples at scales 1 to `scales`, as a matrix (T, F * T) float32, read-only."""
    identity = np.eye(samples)
    coefficients, _ = pywt.cwt(identity, np.arange(1, scales + 1), wavelet, axis=-1)  # (F, T in, T out)
    matrix = np.ascontiguousarray(coefficients.transpose(1, 0, 2).reshape(samples, scales * samples), dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")  # finding it takes milliseconds, limiting it microseconds


def to_half(values: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    """Rounds magnitudes to float16 as `astype` does, to the nearest and to even, several times faster.

    Adding 2 ** (E + 13) to a number of exponent E leaves float32 just the eleven bits that float16 keeps; the integer
    difference of the bit patterns is then the rounded significand, subnormal numbers (E = -14) included.

    Args:
        values: (n, K) float32, contiguous, none negative; overwritten.
        out: (n, K) float16.
        scratch: (2, at least n, K) uint32.
    """
    if len(values) and not values.max() < 65520:  # beyond float16, or not a number
        out[:] = values
        return
    bits, result = values.view(np.uint32), out.view(np.uint16)
    exponent, shifted = scratch[0, : len(values)], scratch[1, : len(values)]
    np.bitwise_and(bits, 0x7F800000, out=exponent)
    np.maximum(exponent, (127 - 14) << 23, out=exponent)
    np.add(exponent, 13 << 23, out=shifted)
    np.add(values, shifted.view(np.float32), out=values)
    np.subtract(bits, shifted, out=bits)
    np.right_shift(exponent, 13, out=exponent)
    np.add(bits, exponent, out=bits)
    np.subtract(bits, (127 - 14) << 10, out=result, casting="unsafe")


def _fill(out: np.ndarray, beats: np.ndarray, matrix: np.ndarray, starts: Iterator[int]) -> None:
    """Writes the magnitudes of the blocks that begin at `starts` into `out` (n, F * T)."""
    block = np.empty((min(BLOCK, len(beats)), matrix.shape[1]), np.float32)
    scratch = np.empty((2, CAST, matrix.shape[1]), np.uint32) if out.dtype == np.float16 else None
    for start in starts:
        part, target = beats[start : start + BLOCK], out[start : start + BLOCK]
        product = target if out.dtype == np.float32 else block[: len(part)]
        np.abs(np.matmul(part, matrix, out=product), out=product)
        if scratch is not None:
            for row in range(0, len(part), CAST):
                to_half(product[row : row + CAST], target[row : row + CAST], scratch)
        elif product is not target:
            target[:] = product


def scalograms(beats: np.ndarray, scales: int = 32, wavelet: str = "morl", dtype: type = np.float32) -> np.ndarray:
    """Magnitudes of the wavelet coefficients of beats, on as many threads as BLAS may use.

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
    threads = max((library.num_threads for library in _blas().lib_controllers), default=1)
    threads = max(1, min(threads, -(-n // BLOCK)))
    # Each thread runs whole blocks with a BLAS of one thread: none waits for another before its last block.
    with _blas().limit(limits=1):
        starts = iter(range(0, n, BLOCK))  # shared: each thread takes the next block
        if threads == 1:
            _fill(out, beats, matrix, starts)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda _: _fill(out, beats, matrix, starts), range(threads)))
    return out.reshape(n, scales, samples)
