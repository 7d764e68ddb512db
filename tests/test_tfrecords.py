import hashlib
import os
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tensorflow as tf
from conftest import RECORDS, TEST, TRAIN, batches, config_for, copy_records, with_sections

from keras_ecg.config import Sequences
from keras_ecg.data.examples import write_example
from keras_ecg.data.hdf5 import hdf5_path
from keras_ecg.data.pipeline import create_dataset, get_all_beats, get_all_labels
from keras_ecg.data.preprocess import preprocess
from keras_ecg.data.tfrecords import label_position, pack, parse_chunks, read_manifest
from keras_ecg.errors import InputError
from keras_ecg.files import read_json, sha256, write_json
from keras_ecg.signals.rhythm import CONTEXT, rr_features, rr_series, rr_windows
from keras_ecg.training import Classifier, build_for, labelled_stream, predict_records, train_classifier

PLAIN = {"rr_features": False, "waveforms": False, "normalize": "none"}


def chunk_paths(config, record) -> list[str]:
    entry = read_manifest(config.database.tfrecord_dir)["records"][record]
    return [os.path.join(config.database.tfrecord_dir, name) for name in entry["files"]]


def parsed(config, record) -> list[dict[str, np.ndarray]]:
    """Yield the parsed chunks of a record."""
    raw = list(tf.data.TFRecordDataset(chunk_paths(config, record)))
    return [{k: v.numpy()[0] for k, v in parse_chunks([r], config.sequences, 32, 187).items()} for r in raw]


def hdf5(config, record) -> dict[str, np.ndarray]:
    with h5py.File(hdf5_path(config.database.hdf5_dir, record)) as file:
        return {name: file[name][:] for name in file}


def bits(values):
    return np.ascontiguousarray(values).view(np.uint16)


