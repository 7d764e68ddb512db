"""Every stage in a process that is killed, interrupted, or out of disk space, and then run again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SAMPLE, config_for, copy_records, with_sections

from keras_ecg import cli
from keras_ecg.config import Config, to_dict
from keras_ecg.files import read_json, sha256

ROOT = SAMPLE.parent
PREPROCESS, PACK = "preprocess_data.py", "create_batched_tfrecords.py"
FINAL, KFOLD = "run_final_evaluation.py", "run_kfold_evaluation.py"
PRETRAIN = "run_pretraining.py"
INTERRUPTED = "interrupted: finished parts are kept, the same command resumes"
SMALL = {
    "loader": {"rr_features": False, "waveforms": False},
    "model": {"name": "cnn", "options": {"width": 8, "bottleneck": 8}},
    "evaluation": {"seeds": [0, 1], "folds": 2, "baselines": False},
}
LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing beyond the limit is then an error, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = sys.argv[2:]
sys.path.insert(0, ".")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(script, config, *extra) -> list[str]:
    path = Path(config.database.runs_dir).with_name("config.yaml")
    path.write_text(yaml.safe_dump(to_dict(config)))
    return [sys.executable, script, "--config", str(path), *extra]


def run(arguments) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)


def hit(arguments, kind, when) -> tuple[int, str]:
    """Run a command, and send its process group a signal as soon as `when()` is true; return exit status and stderr."""
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not when() and process.poll() is None:
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, kind)
    errors = process.communicate()[1]
    return process.returncode, errors


def after(seconds):
    """Return a condition that becomes true after some time."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def exists(folder, pattern):
    return lambda: any(Path(folder).glob(pattern))


def hashes(folder) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(Path(folder).iterdir())}


def leftovers(folder) -> list[Path]:
    return [p for p in Path(folder).rglob("*") if "partial" in p.name or p.suffix == ".new" or p.name == "parts"]


def check_ending(status, errors, kind):
    if kind == signal.SIGINT:
        assert (status, errors.splitlines()) == (130, [INTERRUPTED])
    else:
        assert status == -kind


EVERY = tuple((SAMPLE / "RECORDS").read_text().split())[:10]


@pytest.fixture(scope="module")
def ten_records(tmp_path_factory):
    """Hashes of the HDF5 and TFRecord files of uninterrupted runs for ten records."""
    from keras_ecg.data.preprocess import preprocess
    from keras_ecg.data.tfrecords import pack

    config = config_for(tmp_path_factory.mktemp("undisturbed"), database={"records": list(EVERY)})
    preprocess(config, jobs=1)
    pack(config, jobs=1)
    return config


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_preprocessing_resumes(ten_records, tmp_path, kind):
    config = config_for(tmp_path, database={"records": list(EVERY)})
    arguments = command(PREPROCESS, config, "--jobs", "1")
    check_ending(*hit(arguments, kind, exists(config.database.hdf5_dir, "*.h5")), kind)
    kept = hashes(config.database.hdf5_dir)
    assert "metadata.json" not in kept
    ended = run(arguments)
    assert ended.returncode == 0, ended.stderr
    finished = [name for name in kept if name.endswith(".h5") and not name.startswith(".")]
    assert f"{len(EVERY) - len(finished)} written, {len(finished)} current" in ended.stdout
    assert hashes(config.database.hdf5_dir) == hashes(ten_records.database.hdf5_dir)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_packing_resumes(ten_records, tmp_path, kind):
    paths = {"records": list(EVERY), "hdf5_dir": ten_records.database.hdf5_dir}
    config = config_for(tmp_path, database=paths)
    arguments = command(PACK, config, "--jobs", "1")
    check_ending(*hit(arguments, kind, exists(config.database.tfrecord_dir, "*.tfrecord")), kind)
    assert "manifest.json" not in hashes(config.database.tfrecord_dir)
    ended = run(arguments)
    assert ended.returncode == 0, ended.stderr
    assert hashes(config.database.tfrecord_dir) == hashes(ten_records.database.tfrecord_dir)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("stage", [PREPROCESS, PACK])
def test_data_stages_resume_after_interruption_at_any_time(ten_records, tmp_path, stage, kind):
    """With worker processes, stopped six times at random, then run to the end."""
    config = config_for(tmp_path, database={"records": list(EVERY)})
    if stage == PACK:
        paths = {"records": list(EVERY), "hdf5_dir": ten_records.database.hdf5_dir}
        config = config_for(tmp_path, database=paths)
    arguments = command(stage, config, "--jobs", "2")
    draw = random.Random(int(kind))
    for _ in range(6):
        status, errors = hit(arguments, kind, after(draw.uniform(0.5, 10)))
        if status:
            check_ending(status, errors, kind)
    ended = run(arguments)
    assert ended.returncode == 0, ended.stderr
    name = "hdf5_dir" if stage == PREPROCESS else "tfrecord_dir"
    assert hashes(getattr(config.database, name)) == hashes(getattr(ten_records.database, name))


