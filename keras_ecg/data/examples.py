"""One `tf.train.Example` to one TFRecord file: no TensorFlow in the processes that pack, and no copy of the arrays.

Protocol Buffers on the wire: https://protobuf.dev/programming-guides/encoding/; the messages are those of TensorFlow's
example.proto and feature.proto, the frame around them and its masked CRC-32C those of its TFRecord documentation.
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np

from keras_ecg.files import atomic

Parts = list[bytes | np.ndarray]  # a message in pieces, to be written one after the other
BYTES_LIST, INT64_LIST = 1, 3  # numbers of the fields of Feature
DELIMITED = 2  # the wire type of strings, bytes and messages


def varint(value: int) -> bytes:
    """A number that is not negative, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def size(parts: Parts) -> int:
    """Bytes of a message in pieces."""
    return sum(len(part) for part in parts)


def field(number: int, parts: Parts) -> Parts:
    """A field whose value is what the parts hold: a message, text or bytes."""
    return [varint(number << 3 | DELIMITED) + varint(size(parts)), *parts]


def encode(features: dict[str, bytes | np.ndarray | Sequence[int]]) -> Parts:
    """A serialized `tf.train.Example` of features that hold one byte string each, or integers that are not negative.

    Args:
        features: arrays go as the bytes they consist of; sequences of int as an Int64List.
    """
    out: Parts = []
    for name, value in sorted(features.items()):
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        if isinstance(value, bytes | np.ndarray):
            feature = field(BYTES_LIST, field(1, [value]))
        else:
            feature = field(INT64_LIST, field(1, [b"".join(varint(v) for v in value)]))
        out += field(1, field(1, [name.encode()]) + field(2, feature))  # an entry of the map
    return field(1, out)


def masked_crc(parts: Parts) -> bytes:
    """The checksum as TFRecord stores it."""
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_example(path: Path | str, features: dict[str, bytes | np.ndarray | Sequence[int]]) -> str:
    """Writes a TFRecord file that holds one example (see `encode`), atomically, and returns the file's SHA-256."""
    parts = encode(features)
    length = [struct.pack("<Q", size(parts))]
    framed = [*length, masked_crc(length), *parts, masked_crc(parts)]
    digest = hashlib.sha256()
    with atomic(path) as partial, open(partial, "wb") as file:
        for part in framed:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()