def test_chunks_equal_hdf5_content(packed):
    chunks, stored = parsed(packed, "208"), hdf5(packed, "208")
    count, size = len(stored["label"]), packed.sequences.chunk_size
    assert [c["sequences"] for c in chunks] == [size] * (count // size) + [count % size]
    for start, chunk in zip(range(0, count, size), chunks, strict=True):
        n = chunk["sequences"]
        beats = np.clip(np.arange(start - 1, start + n + 1), 0, count - 1)  # one more beat on each side
        np.testing.assert_array_equal(bits(chunk["scalograms"][: n + 2]), bits(stored["scalograms"][beats]))
        np.testing.assert_array_equal(bits(chunk["samples"][: n + 2]), bits(stored["samples"][beats]))
        np.testing.assert_array_equal(chunk["label"][:n], stored["label"][start : start + n])
        np.testing.assert_array_equal(chunk["sample"][:n], stored["sample"][start : start + n])
        np.testing.assert_array_equal(chunk["median_beat"], stored["median_beat"].astype(np.float16))
        assert chunk["difference_quantiles"].shape == (4,) and (np.diff(chunk["difference_quantiles"]) > 0).all()
        levels = np.median(stored["samples"][beats].astype(np.float32), axis=1)
        np.testing.assert_array_equal(chunk["level"][: n + 2], levels)
        assert chunk["record"] == b"208"
        assert not chunk["scalograms"][n + 2 :].any() and not chunk["label"][n:].any()  # padding


def test_chunk_stores_its_shape_and_version(packed):
    text = next(iter(tf.data.TFRecordDataset(chunk_paths(packed, "208")[-1]))).numpy()
    feature = tf.train.Example.FromString(text).features.feature
    last = 478 % 64
    assert list(feature["shape"].int64_list.value) == [last, last + 2, 3, 32, 187, 1]
    assert feature["record"].bytes_list.value[0] == b"208" and feature["version"].int64_list.value[0] >= 1


@pytest.mark.parametrize(("storage", "beat_bytes"), [("scalogram", 2 * 187 * 33), ("samples", 2 * 187)])
def test_each_beat_is_stored_once(packed_as, storage, beat_bytes):
    """With eight beats in a sequence, the file has little more than the bytes of each beat once."""
    config = packed_as(storage=storage, length=8, chunk_size=256)
    size = sum(os.path.getsize(path) for record in RECORDS for path in chunk_paths(config, record))
    each = size / len(get_all_labels(list(RECORDS), config))
    assert beat_bytes < each < 1.1 * beat_bytes + 40


@pytest.mark.parametrize("label_beat", ["middle", "last"])
@pytest.mark.parametrize("length", [1, 3, 4, 8])
def test_every_beat_is_labelled_beat_of_one_sequence(packed_as, length, label_beat):
    config = with_sections(packed_as(length=length, label_beat=label_beat, storage="samples"), loader=PLAIN)
    position = label_position(config.sequences)
    assert position == (length // 2 if label_beat == "middle" else length - 1)
    beats, stored = get_all_beats(list(RECORDS), config), {r: hdf5(config, r) for r in RECORDS}
    for record in RECORDS:
        of_record = beats["record"] == record
        np.testing.assert_array_equal(beats["sample"][of_record], stored[record]["sample"])
        np.testing.assert_array_equal(beats["label"][of_record], stored[record]["label"])
        for n, chunk in enumerate(parsed(config, record)):
            count = len(stored[record]["label"])
            for i in {0, int(chunk["sequences"]) - 1}:
                labelled = n * config.sequences.chunk_size + i
                own = np.clip(labelled - position + np.arange(length), 0, count - 1)
                np.testing.assert_array_equal(chunk["samples"][i : i + length], stored[record]["samples"][own])
                assert chunk["sample"][i] == stored[record]["sample"][labelled]


@pytest.mark.parametrize(("length", "label_beat"), [(1, "middle"), (4, "middle"), (3, "last")])
def test_each_beat_of_sequence_has_its_rr_features(packed_as, length, label_beat):
    config = packed_as(length=length, label_beat=label_beat, storage="samples")
    inputs, labels = batches(create_dataset(["200"], config, 100, is_training=False))
    stored, position = hdf5(config, "200"), label_position(config.sequences)
    outer = CONTEXT + length
    series = rr_series(stored["rr_before"], stored["rr_after"], outer)
    windows = rr_windows(series, len(series) - 2 * CONTEXT, CONTEXT)  # of beats from index -length on
    expected = rr_features(windows)
    for s in range(length):
        first = length - position + s
        np.testing.assert_allclose(inputs["rr"][:, s], expected[first : first + len(labels)], atol=1e-5)


def test_scalograms_from_samples_equal_stored_scalograms(packed_as):
    """float16 has a relative error of at most 2**-11, once on each path; the transform is linear.

    So no coefficient differs by more than the absolute sum of its row times that, and its own rounding.
    """
    from keras_ecg.signals.scalogram import cwt_matrix

    kinds = [with_sections(packed_as(storage=s), loader=PLAIN) for s in ("scalogram", "samples")]
    (stored, labels), (computed, again) = (batches(create_dataset(["208"], c, 128, is_training=False)) for c in kinds)
    np.testing.assert_array_equal(labels, again)
    samples = np.abs(hdf5(kinds[0], "208")["samples"].astype(np.float32))
    bound = (samples @ np.abs(cwt_matrix(187, 32))).reshape(-1, 32, 187) * 2**-11
    middle = [v["scalograms"][:, 1, :, :, 0] for v in (stored, computed)]
    excess = np.abs(middle[0] - middle[1]) - bound - middle[0] * 2**-11
    assert excess.max() < 1e-4  # float32 arithmetic, and the smallest half-precision numbers
    assert stored["scalograms"].dtype == computed["scalograms"].dtype == np.float32


@pytest.mark.parametrize("count", [1, 2, 3])
def test_record_with_fewer_beats_than_sequence_is_packed(tmp_path, count):
    import wfdb

    copy_records(tmp_path / "raw", "208")
    symbols = ["N", "V", "F"][:count]
    wfdb.wrann("208", "atr", np.arange(1, count + 1) * 300, symbols, write_dir=str(tmp_path / "raw"))
    paths = {"data_dir": str(tmp_path / "raw"), "records": ["208"]}
    config = config_for(tmp_path, database=paths, sequences={"length": 8})
    preprocess(config, jobs=1)
    pack(config, jobs=1)
    inputs, labels = batches(create_dataset(["208"], config, 16, is_training=False))
    assert labels.tolist() == [0, 2, 3][:count]
    assert inputs["scalograms"].shape == (count, 8, 32, 187, 1)
    stored = hdf5(config, "208")["scalograms"].astype(np.float32)
    for i in range(count):
        own = np.clip(i - 4 + np.arange(8), 0, count - 1)
        np.testing.assert_array_equal(inputs["scalograms"][i, ..., 0], stored[own])
    assert np.isfinite(inputs["rr"]).all()


def hashes(config) -> dict[str, str]:
    folder = config.database.tfrecord_dir
    return {name: sha256(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}


def stamps(config) -> dict[str, int]:
    folder = config.database.tfrecord_dir
    return {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}


@pytest.fixture
def copied(packed, tmp_path):
    """The packed records in a folder in which a test may damage files."""
    target = shutil.copytree(packed.database.tfrecord_dir, tmp_path / "tfrecord")
    return with_sections(packed, database={"tfrecord_dir": str(target)})


def redone(config) -> set[str]:
    before = stamps(config)
    pack(config, jobs=1)
    after = stamps(config)
    assert not [name for name in after if "partial" in name or "unfinished" in name]
    return {name.split(".")[0] for name in after if name.endswith("tfrecord") and after[name] != before.get(name)}


def test_rerun_keeps_current_files(copied, capsys):
    before = stamps(copied)
    pack(copied, jobs=1)
    assert stamps(copied) == before
    assert "0 written, 4 current" in capsys.readouterr().out


def test_parallel_and_serial_packing_write_equal_files(packed, tmp_path):
    other = with_sections(packed, database={"tfrecord_dir": str(tmp_path)})
    pack(other, jobs=2)
    assert hashes(other) == hashes(packed)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing"])
def test_only_record_of_damaged_file_is_packed_again(packed, copied, damage):
    path = chunk_paths(copied, "213")[1]
    spoil(path, damage)
    assert redone(copied) == {os.path.basename(p).split(".")[0] for p in chunk_paths(copied, "213")}
    assert hashes(copied) == hashes(packed)


def spoil(path, damage):
    size = os.path.getsize(path)
    if damage == "flipped":
        with open(path, "r+b") as file:
            file.seek(size // 2)
            byte = file.read(1)[0]
            file.seek(size // 2)
            file.write(bytes([byte ^ 4]))
    elif damage == "missing":
        os.unlink(path)
    else:
        os.truncate(path, size // 2 if damage == "truncated" else 0)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing"])
def test_training_on_damaged_file_error_names_file(copied, damage):
    path = chunk_paths(copied, "208")[3]
    spoil(path, damage)
    with pytest.raises(InputError) as caught:
        train_classifier(TRAIN, copied, seed=0)
    assert path in str(caught.value) and "create_batched_tfrecords.py" in str(caught.value)


def test_prediction_on_damaged_file_error_names_file(copied):
    stream = labelled_stream(TEST, copied, False, None, None)
    classifier = Classifier(build_for(stream, copied), None, None, [])
    path = chunk_paths(copied, "213")[0]
    spoil(path, "flipped")
    with pytest.raises(InputError, match=r"213-0000.tfrecord: found another content \(damaged"):
        predict_records(classifier, TEST, copied)


@pytest.mark.parametrize(
    ("first", "second"), [(("208", 0), ("213", 0)), (("208", 1), ("200", 1)), (("208", 0), ("208", 1))]
)
def test_swapped_chunks_are_detected_and_written_again(copied, packed, first, second):
    one, other = (chunk_paths(copied, record)[part] for record, part in (first, second))
    aside = one + ".aside"
    for source, target in ((one, aside), (other, one), (aside, other)):
        os.replace(source, target)
    with pytest.raises(InputError, match="found another content"):
        create_dataset([first[0]], copied, 8, is_training=True)
    with pytest.raises(InputError, match="found another content"):
        get_all_labels([second[0]], copied)
    assert redone(copied) == {
        os.path.basename(p).split(".")[0] for r in {first[0], second[0]} for p in chunk_paths(copied, r)
    }
    assert hashes(copied) == hashes(packed)


def edit_label(manifest):
    labels = manifest["records"]["208"]["label"]
    labels[5] = (labels[5] + 1) % 5


def edit_subject(manifest):
    manifest["records"]["208"]["subject"] = "114"


def edit_hash(manifest):
    files = manifest["records"]["208"]["files"]
    files |= dict.fromkeys(files, next(iter(files.values())))


@pytest.mark.parametrize("edit", [edit_label, edit_subject, edit_hash, dict.clear])
def test_edited_manifest_is_detected_and_written_again(copied, packed, edit):
    path = os.path.join(copied.database.tfrecord_dir, "manifest.json")
    manifest = read_json(path)
    edit(manifest)
    write_json(path, manifest)
    with pytest.raises(InputError, match="manifest.json: found another content.*create_batched_tfrecords.py"):
        create_dataset(["208"], copied, 8, is_training=True)
    pack(copied, jobs=1, quiet=True)
    assert read_manifest(copied.database.tfrecord_dir) == read_manifest(packed.database.tfrecord_dir)


def test_changed_parameters_replace_all_files(copied):
    other = with_sections(copied, sequences={"chunk_size": 200})
    assert redone(other) == {f"{r}-000{k}" for r in RECORDS for k in range(3)} - {"114-0002"}
    assert len([n for n in stamps(other) if n.endswith("tfrecord")]) == 2 + 3 * 3
    assert read_manifest(other.database.tfrecord_dir)["parameters"]["chunk_size"] == 200


def test_files_of_removed_record_are_deleted(preprocessed, copied, tmp_path):
    folder = shutil.copytree(preprocessed.database.hdf5_dir, tmp_path / "hdf5")
    fewer = with_sections(copied, database={"hdf5_dir": str(folder), "records": ["114", "200", "213"]})
    preprocess(fewer, jobs=1)
    assert redone(fewer) == set()
    assert not [name for name in stamps(fewer) if name.startswith("208")]
    with pytest.raises(InputError, match="no record 208"):
        get_all_labels(["208"], fewer)


def test_stream_with_other_parameters_is_rejected(packed):
    for sections, found in (
        ({"sequences": {"length": 4}}, "other length"),
        ({"sequences": {"storage": "samples"}}, "other storage"),
        ({"beats": {"edge": "drop"}}, "other beats"),
    ):
        with pytest.raises(InputError, match=f"found {found}"):
            create_dataset(["114"], with_sections(packed, **sections), 8, is_training=False)


def test_packing_beats_of_other_configuration_is_rejected(packed):
    with pytest.raises(InputError, match="metadata.json: found records preprocessed with other options"):
        pack(with_sections(packed, beats={"edge": "drop"}), jobs=1)


def test_packing_without_preprocessed_records_is_rejected(tmp_path):
    with pytest.raises(InputError, match="metadata.json: found no such file.*preprocess_data.py"):
        pack(config_for(tmp_path), jobs=1)


@pytest.fixture
def own_hdf5(preprocessed, tmp_path):
    """HDF5 files that a test may damage, not packed."""
    folder = shutil.copytree(preprocessed.database.hdf5_dir, tmp_path / "hdf5")
    paths = {"hdf5_dir": str(folder), "tfrecord_dir": str(tmp_path / "tfrecord")}
    return with_sections(preprocessed, database=paths)


def test_files_of_unfinished_preprocessing_are_rejected(own_hdf5):
    """HDF5 files after preprocessing with other options was killed after one record."""
    from keras_ecg.data.preprocess import preprocess_record

    config = own_hdf5
    source, beats = config.database.data_dir, replace(config.beats, bandpass_hz=(0.5, 40.0))
    preprocess_record(source, "208", config.database.hdf5_dir, beats, "mitdb", None)
    with pytest.raises(InputError, match="208.h5: found a damaged or edited file"):
        pack(config, jobs=1)
    assert "manifest.json" not in os.listdir(config.database.tfrecord_dir)


def test_edited_hdf5_labels_are_rejected_and_written_again(own_hdf5):
    path = hdf5_path(own_hdf5.database.hdf5_dir, "208")
    with h5py.File(path, "r+") as file:
        before = file["label"][:]
        file["label"][:] = 2
    with pytest.raises(InputError, match="208.h5: found a damaged or edited file; expected the SHA-256 in metadata"):
        pack(own_hdf5, jobs=1)
    preprocess(own_hdf5, jobs=1)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["label"][:], before)
    assert (before != 2).any()


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_damaged_hdf5_error_names_file(own_hdf5, damage):
    spoil(hdf5_path(own_hdf5.database.hdf5_dir, "200"), damage)
    with pytest.raises(InputError, match="200.h5: found .*preprocess_data.py"):
        pack(own_hdf5, jobs=1)


def test_unfinished_folder_cannot_be_read_and_rerun_completes_it(copied, packed, monkeypatch):
    """A kill during repacking leaves files of old and new parameters in one folder."""
    from keras_ecg.data import tfrecords

    real, other = tfrecords.pack_record, with_sections(copied, sequences={"storage": "samples"})

    def fails_at_200(source, record, *args):
        if record == "200":
            raise OSError(28, "No space left on device")
        return real(source, record, *args)

    monkeypatch.setattr(tfrecords, "pack_record", fails_at_200)
    with pytest.raises(OSError, match="No space left"):
        pack(other, jobs=1)
    for config in (copied, other):
        with pytest.raises(InputError, match="manifest.json: found no such file"):
            create_dataset(["114"], config, 8, is_training=False)
    monkeypatch.undo()
    pack(copied, jobs=1)
    assert hashes(copied) == hashes(packed)


def test_label_position_is_middle_or_last():
    assert [label_position(Sequences(length=n)) for n in (1, 2, 3, 4, 8)] == [0, 1, 1, 2, 4]
    assert [label_position(Sequences(length=n, label_beat="last")) for n in (1, 3, 4)] == [0, 2, 3]


def test_written_file_equals_that_of_tensorflow(tmp_path):
    arrays = {"rr": np.linspace(0, 1, 300, dtype=np.float32), "none": np.empty((5, 0)), "half": np.ones((3, 7), "f2")}
    numbers = (0, 1, 127, 128, 300, 2**40)
    digest = write_example(tmp_path / "ours", {**arrays, "record": b"100", "shape": numbers})
    example = tf.train.Example()
    for name, values in arrays.items():
        example.features.feature[name].bytes_list.value.append(values.tobytes())
    example.features.feature["record"].bytes_list.value.append(b"100")
    example.features.feature["shape"].int64_list.value.extend(numbers)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        writer.write(example.SerializeToString(deterministic=True))
    ours = (tmp_path / "ours").read_bytes()
    assert ours == (tmp_path / "theirs").read_bytes()
    assert digest == hashlib.sha256(ours).hexdigest()
