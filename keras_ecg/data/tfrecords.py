"""HDF5 to TFRecord: chunks of overlapping beat sequences, in which each beat is stored once. Writer and parser.

A file contains one example: a chunk of n sequences of S consecutive beats of one record, which consist of m = n + S - 1
beats. Sequence i contains beats i to i + S - 1 of the chunk; its label is that of one of them. At the ends of the
record the first and the last beat are repeated, so that every beat is the labelled beat of one sequence. With one chunk
in a file, shuffling files shuffles chunks, and a damaged byte affects one chunk.

    version       int64
    shape         int64 (6,): n, m, S, F, T, position of the labelled beat in its sequence
    scalograms    bytes: (m, F, T) float16; empty with `sequences.storage: samples`
    samples       bytes: (m, T) float16, mV
    median_beat   bytes: (T,) float16, mV: median beat of the record
    difference_quantiles  bytes: (4,) float32: quantiles of the record's QRS differences from its median beat
    level         bytes: (m,) float32, mV: median of each beat
    rr            bytes: (n + 2 C,) float32, seconds: RR intervals, from C before that of the first labelled beat
    label         bytes: (n,) int8
    sample        bytes: (n,) int64: sample indices of the labelled beats' annotations
    context       bytes: (K,) float16, mV: filtered recording from the first to the last context window; may be empty
    context_start bytes: (n,) int32: first sample of each labelled beat's context window in `context`
    record        bytes
"""

import logging
from pathlib import Path

import numpy as np

from keras_ecg.config import Beats, Config, Sequences, to_dict
from keras_ecg.data.examples import write_example
from keras_ecg.data.hdf5 import VERSION as HDF5_VERSION
from keras_ecg.data.hdf5 import hdf5_path, reading
from keras_ecg.data.manifests import load_manifest, pack_entries
from keras_ecg.errors import InputError
from keras_ecg.files import fingerprint, read_sealed, sha256
from keras_ecg.signals.beats import QUANTILES, difference_quantiles
from keras_ecg.signals.rhythm import CONTEXT, rr_series

logger = logging.getLogger(__name__)

VERSION = 3
SCRIPT = "keras-ecg pack (create_batched_tfrecords.py)"


def label_position(sequences: Sequences) -> int:
    """Return the index of the labelled beat in a sequence: the middle or the last one."""
    return sequences.length // 2 if sequences.label_beat == "middle" else sequences.length - 1


def rr_context(sequences: Sequences) -> int:
    """Return C, the RR intervals stored on each side of a labelled beat: enough for all beats of its sequence."""
    return CONTEXT + sequences.length


