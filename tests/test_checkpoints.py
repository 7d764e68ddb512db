"""Checkpoints of a training: restoring, and damaged files."""

import os

import keras
import numpy as np
import pytest

from keras_ecg.checkpoints import Checkpoint
from keras_ecg.experiments.pretrain import History
from keras_ecg.predictions import read_npz, write_npz
from keras_ecg.runs import find_or_create

FIRST, SECOND = "checkpoint_000001.npz", "checkpoint_000002.npz"


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def fit(folder, epochs: int, *callbacks, targets=1.0) -> tuple[int, keras.Model, Checkpoint]:
    """Train up to an epoch, resuming; return the number of previously finished epochs, the model and its checkpoint."""
    model, checkpoint = build(), Checkpoint(folder)
    finished = checkpoint.restore(model)
    x = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    model.fit(
        x, np.full((16, 1), targets), shuffle=False, epochs=epochs, initial_epoch=finished, verbose=0,
        callbacks=[checkpoint, *callbacks],
    )  # fmt: skip
    return finished, model, checkpoint


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of two epochs."""
    fit(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == [FIRST, SECOND]
    return tmp_path


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    os.truncate(path, 0)


def zeroed(path):
    """Fill the file with zeros, as a file system may after a crash."""
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 1  # in the data after the first array's header
    path.write_bytes(content)


def text(path):
    path.write_text("{}")


def other_arrays(path):
    write_npz(path, variable_0=np.zeros(3))


def one_variable_less(path):
    stored = read_npz(path)
    stored.popitem()
    write_npz(path, **stored)


DAMAGES = (truncated, emptied, zeroed, flipped, text, other_arrays, one_variable_less)


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    """Weights, their moving averages, moments and the state of dropout are equal."""
    fit(tmp_path / "killed", 2)
    finished, resumed, checkpoint = fit(tmp_path / "killed", 3)
    _, whole, undisturbed = fit(tmp_path / "whole", 3)
    assert finished == 2 and checkpoint.logs == undisturbed.logs and len(checkpoint.logs) == 3
    for mine, theirs in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert sorted(os.listdir(tmp_path / "killed")) == [SECOND, "checkpoint_000003.npz"]  # two are kept


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_replaced_by_previous_one(folder, capsys, damage):
    damage(folder / SECOND)
    finished, _, checkpoint = fit(folder, 2)
    assert finished == 1 and len(checkpoint.logs) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{folder / SECOND}: found ") and "discarded" in line and "resumes with epoch 2" in line
    assert fit(folder, 2)[0] == 2
    assert capsys.readouterr().out == ""


def test_training_without_intact_checkpoint_restarts(folder, capsys):
    truncated(folder / FIRST)
    emptied(folder / SECOND)
    assert fit(folder, 1)[0] == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [str(folder / SECOND), str(folder / FIRST)]
    assert all("training starts again from epoch 1" in line for line in lines)
    assert os.listdir(folder) == [FIRST] and fit(folder, 1)[0] == 1
    assert capsys.readouterr().out == ""


def test_full_disk_keeps_previous_checkpoints(folder, capsys, monkeypatch):
    def full(path, **arrays):
        path.write_bytes(b"PK half of a file")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space") as raised:
        patch.setattr(np, "savez", full)
        fit(folder, 3)
    assert raised.value.filename == str(folder / "checkpoint_000003.npz")
    assert sorted(os.listdir(folder)) == [FIRST, SECOND]
    assert fit(folder, 3)[0] == 2 and capsys.readouterr().out == ""


def test_epoch_with_non_finite_loss_writes_no_checkpoint(folder):
    finished, _, checkpoint = fit(folder, 3, targets=np.nan)
    assert finished == 2 and np.isnan(checkpoint.logs[2]["loss"])
    assert sorted(os.listdir(folder)) == [FIRST, SECOND]


def test_history_is_restored_from_checkpoint(tmp_path):
    """No row is lost by a kill between writing both, or by a damaged file."""
    run = find_or_create(tmp_path, "pretrain", "mae", "", {}, "")
    fit(run.path / "parts", 2)
    checkpoint = Checkpoint(run.path / "parts")
    checkpoint.restore(build())
    history, row = History(run, 7, checkpoint), "7,2,{}\n".format(checkpoint.logs[1]["loss"])
    history.on_train_begin()
    whole = (run.path / "history.csv").read_text()
    assert whole.startswith("seed,epoch,loss\n7,1,") and whole.endswith(row)
    emptied(run.path / "history.csv")
    history.on_train_begin()
    assert (run.path / "history.csv").read_text() == whole
