import h5py
import numpy as np
import pytest
from conftest import RECORDS, TRAIN, batches, with_sections

import DataLoader
from keras_ecg.config import to_dict
from keras_ecg.data.hdf5 import hdf5_path
from keras_ecg.data.pipeline import create_dataset, get_all_beats, get_all_labels, keep_shares
from keras_ecg.data.statistics import training_statistics
from keras_ecg.errors import InputError
from keras_ecg.signals.scalogram import scalograms

PLAIN = {"loader": {"rr_features": False, "waveforms": False, "normalize": "none"}}
AUGMENTED = {
    "augment": {
        "premature": 0.3, "irregular": 0.2, "fusion": 0.3, "tempo": 0.1, "amplitude": 0.2, "shift_samples": 3,
        "noise_mv": 0.02, "wander_mv": 0.05,
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(packed):
    return with_sections(packed, **PLAIN)


@pytest.fixture(scope="module")
def in_order(plain):
    return batches(create_dataset(list(RECORDS), plain, 100, is_training=False))


def keys(scalograms) -> list[bytes]:
    """Return a key of each sequence: its labelled beat."""
    return [s.tobytes() for s in scalograms[:, 1]]


@pytest.fixture(scope="module")
def place_of(in_order):
    """Index of each sequence in the unshuffled stream, by key."""
    place = {key: i for i, key in enumerate(keys(in_order[0]["scalograms"]))}
    assert len(place) == len(in_order[1])  # all beats differ
    return place


def places(stream, place_of) -> np.ndarray:
    return np.array([place_of[key] for x, _ in stream for key in keys(x.numpy())])


def test_batches_have_declared_shapes_and_dtypes(packed, plain):
    x, y = next(iter(create_dataset(["114"], plain, 16, is_training=False)))
    assert x.shape == (16, 3, 32, 187, 1) and x.dtype == "float32" and y.shape == (16,) and y.dtype == "int64"
    x, y = next(iter(create_dataset(["114"], packed, 16, is_training=True)))
    assert {k: v.shape[:3] for k, v in x.items()} == {
        "scalograms": (16, 3, 32), "waveforms": (16, 3, 187), "rr": (16, 3, x["rr"].shape[2]),
    }  # fmt: skip
    assert {v.dtype for v in x.values()} == {x["rr"].dtype} and x["rr"].dtype == "float32"
    for extra in ("rr_features", "waveforms"):
        config = with_sections(plain, loader={extra: True})
        x, _ = next(iter(create_dataset(["114"], config, 16, is_training=False)))
        assert list(x) == ["scalograms", {"rr_features": "rr"}.get(extra, extra)]


def test_unshuffled_labels_equal_get_all_labels(plain, in_order):
    beats = get_all_beats(list(RECORDS), plain)
    np.testing.assert_array_equal(in_order[1], get_all_labels(list(RECORDS), plain))
    np.testing.assert_array_equal(in_order[1], beats["label"])
    assert list(dict.fromkeys(beats["record"].tolist())) == list(RECORDS)
    for record in RECORDS:
        of_record = beats["sample"][beats["record"] == record]
        assert (np.diff(of_record) > 0).all() and (beats["subject"] == beats["record"]).all()
    np.testing.assert_array_equal(get_all_labels(["213", "114"], plain)[:10], beats["label"][-547:][:10])


def test_stream_yields_stored_beats(plain, in_order):
    with h5py.File(hdf5_path(plain.database.hdf5_dir, "114")) as file:
        stored = file["scalograms"][:].astype(np.float32)
    found = in_order[0]["scalograms"][: len(stored), ..., 0]
    for shift in (-1, 0, 1):
        own = np.clip(np.arange(len(stored)) + shift, 0, len(stored) - 1)
        np.testing.assert_array_equal(found[:, shift + 1], stored[own])


def test_waveforms_are_beat_and_difference_from_median_beat(packed):
    config = with_sections(packed, loader={"difference_quantiles": True})
    inputs, _ = batches(create_dataset(["213"], config, 100, is_training=False))
    with h5py.File(hdf5_path(packed.database.hdf5_dir, "213")) as file:
        samples, median = file["samples"][:].astype(np.float32), file["median_beat"][:]
    level = np.median(samples, axis=1, keepdims=True)
    np.testing.assert_allclose(inputs["waveforms"][:, 1, :, 0], samples - level, atol=1e-6)
    np.testing.assert_allclose(inputs["waveforms"][:, 1, :, 1], samples - level - median, atol=2e-3)
    size = (samples - level - median)[:, 70:115].std(1) / (median.std() + 0.03)
    expected = np.quantile(np.log(size + 0.05), [0.5, 0.9, 0.98, 0.995])
    np.testing.assert_allclose(inputs["difference_quantiles"], np.tile(expected, (len(samples), 1)), atol=5e-3)


@pytest.mark.parametrize("storage", ["scalogram", "samples"])
def test_centered_beats_are_transformed_without_median(packed_as, storage):
    config = with_sections(packed_as(storage=storage), loader={**PLAIN["loader"], "center": True, "normalize": "scale"})
    inputs, _ = batches(create_dataset(["208"], config, 64, is_training=False))
    with h5py.File(hdf5_path(config.database.hdf5_dir, "208")) as file:
        samples = file["samples"][:].astype(np.float32)
    expected = scalograms(samples - np.median(samples, axis=1, keepdims=True))
    np.testing.assert_allclose(inputs["scalograms"][:, 1, ..., 0], expected, atol=1e-4)
    mean, scale = training_statistics(["208"], config)
    np.testing.assert_allclose(mean[:, 0, 0], expected.mean((0, 2)), rtol=1e-4)
    np.testing.assert_allclose(scale[:, 0, 0], expected.std((0, 2)), rtol=1e-4)


@pytest.mark.parametrize("batch_size", [7, 100, 600, 5000])
@pytest.mark.parametrize("pool", [1, 3, 16])
def test_epoch_contains_every_sequence_once_in_new_order(plain, place_of, batch_size, pool):
    config = with_sections(plain, loader={"shuffle_chunks": pool})
    stream = create_dataset(list(RECORDS), config, batch_size, is_training=True)
    found = places(stream, place_of)
    assert sorted(found) == list(range(len(place_of)))
    assert (found != np.arange(len(found))).mean() > 0.99
    whole, rest = divmod(len(found), batch_size)
    assert [len(y) for _, y in stream] == [batch_size] * whole + [rest] * (rest > 0)


def test_shuffling_keeps_labels_with_sequences(plain, place_of, in_order):
    for x, y in create_dataset(list(RECORDS), plain, 64, is_training=True):
        at = [place_of[key] for key in keys(x.numpy())]
        np.testing.assert_array_equal(y.numpy(), in_order[1][at])


def test_order_differs_between_epochs_and_is_reproducible_by_seed(plain, place_of):
    stream = create_dataset(list(RECORDS), plain, 64, is_training=True)
    first, second = places(stream, place_of), places(stream, place_of)
    assert (first != second).mean() > 0.9
    again = create_dataset(list(RECORDS), plain, 64, is_training=True)
    np.testing.assert_array_equal(places(again, place_of), first)
    np.testing.assert_array_equal(places(again, place_of), second)
    other = create_dataset(list(RECORDS), with_sections(plain, loader={"seed": 1}), 64, is_training=True)
    assert (places(other, place_of) != first).mean() > 0.9


def shares_of_equal_neighbours(order, beats) -> dict[str, float]:
    return {k: float((beats[k][order[1:]] == beats[k][order[:-1]]).mean()) for k in ("record", "label")}


def test_shuffling_mixes_records(plain, place_of):
    """Consecutive sequences are of the same record and class as often as in a random order."""
    beats = get_all_beats(list(RECORDS), plain)
    chance = {}
    for k in ("record", "label"):
        counts = np.unique(beats[k], return_counts=True)[1]
        chance[k] = float(np.square(counts / counts.sum()).sum())
    ordered = shares_of_equal_neighbours(np.arange(len(place_of)), beats)
    shuffled = places(create_dataset(list(RECORDS), plain, 64, is_training=True), place_of)
    mixed = shares_of_equal_neighbours(shuffled, beats)
    assert ordered["record"] > 0.99
    assert abs(mixed["record"] - chance["record"]) < 0.06 and abs(mixed["label"] - chance["label"]) < 0.06
    assert np.median(np.abs(np.diff(shuffled))) > 100  # consecutive sequences are far apart in time


@pytest.mark.parametrize("extra", [{}, {"storage": "samples"}])
def test_augmentation_is_reproducible_and_differs_between_epochs(packed_as, extra):
    config = with_sections(packed_as(**extra), **AUGMENTED)

    def epoch(stream):
        return batches(stream.take(6))

    stream = create_dataset(list(TRAIN), config, 64, is_training=True)
    (first, labels), (second, _) = epoch(stream), epoch(stream)
    again, same_labels = epoch(create_dataset(list(TRAIN), config, 64, is_training=True))
    np.testing.assert_array_equal(labels, same_labels)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != second[name]).mean() > 0.5
    other = with_sections(config, loader={"seed": 5})
    assert (epoch(create_dataset(list(TRAIN), other, 64, is_training=True))[0]["rr"] != first["rr"]).mean() > 0.5


def test_only_training_is_augmented(packed):
    plain, augmented = (batches(create_dataset(["208"], c, 64, False))
                        for c in (packed, with_sections(packed, **AUGMENTED)))  # fmt: skip
    np.testing.assert_array_equal(plain[1], augmented[1])
    for name in plain[0]:
        np.testing.assert_array_equal(plain[0][name], augmented[0][name])


@pytest.mark.parametrize("shape", [(), (32, 1, 1), (1, 3, 32, 1, 1), (32, 187, 1), (3, 1, 1, 1), (187, 1)])
def test_mean_and_scale_broadcast(plain, in_order, shape):
    rng = np.random.default_rng(0)
    mean, scale = rng.normal(size=shape), rng.uniform(0.5, 2, shape)
    found, _ = batches(create_dataset(["114"], plain, 100, False, mean, scale))
    raw = in_order[0]["scalograms"][: len(found["scalograms"])]
    np.testing.assert_allclose(found["scalograms"], (raw - mean) / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("over", ["scale", "global"])
def test_statistics_count_every_training_beat_once(packed_as, over):
    config = with_sections(packed_as(length=4, label_beat="last"), loader={"normalize": over})
    mean, scale = training_statistics(list(TRAIN), config)
    parts = []
    for record in TRAIN:
        with h5py.File(hdf5_path(config.database.hdf5_dir, record)) as file:
            parts.append(file["scalograms"][:].astype(np.float64))
    values = np.concatenate(parts)
    axes = (0, 2) if over == "scale" else None
    expected = values.mean(axes), np.sqrt(np.square(values - values.mean(axes, keepdims=True)).mean(axes))
    assert mean.shape == scale.shape == ((32, 1, 1) if over == "scale" else (1, 1, 1)) and mean.dtype == np.float32
    np.testing.assert_allclose(mean.ravel(), np.ravel(expected[0]), rtol=1e-5)
    np.testing.assert_allclose(scale.ravel(), np.ravel(expected[1]), rtol=1e-5)
    inputs, _ = batches(create_dataset(list(TRAIN), config, 100, False, mean, scale))
    labelled = inputs["scalograms"][:, -1].astype(np.float64)
    np.testing.assert_allclose([labelled.mean(), labelled.std()], [0, 1], atol=1e-3)


def test_statistics_exclude_augmentation_and_other_records(packed):
    augmented = with_sections(packed, augment={**AUGMENTED["augment"], "normal_per_epoch": 10})
    for here, there in zip(training_statistics(TRAIN, packed), training_statistics(TRAIN, augmented), strict=True):
        np.testing.assert_array_equal(here, there)
    assert np.abs(training_statistics(RECORDS, packed)[0] - training_statistics(TRAIN, packed)[0]).max() > 1e-3
    assert training_statistics(TRAIN, with_sections(packed, **PLAIN)) == (None, None)


def test_normal_per_epoch_limits_normal_beats(plain, place_of):
    """The number is as requested, in proportion to square roots of counts; beats of other classes are all kept."""
    config = with_sections(plain, augment={"normal_per_epoch": 400})
    beats = get_all_beats(list(RECORDS), plain)
    stream = create_dataset(list(RECORDS), config, 64, is_training=True)
    epochs = [places(stream, place_of) for _ in range(4)]
    usual = beats["label"] == 0
    for found in epochs:
        assert len(set(found)) == len(found)
        assert sorted(found[~usual[found]]) == np.flatnonzero(~usual).tolist()
    drawn = np.concatenate([found[usual[found]] for found in epochs])
    assert abs(len(drawn) / 4 - 400) < 30  # three standard deviations are 26
    roots = {r: np.sqrt(usual[beats["record"] == r].sum()) for r in RECORDS}
    for record in RECORDS:
        expected = 400 * roots[record] / sum(roots.values())
        assert abs((beats["record"][drawn] == record).sum() / 4 - expected) < 20
    assert set(epochs[0]) != set(epochs[1])
    kept = keep_shares(list(RECORDS), config)
    assert all(0 < share[0] < 1 and (share[1:] == 1).all() for share in kept.values())
    assert all((share == 1).all() for share in keep_shares(list(RECORDS), plain).values())
    assert keep_shares(["114"], with_sections(config, augment={"normal_per_epoch": 10**6}))["114"][0] == 1


def test_fusion_per_epoch_limits_fusion_beats(plain):
    """Beats of the record with most F beats are limited; all beats of records with few are kept."""
    counts = {r: np.bincount(get_all_labels([r], plain), minlength=5)[3] for r in RECORDS}
    roots = sum(n**0.5 for n in counts.values())
    few = with_sections(plain, augment={"fusion_per_epoch": 6})
    for record, share in keep_shares(list(RECORDS), few).items():
        assert (np.delete(share, 3) == 1).all()
        np.testing.assert_allclose(share[3] * counts[record], min(counts[record], 6 * counts[record] ** 0.5 / roots))
    labels = [np.concatenate([y.numpy() for _, y in create_dataset(list(RECORDS), few, 64, True)]) for _ in range(2)]
    assert all((y == 3).sum() < sum(counts.values()) for y in labels)
    assert all((y != 3).sum() == (get_all_labels(list(RECORDS), plain) != 3).sum() for y in labels)


def test_create_dataset_accepts_plain_dict(plain, in_order):
    found, labels = batches(DataLoader.create_dataset(["114"], to_dict(plain), 64, is_training=False))
    np.testing.assert_array_equal(found["scalograms"], in_order[0]["scalograms"][: len(labels)])
    np.testing.assert_array_equal(DataLoader.get_all_labels(["114"], to_dict(plain)), labels)
    with pytest.raises(InputError, match="did you mean 'sequences'"):
        DataLoader.get_all_labels(["114"], {"sequence": {"length": 3}})


@pytest.mark.parametrize("training", [True, False])
def test_stream_disables_autotune_thread_search(plain, training):
    stream = create_dataset(["114"], plain, 16, training)
    assert stream.options().autotune.enabled is False
    assert stream.map(lambda x, y: (x, y)).options().autotune.enabled is False  # also after a map, as Keras applies


@pytest.mark.parametrize("of_nothing", [create_dataset, get_all_labels])
def test_unknown_and_missing_records_are_rejected(plain, of_nothing):
    rest = (8, False) if of_nothing is create_dataset else ()
    with pytest.raises(InputError, match="an empty list of records"):
        of_nothing([], plain, *rest)
    with pytest.raises(InputError, match="no record 999"):
        of_nothing(["114", "999"], plain, *rest)
    with pytest.raises(InputError, match="no such file.*create_batched_tfrecords.py"):
        of_nothing(["114"], with_sections(plain, database={"tfrecord_dir": "nowhere"}), *rest)


def test_difference_quantiles_without_waveforms_is_rejected(plain):
    config = with_sections(plain, loader={"difference_quantiles": True})
    with pytest.raises(InputError, match=r"loader\.waveforms=true"):
        create_dataset(["114"], config, 16, is_training=False)