def test_killed_repreprocessing_is_detected_before_packing(ten_records, tmp_path):
    config = config_for(tmp_path, database={"records": list(EVERY[:3])})
    assert run(command(PREPROCESS, config, "--jobs", "1")).returncode == 0
    folder = Path(config.database.hdf5_dir)
    first = folder / f"{EVERY[0]}.h5"
    stamp = first.stat().st_mtime_ns
    other = with_sections(config, beats={"bandpass_hz": [0.5, 40.0]})
    assert hit(command(PREPROCESS, other), signal.SIGKILL, lambda: first.stat().st_mtime_ns != stamp)[0]
    ended = run(command(PACK, config, "--jobs", "1"))
    assert ended.returncode == 2 and "found a damaged or edited file" in ended.stderr
    assert run(command(PREPROCESS, config, "--jobs", "1")).returncode == 0
    found, expected = hashes(folder), hashes(ten_records.database.hdf5_dir)
    assert set(found) == {"metadata.json", *(f"{record}.h5" for record in EVERY[:3])}
    assert all(found[name] == expected[name] for name in found if name != "metadata.json")


@pytest.fixture(scope="module")
def small(packed):
    return with_sections(packed, **SMALL)


def result(runs_dir) -> tuple[dict, dict]:
    """Return metrics and predictions of the only run in a folder."""
    (folder,) = [p for p in Path(runs_dir).iterdir() if p.is_dir()]
    assert leftovers(runs_dir) == []
    assert read_json(folder / "environment.json")["status"] == "finished"
    assert {"metrics.json", "report.html", "history.csv", "config.yaml"} <= {p.name for p in folder.iterdir()}
    return read_json(folder / "metrics.json"), dict(np.load(folder / "predictions.npz"))


def same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        np.testing.assert_array_equal(one[1][name], other[1][name])


def under(config, folder) -> Config:
    folder.mkdir(exist_ok=True)
    return with_sections(config, database={"runs_dir": str(folder / "runs")})


