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

BLOCK = 256  # beats in one product
CAST = 16  # beats at a time then: 400 KB, which stay in the second-level cache


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


@lru_cache(maxsize=4)
def largest_gain(samples: int, scales: int, wavelet: str = "morl") -> float:
    """How many times a beat's largest sample its largest coefficient can be."""
    return float(np.abs(cwt_matrix(samples, scales, wavelet)).sum(0).max())


def to_half(values: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
    """The magnitudes of `values` in float16, rounded to nearest, ties to even, in a third of the time of `astype`.

    A float16 is the upper bits of a float32 whose exponent has another bias; a product with 2^-112 changes the bias,
    and makes of what is small for a float16 what is small for a float32. Only there it rounds twice.

    Args:
        values: (n, K) float32, contiguous, of magnitudes below 65520; overwritten.
        out: (n, K) float16, contiguous.
        scratch: (at least n, K) uint32.
    """
    bits, last = values.view(np.uint32), scratch[: len(values)]
    np.multiply(values, np.float32(2.0**-112), out=values)
    np.right_shift(bits, 13, out=last)
    np.bitwise_and(last, 1, out=last)  # the last bit that is kept decides a tie
    np.add(last, np.uint32(0x0FFF), out=last)
    np.add(bits, last, out=bits)
    np.right_shift(bits, 13, out=out.view(np.uint16), casting="unsafe")  # and the sign is gone


def _fill(out: np.ndarray, beats: np.ndarray, matrix: np.ndarray, starts: Iterator[int], halved: bool) -> None:
    """Writes the magnitudes of the blocks that begin at `starts` into `out` (n, F * T)."""
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
    """Magnitudes of the wavelet coefficients of beats, on as many threads as BLAS may use.

    Args:
        beats: (n, T), millivolts.
        scales: F; the scales are 1 to F samples.
        wavelet: a real wavelet's PyWavelets name.
        dtype: of the result; the arithmetic is float32.
        out: (n, F, T), contiguous, of the dtype that is wanted: written to and returned, instead of new memory.

    Returns:
        (n, F, T), equal to `abs(pywt.cwt(beat, range(1, F + 1), wavelet)[0])`.
    """
    beats = np.ascontiguousarray(beats, dtype=np.float32)
    n, samples = beats.shape
    matrix = cwt_matrix(samples, scales, wavelet)
    out = np.empty((n, scales, samples), dtype) if out is None else out
    flat = out.reshape(n, scales * samples, copy=False)
    # Beyond float16, or not a number: left to NumPy, which knows infinity.
    halved = out.dtype == np.float16 and np.abs(beats).max(initial=0) * largest_gain(samples, scales, wavelet) < 65520
    threads = max((library.num_threads for library in _blas().lib_controllers), default=1)
    threads = max(1, min(threads, -(-n // BLOCK)))
    # Each thread runs whole blocks with a BLAS of one thread: none waits for another before its last block.
    with _blas().limit(limits=1):
        starts = iter(range(0, n, BLOCK))  # shared: each thread takes the next block
        if threads == 1:
            _fill(flat, beats, matrix, starts, halved)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda _: _fill(flat, beats, matrix, starts, halved), range(threads)))
    return out
