"""Writer of TFRecord files with one `tf.train.Example` each.

Without TensorFlow, which would slow the start of worker processes, and without copies of the arrays.

Encoding: https://protobuf.dev/programming-guides/encoding/. Messages: example.proto and feature.proto of TensorFlow.
Framing and masked CRC-32C: TensorFlow's documentation of TFRecord.
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np

from keras_ecg.files import atomic

Parts = list[bytes | np.ndarray]  # consecutive parts of a message
BYTES_LIST, INT64_LIST = 1, 3  # field numbers of Feature
DELIMITED = 2  # the wire type of strings, bytes and messages


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a varint: seven bits per byte, least significant first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def size(parts: Parts) -> int:
    """Return the number of bytes of a message."""
    return sum(len(part) for part in parts)


def field(number: int, parts: Parts) -> Parts:
    """Encode a length-delimited field: a message, a string or bytes."""
    return [varint(number << 3 | DELIMITED) + varint(size(parts)), *parts]


def encode(features: dict[str, bytes | np.ndarray | Sequence[int]]) -> Parts:
    """Encode a `tf.train.Example`.

    Args:
        features: byte strings; arrays, which are encoded as their bytes; sequences of non-negative integers, which are
            encoded as an Int64List.
    """
    out: Parts = []
    for name, value in sorted(features.items()):
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        if isinstance(value, bytes | np.ndarray):
            feature = field(BYTES_LIST, field(1, [value]))
        else:
            feature = field(INT64_LIST, field(1, [b"".join(varint(v) for v in value)]))
        out += field(1, field(1, [name.encode()]) + field(2, feature))  # an entry of the map Features.feature
    return field(1, out)


def masked_crc(parts: Parts) -> bytes:
    """Compute the masked CRC-32C of TFRecord files."""
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_example(path: Path | str, features: dict[str, bytes | np.ndarray | Sequence[int]]) -> str:
    """Write a TFRecord file with one example (see `encode`) atomically, and return the SHA-256 of the file."""
    parts = encode(features)
    length = [struct.pack("<Q", size(parts))]
    framed = [*length, masked_crc(length), *parts, masked_crc(parts)]
    digest = hashlib.sha256()
    with atomic(path) as partial, open(partial, "wb") as file:
        for part in framed:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()