def test_resumed_evaluation_trains_only_missing_seed(small, tmp_path, capfd, monkeypatch):
    """The evaluation is stopped between two seeds, and finished in parallel processes."""
    from keras_ecg.experiments import final

    config, fit_fold = under(small, tmp_path), final.fit_fold

    def fit_first(run, part, *given, **named):
        if part != "seed_0":
            raise KeyboardInterrupt
        fit_fold(run, part, *given, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(final, "fit_fold", fit_first)
        final.run_final(config)
    at_a_time = with_sections(config, evaluation={"jobs": 2})
    final.run_final(at_a_time)
    assert "seed_0 is done" in capfd.readouterr().out
    _, stored = result(config.database.runs_dir)
    assert stored["seeds"].tolist() == [0, 1] and (stored["probabilities"][0] != stored["probabilities"][1]).any()
    final.run_final(config)
    assert "finished before under the same data and settings" in capfd.readouterr().out


@pytest.mark.slow
def test_interrupted_evaluation_resumes_seed_by_seed(small, tmp_path, capfd):
    """Killed after the first seed and interrupted in the second, the scores are those of an uninterrupted run."""
    from keras_ecg.experiments.final import run_final

    config, undisturbed = under(small, tmp_path / "disturbed"), under(small, tmp_path / "undisturbed")
    parts = exists(config.database.runs_dir, "*/parts/seed_0.npz")
    check_ending(*hit(command(FINAL, config), signal.SIGKILL, parts), signal.SIGKILL)
    resumed = exists(config.database.runs_dir, "*/environment.json.resumed")
    (folder,) = Path(config.database.runs_dir).glob("final_*")

    def again():
        return resumed() or read_json(folder / "environment.json").get("resumed") == 1

    check_ending(*hit(command(FINAL, config), signal.SIGINT, again), signal.SIGINT)
    run_final(config)
    assert "seed_0 is done" in capfd.readouterr().out
    run_final(undisturbed)
    same(result(config.database.runs_dir), result(undisturbed.database.runs_dir))
    run_final(config)
    assert "finished before under the same data and settings" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("study", [(FINAL,), (KFOLD,), (KFOLD, "--jobs", "2")])
def test_evaluations_resume_after_interruption_at_any_time(small, tmp_path, study, kind):
    """Stopped five times at random, then run to the end, with the result of an uninterrupted run."""
    config, undisturbed = under(small, tmp_path / "disturbed"), under(small, tmp_path / "undisturbed")
    draw = random.Random(int(kind))
    for _ in range(5):
        status, errors = hit(command(study[0], config, *study[1:]), kind, after(draw.uniform(0.5, 40)))
        if status:
            check_ending(status, errors, kind)
    for each in (config, undisturbed):
        ended = run(command(study[0], each, *(study[1:] if each is config else ())))
        assert ended.returncode == 0, ended.stderr
    same(result(config.database.runs_dir), result(undisturbed.database.runs_dir))


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> Config:
    """Return a masked autoencoder of three epochs on the windows of four records."""
    from keras_ecg.data.windows import pack_windows

    folder = tmp_path_factory.mktemp("windows")
    options = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    source = {"database": "sample", "folder": str(SAMPLE), "records": ["114", "118", "124", "208"]}
    config = config_for(
        folder,
        windows={"sources": [source], "tfrecord_dir": str(folder / "windows"), "validation_fraction": 0.5},
        model={"name": "mae", "options": {**options, "dropout": 0.1}},
        loader={"batch_size": 8, "rr_features": False, "waveforms": False},
        training={"epochs": 3},
    )
    pack_windows(config, jobs=1, quiet=True)
    return config


def check_same_pretraining(config, undisturbed):
    """Both runs finish with equal history, metrics and predictions."""
    for each in (config, undisturbed):
        ended = run(command(PRETRAIN, each))
        assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    same(result(config.database.runs_dir), result(undisturbed.database.runs_dir))
    one, other = (next(Path(c.database.runs_dir).glob("*/history.csv")) for c in (config, undisturbed))
    assert one.read_text() == other.read_text()


@pytest.mark.slow
def test_killed_pretraining_resumes_to_equal_result(windows, tmp_path):
    """Killed twice as soon as there is a checkpoint, the pretraining has an equal result."""
    config, undisturbed = under(windows, tmp_path / "disturbed"), under(windows, tmp_path / "undisturbed")
    for epoch in (1, 2):
        stored = exists(config.database.runs_dir, f"*/parts/checkpoint_{epoch:06d}.npz")
        check_ending(*hit(command(PRETRAIN, config), signal.SIGKILL, stored), signal.SIGKILL)
    check_same_pretraining(config, undisturbed)


@pytest.mark.slow
def test_pretraining_on_full_disk_is_one_line_error_and_resumes(windows, tmp_path):
    config, undisturbed = under(windows, tmp_path / "full"), under(windows, tmp_path / "undisturbed")
    line = out_of_disk(PRETRAIN, config, 30_000)
    assert "checkpoint_000001.npz" in line and "rerun" in line
    assert not list(Path(config.database.runs_dir).rglob("*.npz"))
    check_same_pretraining(config, undisturbed)


def out_of_disk(script, config, limit, *extra) -> str:
    """Return the error line of a stage when no file may exceed `limit` bytes."""
    ended = run([sys.executable, "-c", LIMITED, str(limit), *command(script, config, *extra)[1:]])
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_preprocessing_on_full_disk_is_one_line_error_and_resumes(preprocessed, tmp_path, jobs):
    config = config_for(tmp_path)
    line = out_of_disk(PREPROCESS, config, 5_000_000, "--jobs", jobs)  # the first of four records is smaller
    assert "rerun" in line
    assert set(hashes(config.database.hdf5_dir)) <= {"114.h5"}
    assert run(command(PREPROCESS, config, "--jobs", "1")).returncode == 0
    assert hashes(config.database.hdf5_dir) == hashes(preprocessed.database.hdf5_dir)


def test_packing_on_full_disk_is_one_line_error_and_resumes(packed, tmp_path):
    config = config_for(tmp_path, database={"hdf5_dir": packed.database.hdf5_dir})
    line = out_of_disk(PACK, config, 500_000, "--jobs", "1")
    assert "rerun" in line
    assert set(hashes(config.database.tfrecord_dir)) <= {"unfinished.json", "114-0004.tfrecord"}
    assert run(command(PACK, config, "--jobs", "1")).returncode == 0
    assert hashes(config.database.tfrecord_dir) == hashes(packed.database.tfrecord_dir)


@pytest.mark.slow
def test_evaluation_on_full_disk_is_one_line_error_and_resumes(small, tmp_path):
    config = under(small, tmp_path / "full")
    line = out_of_disk(FINAL, config, 10_000)
    assert "rerun" in line
    (folder,) = Path(config.database.runs_dir).glob("final_*")
    assert not {"model.keras", "metrics.json"} & {p.name for p in folder.iterdir()}
    assert not list(Path(config.database.runs_dir).rglob("*partial*"))


@pytest.mark.parametrize("script", [PREPROCESS, FINAL])
def test_misspelled_key_is_one_line_error(script):
    ended = run([sys.executable, script, "--set", "training.epoch=3"])
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "unknown key 'epoch'" in line and "did you mean 'epochs'?" in line


def test_missing_folder_is_one_line_error(tmp_path):
    ended = run([sys.executable, PREPROCESS, "--data-dir", str(tmp_path / "nowhere")])
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"{tmp_path}/nowhere: found no such folder" in line and "download_data.py" in line


def test_split_with_shared_subject_is_one_line_error(small, tmp_path, capsys):
    config = under(small, tmp_path / "shared")
    _, _, *arguments = command(FINAL, config, "--train-records", "114", "208", "--test-records", "208")
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", *arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "subject 208 on both sides" in line
    assert not Path(config.database.runs_dir).exists()


def test_truncated_recording_is_one_line_error(tmp_path):
    folder = copy_records(tmp_path / "raw", "114")
    os.truncate(folder / "114.dat", 1000)
    config = config_for(tmp_path, database={"data_dir": str(folder), "records": ["114"]})
    ended = run(command(PREPROCESS, config))
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "114.dat: found 1000 bytes (truncated); expected 324000" in line
