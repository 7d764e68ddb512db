"""Benchmarks: equal outputs of both implementations, and the command line; no test asserts a time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import (
    detection,
    load,
    pack,
    predict,
    preprocess,
    reference,
    scalogram_kernel,
    st_mem_memory,
    train_step,
)
from benchmarks.__main__ import main
from benchmarks.artefacts import ARTEFACTS
from benchmarks.measure import Comparison, Result, UnequalError, alternate, check_equal
from benchmarks.workspace import SAMPLE, TINY, Workspace
from keras_ecg.data.pipeline import create_dataset
from keras_ecg.models import model_config


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("benchmarks"), TINY, SAMPLE, ("119", "208"))


def test_scalogram_kernel_is_checked_and_measured(workspace):
    result = scalogram_kernel.run(workspace)
    assert result.name == "scalogram-kernel" and result.ratio > 0
    assert any(row.startswith("equal: scalograms") for row in result.rows)


@pytest.mark.slow
def test_prediction_in_memory_equals_that_with_files(workspace):
    result = predict.run(workspace)
    assert result.ratio > 0 and result.rows[0].startswith("equal: probabilities")


def test_preprocessing_equals_reference(workspace):
    assert preprocess.check(workspace).startswith("equal: ")


@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_packing_equals_reference(workspace, layout):
    files = pack.pack_reference(workspace, layout, workspace.few)
    assert "difference 0 of" in pack.check(workspace, workspace.packed(extras=False), files, layout)
    samples = workspace.packed("samples", extras=False)
    assert pack.check(workspace, samples, files, layout, 2e-3).startswith("equal: ")
    with pytest.raises(UnequalError, match="differ by"):
        pack.check(workspace, samples, files, layout, 1e-7)


@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_loading_equals_reference(workspace, layout):
    config, mean, scale = workspace.packed(extras=False), np.full((32, 1), 0.5, "f4"), np.full((32, 1), 2, "f4")
    files = pack.pack_reference(workspace, layout, ("119",))

    def ours(records, training):
        return create_dataset(records, config, 32, training, mean[..., None], scale[..., None])

    def theirs(shuffle):
        return reference.load(files, layout, 32, mean, scale, shuffle)

    shuffled = [ours(["119"], True), theirs(16)]
    assert all(row.startswith("equal: ") for row in load.check(ours(["119"], False), theirs(0), shuffled))
    assert not np.array_equal(*(next(s.as_numpy_iterator())[0] for s in (shuffled[0], theirs(0))))
    with pytest.raises(UnequalError, match="multiset"):
        load.check(ours(["119"], False), theirs(0), [ours(["208"], True)])


def test_reference_front_end_keeps_full_resolution_or_pools():
    config = model_config("cnn_conformer")
    maps = []
    for pool in (False, True):
        model = reference.build_model((3, 32, 187, 1), 1, 5, config, pool)
        assert model.output_shape == (None, 5)
        maps.append([layer.output.shape[1:3] for layer in model.layers if "conv2d" in layer.name])
    assert maps == [[(32, 187)] * 3, [(32, 187), (16, 93), (8, 46)]]


@pytest.mark.slow
def test_training_batches_equal_reference(workspace):
    config, bare = workspace.packed(), workspace.packed(extras=False)
    sides = [train_step.Side(config, ("119",), train_step.build_for)]
    sides.append(train_step.Side(bare, ("119",), train_step.reference_model(pool=True)))
    assert "largest difference 0;" in train_step.check(sides[0], sides[1:])
    other = train_step.Side(bare, ("208",), train_step.reference_model(pool=True))
    with pytest.raises(UnequalError):
        train_step.check(sides[0], [other])


@pytest.mark.slow
def test_detection_is_scored_on_the_excerpt_and_with_artefacts(workspace, monkeypatch):
    for name in ("MITDB_DIR", "SVDB_DIR", "LUDB_DIR", "CPSC2021_DIR"):
        monkeypatch.delenv(name, raising=False)
    result = detection.run(workspace)
    assert result.name == "detection" and result.condition
    assert result.rows[1].startswith("excerpt") and "not measured: MITDB_DIR is not set" in result.rows
    assert sum("an hour at 128 Hz" in row for row in result.rows) == len(ARTEFACTS)


@pytest.mark.slow
def test_memory_is_measured_in_a_new_process(workspace):
    result = st_mem_memory.run(workspace)
    assert result.reached and 0.2 < st_mem_memory.ALLOWED_GIB / result.ratio < 4
    assert "batches of 8 windows" in result.rows[1]


def test_unequal_outputs_are_rejected():
    assert check_equal("x", np.ones((3, 2)), np.ones((3, 2)), 0).startswith("equal: x, 3: largest difference 0 of 1")
    with pytest.raises(UnequalError, match="differ by 0.5"):
        check_equal("x", np.full(3, 1.5), np.ones(3), 0.1)
    with pytest.raises(UnequalError, match="shape"):
        check_equal("x", np.ones(3), np.ones(4), 1)
    with pytest.raises(UnequalError, match="not finite"):
        check_equal("x", np.array([np.nan]), np.ones(1), 1)


def test_implementations_alternate_and_first_repetition_is_not_counted():
    calls = []
    compared = alternate(lambda: calls.append("a") or 1, lambda: calls.append("b") or 2, "beat", 3)
    assert calls == list("ab" * 4) and len(compared.ours) == len(compared.reference) == 3
    assert Comparison([1.0, 2.0, 3.0], [8.0, 40.0, 20.0], "beat").ratio == 10
    result = Result("x", 9.96, 10, ["row"])
    assert str(result) == "x 10.0\n  row" and not result.reached


def test_list_option_prints_the_names(capsys):
    main(["--list"])
    assert capsys.readouterr().out.split() == list(benchmarks.NAMES)
    for name in benchmarks.NAMES:
        assert (Path(benchmarks.__file__).parent / f"{name.replace('-', '_')}.py").is_file()


def test_unknown_name_is_rejected():
    root = Path(benchmarks.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "pack", "speed"], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.count("\n") == 1 and "'speed'" in done.stderr and "train-step" in done.stderr