def span(values: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return values[start:stop], with the first and the last value repeated beyond the ends."""
    if start >= 0 and stop <= len(values):
        return values[start:stop]  # no copy
    return values[np.clip(np.arange(start, stop), 0, len(values) - 1)]


def write_chunk(path: Path, arrays: dict[str, np.ndarray], shape: tuple[int, ...], record: str) -> str:
    """Write the TFRecord file of one chunk, and return its SHA-256. The parser is `parse_chunks`."""
    return write_example(path, {**arrays, "record": record.encode(), "shape": shape, "version": (VERSION,)})


def parse_chunks(
    serialized, sequences: Sequences, scales: int, samples: int, scalograms: bool = True, context: bool = False
) -> dict:
    """Parse P serialized chunks. The writer is `write_chunk`.

    Args:
        serialized: (P,) string tensor.
        sequences: options with which the chunks were written.
        scales: number F of scales.
        samples: number T of samples of a beat.
        scalograms: whether to parse stored scalograms.
        context: whether to parse the filtered recording; its length must be equal in all chunks.

    Returns:
        The arrays listed above with a leading axis P, padded with zeros to M beats and N sequences, the size of a full
        chunk: scalograms (P, M, F, T) float16 (absent if not stored or not requested), samples (P, M, T) float16,
        rr (P, N + 2 C), label (P, N) and so on; and `sequences` (P,), the number n of sequences of each chunk.
    """
    import tensorflow as tf

    beats = sequences.chunk_size + sequences.length - 1
    layout = {
        "scalograms": (tf.float16, (beats, scales, samples)),
        "samples": (tf.float16, (beats, samples)),
        "median_beat": (tf.float16, (samples,)),
        "difference_quantiles": (tf.float32, (len(QUANTILES),)),
        "level": (tf.float32, (beats,)),
        "rr": (tf.float32, (sequences.chunk_size + 2 * rr_context(sequences),)),
        "label": (tf.int8, (sequences.chunk_size,)),
        "sample": (tf.int64, (sequences.chunk_size,)),
        "context_start": (tf.int32, (sequences.chunk_size,)),
    }
    if sequences.storage == "samples" or not scalograms:
        del layout["scalograms"]
    text, ints = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([6], tf.int64)
    parsed = tf.io.parse_example(serialized, {**dict.fromkeys((*layout, "context", "record"), text), "shape": ints})
    out = {"sequences": tf.cast(parsed["shape"][:, 0], tf.int32), "record": parsed["record"]}
    for name, (kind, shape) in layout.items():
        # decode_raw does not pad float16, so the bytes are decoded as uint16.
        raw = tf.uint16 if kind == tf.float16 else kind
        flat = tf.io.decode_raw(parsed[name], raw, fixed_length=int(np.prod(shape)) * kind.size)
        out[name] = tf.bitcast(tf.reshape(flat, (-1, *shape)), kind)
    if context:
        out["context"] = tf.bitcast(tf.io.decode_raw(parsed["context"], tf.uint16), tf.float16)
    return out


def pack_record(source: str, record: str, target: str, sequences: Sequences, beats: Beats) -> dict:
    """Write the chunks of a record, and return its manifest entry.

    Args:
        source: folder of the HDF5 files.
        record: name of the record.
        target: folder of the TFRecord files.
        sequences: options of the sequences.
        beats: options with which the HDF5 file was written.

    Raises:
        InputError: the HDF5 file is missing or damaged.
    """
    with reading(hdf5_path(source, record)) as file:
        names = ("samples", "label", "sample", "rr_before", "rr_after", "context", "context_start")
        arrays = {name: file[name][:] for name in names}
        median = file["median_beat"][:].astype(np.float16)
        wavelet = file["scalograms"][:] if sequences.storage == "scalogram" else np.empty((len(arrays["label"]), 0))
        scales, samples = file["scalograms"].shape[1:]
        attrs = {name: file.attrs[name] for name in ("subject", "lead", "fingerprint")}
    quantiles = difference_quantiles(arrays["samples"].astype(np.float32), median.astype(np.float32))
    context = rr_context(sequences)
    series = rr_series(arrays["rr_before"], arrays["rr_after"], context)
    count, offset = len(arrays["label"]), label_position(sequences)
    files = {}
    for part, start in enumerate(range(0, count, sequences.chunk_size)):
        stop = min(start + sequences.chunk_size, count)
        first, end = start - offset, stop - offset + sequences.length - 1
        cut = span(arrays["samples"], first, end)
        starts = arrays["context_start"][start:stop]
        chunk = {
            "scalograms": span(wavelet, first, end),
            "samples": cut,
            "median_beat": median,
            "difference_quantiles": quantiles,
            "level": np.median(cut.astype(np.float32), axis=1),
            "rr": series[start : stop + 2 * context],
            "label": arrays["label"][start:stop],
            "sample": arrays["sample"][start:stop],
            "context": arrays["context"][starts.min() : starts.max() + beats.context.samples],
            "context_start": starts - starts.min(),
        }
        shape = (stop - start, len(cut), sequences.length, scales, samples, offset)
        name = f"{hdf5_path('', record).stem}-{part:04d}.tfrecord"
        files[name] = write_chunk(Path(target) / name, chunk, shape, record)
    return {
        **attrs,
        "shape": [int(scales), int(samples)],
        "files": files,
        "label": arrays["label"].tolist(),
        "sample": arrays["sample"].tolist(),
    }


def read_manifest(folder: Path | str) -> dict:
    """Read the manifest of a folder of beat sequences.

    Raises:
        InputError: as `load_manifest`.
    """
    return load_manifest(folder, SCRIPT)


def pack(config: Config, jobs: int | None = None, quiet: bool = False) -> dict:
    """Pack all preprocessed records; files that are up to date are kept.

    Args:
        config: options `database`, `beats` and `sequences`.
        jobs: number of processes; None for one per core.
        quiet: whether to print nothing.

    Returns:
        The manifest: its parameters, and of each record the files with their SHA-256, and labels and sample indices in
        stream order.

    Raises:
        InputError: no records are preprocessed, or they are preprocessed with other options.
    """
    source, target = config.database.hdf5_dir, Path(config.database.tfrecord_dir)
    metadata_path = Path(source) / "metadata.json"
    if not metadata_path.is_file():
        raise InputError(
            metadata_path, "no such file", "preprocessed records", "run keras-ecg preprocess (preprocess_data.py)"
        )
    metadata = read_sealed(metadata_path, "run keras-ecg preprocess (preprocess_data.py)")
    beats = to_dict(config.beats)
    if metadata["parameters"] != {"version": HDF5_VERSION, **beats}:
        found = "records preprocessed with other options"
        raise InputError(
            metadata_path, found, "the options of this configuration", "run keras-ecg preprocess (preprocess_data.py)"
        )
    parameters = {"version": VERSION, "beats": beats, **to_dict(config.sequences)}
    fingerprints = {record: entry["fingerprint"] for record, entry in metadata["records"].items()}
    digests = {record: entry["sha256"] for record, entry in metadata["records"].items()}

    def work(record: str) -> tuple[str, dict]:
        path = hdf5_path(source, record)
        if path.is_file() and sha256(path) != digests[record]:
            found = "a damaged or edited file"
            raise InputError(
                path, found, "the SHA-256 in metadata.json", "run keras-ecg preprocess (preprocess_data.py)"
            )
        return record, pack_record(source, record, str(target), config.sequences, config.beats)

    carried_over = {name: metadata[name] for name in ("skipped", "notes")}
    tasks = {record: record for record in fingerprints}
    manifest, written = pack_entries(
        target, "records", parameters, fingerprints, tasks, work, lambda _: carried_over, "pack", jobs, quiet
    )
    if quiet:
        return manifest
    entries = manifest["records"].values()
    count = sum(len(entry["label"]) for entry in entries)
    size = sum((target / name).stat().st_size for entry in entries for name in entry["files"])
    logger.info(
        f"{target}: {count} sequences of {len(entries)} records, {size / count:.0f} bytes each, "
        f"{written} written, {len(entries) - written} current"
    )
    return manifest


def data_fingerprint(manifest: dict, records: list[str]) -> str:
    """Compute a hash of all data in the stream of records."""
    return fingerprint([manifest["parameters"], {r: manifest["records"][r]["files"] for r in records}])
