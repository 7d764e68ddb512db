"""Scalograms of beats by a matrix product.

The continuous wavelet transform of beats of fixed length is a linear map. Its matrix is computed once by PyWavelets
from the identity; the product with it equals `pywt.cwt` within float32 rounding.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pywt
from threadpoolctl import ThreadpoolController

BLOCK = 256  # beats in one matrix product
CAST = 16  # beats converted to float16 at a time: 400 KB, which fit into the second-level cache


@lru_cache(maxsize=4)
def cwt_matrix(samples: int, scales: int, wavelet: str = "morl") -> np.ndarray:
    """Return the read-only matrix (T, F * T) float32 of the transform of `samples` samples at scales 1 to `scales`."""
    identity = np.eye(samples)
    coefficients, _ = pywt.cwt(identity, np.arange(1, scales + 1), wavelet, axis=-1)  # (F, T in, T out)
    matrix = np.ascontiguousarray(coefficients.transpose(1, 0, 2).reshape(samples, scales * samples), dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")  # cached: searching takes milliseconds, limiting microseconds


@lru_cache(maxsize=4)
def largest_gain(samples: int, scales: int, wavelet: str = "morl") -> float:
    """Return the largest possible ratio of a coefficient to the largest sample of a beat."""
    return float(np.abs(cwt_matrix(samples, scales, wavelet)).sum(0).max())


def to_half(values: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    """Convert the magnitudes of `values` to float16, rounded to nearest even, in a third of the time of `astype`.

    Except for the bias of the exponent, a float16 consists of the upper bits of a float32. Multiplication by 2^-112
    adjusts the bias and maps the subnormal numbers of float16 to those of float32; only these are rounded twice.

    Args:
        values: (n, K) float32, contiguous, of magnitudes below 65520; overwritten.
        out: (n, K) float16, contiguous.
        scratch: (at least n, K) uint32.
    """
    bits, last = values.view(np.uint32), scratch[: len(values)]
    np.multiply(values, np.float32(2.0**-112), out=values)
    np.right_shift(bits, 13, out=last)
    np.bitwise_and(last, 1, out=last)  # the last remaining bit decides ties
    np.add(last, np.uint32(0x0FFF), out=last)
    np.add(bits, last, out=bits)
    np.right_shift(bits, 13, out=out.view(np.uint16), casting="unsafe")  # drops the sign


def _fill(out: np.ndarray, beats: np.ndarray, matrix: np.ndarray, starts: Iterator[int], halved: bool) -> None:
    """Write the magnitudes of the blocks that begin at `starts` to `out` (n, F * T)."""
    block = np.empty((min(BLOCK, len(beats)), matrix.shape[1]), np.float32) if out.dtype != np.float32 else None
    scratch = np.empty((CAST, matrix.shape[1]), np.uint32) if halved else None
    for start in starts:
        part, target = beats[start : start + BLOCK], out[start : start + BLOCK]
        product = np.matmul(part, matrix, out=target if block is None else block[: len(part)])
        for row in range(0, len(part), CAST):
            values = product[row : row + CAST]
            if halved:
                to_half(values, target[row : row + CAST], scratch)
            else:
                np.abs(values, out=target[row : row + CAST], casting="same_kind")


def scalograms(
    beats: np.ndarray,
    scales: int = 32,
    wavelet: str = "morl",
    dtype: type = np.float32,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Compute magnitudes of wavelet coefficients of beats, with as many threads as BLAS may use.

    Args:
        beats: (n, T) mV.
        scales: number F of scales, 1 to F samples.
        wavelet: PyWavelets name of a real wavelet.
        dtype: dtype of the result; the arithmetic is float32.
        out: (n, F, T), contiguous, for the result, whose dtype it determines; None allocates memory.

    Returns:
        (n, F, T), equal to `abs(pywt.cwt(beat, range(1, F + 1), wavelet)[0])`.
    """
    beats = np.ascontiguousarray(beats, dtype=np.float32)
    n, samples = beats.shape
    matrix = cwt_matrix(samples, scales, wavelet)
    out = np.empty((n, scales, samples), dtype) if out is None else out
    flat = out.reshape(n, scales * samples, copy=False)
    # NumPy converts values beyond the range of float16, and NaN, correctly.
    halved = out.dtype == np.float16 and np.abs(beats).max(initial=0) * largest_gain(samples, scales, wavelet) < 65520
    threads = max((library.num_threads for library in _blas().lib_controllers), default=1)
    threads = max(1, min(threads, -(-n // BLOCK)))
    # Each thread computes whole blocks with single-threaded BLAS, so that threads do not wait for each other.
    with _blas().limit(limits=1):
        starts = iter(range(0, n, BLOCK))  # shared by the threads
        if threads == 1:
            _fill(flat, beats, matrix, starts, halved)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda _: _fill(flat, beats, matrix, starts, halved), range(threads)))
    return out
