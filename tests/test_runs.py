import csv
import json
import os
import shlex

import numpy as np
import pytest
from conftest import SAMPLE

from keras_ecg import cli, evaluation, runs
from keras_ecg.config import load_config
from keras_ecg.errors import InputError
from keras_ecg.evaluation.schema import explain
from keras_ecg.files import read_json, write_json
from keras_ecg.predictions import load_predictions, read_npz, write_npz
from keras_ecg.runs.index import results_pages

BEATS = {"kind": "beats"}
CONFIG = {"title": "A test", "evaluation": {"split": "records", "bootstrap": 50}}


def arrays(seeds=2, records=("200", "202", "213", "231"), fold=False, lean=1.0, beats=60):
    """Beats of some records, every class on each, with probabilities that lean towards the truth."""
    rng = np.random.default_rng(0)
    n = len(records) * beats
    y = rng.choice(5, n, p=[0.5, 0.15, 0.15, 0.1, 0.1])
    p = rng.dirichlet(np.ones(5), (seeds, n)) + lean * np.eye(5)[y]
    out = {
        "record": np.repeat(records, beats),
        "subject": np.repeat(records, beats),
        "sample": np.tile(np.arange(beats) * 300 + 40, len(records)),
        "y_true": y,
        "probabilities": p / p.sum(-1, keepdims=True),
        "seeds": np.arange(seeds),
    }
    return out | ({"fold": np.repeat(np.arange(len(records)) % 3, beats)} if fold else {})


def majority_class(model):
    constant = np.eye(5)[np.zeros((1, len(model["y_true"])), int)]
    return model | {"probabilities": constant, "seeds": np.array([0])}


def finished(root, study="final_records", fingerprint="f", **options):
    run = runs.find_or_create(root / "Research_Runs", study, "cnn", fingerprint, CONFIG, "python run.py", BEATS)
    model = arrays(**options)
    run.write_predictions("model", **model)
    run.write_predictions("majority_class", **majority_class(model))
    run.write_history([{"epoch": 1, "loss": 0.5, "seed": 0}, {"epoch": 1, "seed": 1, "loss": 0.4, "accuracy": 0.9}])
    run.finish(skipped_records=[])
    return run


def leaves(value, name=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


def test_an_unfinished_run_is_found_again_and_a_finished_one_is_skipped(tmp_path):
    make = (tmp_path, "kfold", "cnn", "abc", CONFIG, "python run.py --x", {**BEATS, "seeds": [0]})
    run = runs.find_or_create(*make)
    assert not run.finished and not run.has_part("seed0")
    run.save_part("seed0", probabilities=np.ones((2, 5)))
    (run.path / "parts" / ".seed1.0.partial.npz").touch()  # a killed writer's
    again = runs.find_or_create(*make)
    assert os.listdir(run.path / "parts") == ["seed0.npz"]
    assert again.path == run.path and again.has_part("seed0") and again.environment["resumed"] == 1
    np.testing.assert_array_equal(again.load_part("seed0")["probabilities"], np.ones((2, 5)))
    other = runs.find_or_create(tmp_path, "kfold", "cnn", "other", CONFIG, "python run.py")
    assert other.path != run.path  # though it was made within the same second
    assert runs.find_or_create(tmp_path, "kfold", "cnn_b", "abc", CONFIG, "x").path not in (run.path, other.path)
    again.write_predictions("model", **arrays(seeds=1))
    metrics = again.finish()
    assert again.finished and not (run.path / "parts").exists()
    assert read_json(run.path / "metrics.json") == metrics and metrics["bootstrap"]["resamples"] == 50
    assert runs.find_or_create(*make).finished
    environment = read_json(run.path / "environment.json")
    assert environment["command"] == "python run.py --x" and environment["seeds"] == [0]
    assert environment["packages"]["numpy"] == np.__version__ and environment["wall_seconds"] >= 0


@pytest.mark.parametrize("content", [b"", b"PK half of a file", b"{}"])
def test_a_damaged_part_is_discarded_and_recomputed(tmp_path, capsys, content):
    run = runs.find_or_create(tmp_path, "kfold", "cnn", "abc", CONFIG, "x")
    run.save_part("seed0", x=np.arange(3))
    path = run.path / "parts" / "seed0.npz"
    path.write_bytes(content)
    assert not run.has_part("seed0") and not path.exists()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: found ") and line.endswith("it is discarded, and recomputed")
    run.save_part("seed0", x=np.arange(3))
    assert run.has_part("seed0") and capsys.readouterr().out == ""


def test_wall_time_adds_up_over_resumes(tmp_path):
    run = runs.find_or_create(tmp_path, "kfold", "cnn", "abc", CONFIG, "x")
    run.update()
    write_json(run.path / "environment.json", run.environment | {"wall_seconds": 1000.0})
    again = runs.find_or_create(tmp_path, "kfold", "cnn", "abc", CONFIG, "x")
    again.save_part("a", x=np.zeros(1))
    assert read_json(run.path / "environment.json")["wall_seconds"] >= 1000


def test_history_has_seed_fold_epoch_first(tmp_path):
    run = runs.find_or_create(tmp_path, "kfold", "cnn", "abc", CONFIG, "x")
    run.write_history([{"loss": 1.0, "epoch": 1, "fold": 2, "seed": 0}, {"seed": 0, "fold": 2, "epoch": 2, "lr": 3}])
    with open(run.path / "history.csv", newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["seed", "fold", "epoch", "loss", "lr"],
            ["0", "2", "1", "1.0", ""],
            ["0", "2", "2", "", "3"],
        ]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    run = runs.find_or_create(tmp_path, "kfold", "cnn", "abc", CONFIG, "x")
    run.save_part("seed0", x=np.arange(3))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        run.save_part("seed0", x=np.arange(9))
    assert run.load_part("seed0")["x"].tolist() == [0, 1, 2]
    assert os.listdir(run.path / "parts") == ["seed0.npz"]


def test_objects_are_neither_written_nor_unpickled(tmp_path):
    with pytest.raises(InputError, match="objects"):
        write_npz(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    assert not list(tmp_path.iterdir())
    np.savez(tmp_path / "b.npz", **(arrays() | {"record": np.array([{}], dtype=object)}))
    with pytest.raises(InputError, match="b.npz"):
        load_predictions(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": None}, "no array sample"),
        ({"probabilities": np.ones((2, 240, 4)) / 4}, r"probabilities of shape \(2, 240, 4\)"),
        ({"probabilities": np.full((2, 240, 5), np.nan)}, "invalid probabilities"),
        ({"y_true": np.full(240, 7)}, "invalid values in y_true"),
        ({"sample": np.zeros(240, int)}, "a duplicate beat"),
        ({"fold": np.zeros(3, int)}, "fold of shape"),
    ],
)
def test_invalid_predictions_are_rejected(tmp_path, change, message):
    stored = {k: v for k, v in (arrays() | change).items() if v is not None}
    np.savez(tmp_path / "predictions.npz", **stored)
    with pytest.raises(InputError, match=message):
        load_predictions(tmp_path / "predictions.npz")


def test_damaged_and_missing_files_are_rejected(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_predictions(tmp_path / "predictions.npz")
    np.savez(tmp_path / "predictions.npz", **arrays())
    whole = (tmp_path / "predictions.npz").read_bytes()
    for broken in (whole[:-200], b"", b"not an archive", whole[:400] + b"\xff" + whole[401:]):
        (tmp_path / "predictions.npz").write_bytes(broken)
        with pytest.raises(InputError, match="predictions.npz"):
            load_predictions(tmp_path / "predictions.npz")


def test_every_damaged_byte_of_stored_arrays_is_detected(tmp_path):
    path, stored = tmp_path / "a.npz", {"x": np.arange(6.0).reshape(2, 3), "name": np.array("text")}
    for compressed in (False, True):
        (np.savez_compressed if compressed else np.savez)(path, **stored)
        whole = path.read_bytes()
        for k in range(0, len(whole), 2):
            path.write_bytes(whole[:k] + bytes([whole[k] ^ 1 << k // 2 % 8]) + whole[k + 1 :])
            try:
                found = read_npz(path)
            except InputError as error:
                assert str(path) in str(error)
            else:
                assert all(np.array_equal(value, stored[name]) for name, value in found.items() if name in stored)


def test_every_emitted_metric_is_in_the_schema_and_json_is_plain(tmp_path):
    run = finished(tmp_path, study="kfold", fold=True, records=("106", "207", "220", "228"))
    metrics = json.loads((run.path / "metrics.json").read_text(), parse_constant=lambda c: pytest.fail(c))
    names = {name for name, _ in leaves(metrics)}
    for name in names:
        assert explain(name)
    for section in ("model.without_q.accuracy.low", "fold_spread.macro_f1.fold_sd", "model.ensemble.kappa.mean"):
        assert section in names
    with pytest.raises(KeyError):
        explain("model.unheard_of.mean")


def test_evaluate_reports_the_mean_over_seeds_and_yields_pairs():
    model = arrays(seeds=3, lean=0.2)
    p = runs.Predictions(**model, fold=None)
    got = dict(evaluation.evaluate(p, bootstrap=20))
    each = [(q.argmax(1) == model["y_true"]).mean() for q in model["probabilities"]]
    assert got["accuracy.mean"] == pytest.approx(np.mean(each))
    assert got["accuracy.sd"] == pytest.approx(np.std(each))
    together = (model["probabilities"].mean(0).argmax(1) == model["y_true"]).mean()
    assert got["ensemble.accuracy.mean"] == pytest.approx(together) and together != np.mean(each)
    assert got["accuracy.low"] < got["accuracy.mean"] < got["accuracy.high"]
    assert dict(evaluation.subsets(p, 20, 0))["without_202.records"] == 3


def test_baselines_are_compared_on_equal_beats_in_any_order(tmp_path):
    model = arrays()
    shuffled = np.random.default_rng(1).permutation(240)
    for name, stored in (("predictions", model), ("predictions_majority_class", majority_class(model))):
        order = shuffled if name != "predictions" else np.arange(240)
        moved = {k: v[order] if np.shape(v) == (240,) else v for k, v in stored.items()}
        np.savez(tmp_path / f"{name}.npz", **(moved | {"probabilities": stored["probabilities"][:, order]}))
    metrics = evaluation.evaluate_run(tmp_path, bootstrap=50, kind="beats")
    difference = metrics["differences"]["majority_class"]["accuracy"]
    expected = metrics["model"]["accuracy"]["mean"] - np.mean(model["y_true"] == 0)
    assert difference["difference"] == pytest.approx(expected) and difference["excludes_zero"]
    np.savez(tmp_path / "predictions_majority_class.npz", **arrays(records=("200", "202", "213"), seeds=1))
    with pytest.raises(InputError, match="60 beats that only one side has"):
        evaluation.evaluate_run(tmp_path, bootstrap=50, kind="beats")


def test_confident_errors_have_the_highest_confidence_and_few_per_record():
    p = runs.Predictions(**arrays(lean=0.2), fold=None)
    chosen = evaluation.confident_errors(p, count=6, per_record=2)
    mean = p.ensemble
    assert (mean[chosen].argmax(1) != p.y_true[chosen]).all()
    assert (np.diff(mean[chosen].max(1)) <= 0).all()
    assert np.unique(p.record[chosen], return_counts=True)[1].max() <= 2
    wrong = mean.argmax(1) != p.y_true
    assert mean[chosen[0]].max() == mean[wrong].max()


def test_verify_detects_a_changed_value(tmp_path, capsys):
    run = finished(tmp_path)
    cli.run(["runs", "--root", str(tmp_path), "publish", "claim-a", run.path.name])
    cli.run(["runs", "verify", "--root", str(tmp_path)])
    assert f"{run.path.name}: " in (out := capsys.readouterr().out) and "numbers agree" in out
    path = run.path / "metrics.json"
    sound = path.read_text()
    metrics = json.loads(sound)
    metrics["model"]["classes"]["S"]["f1"]["mean"] += 1e-6
    write_json(path, metrics)
    with pytest.raises(SystemExit) as stop:
        cli.run(["runs", "verify", "--root", str(tmp_path)])
    assert stop.value.code == 1 and "1 differ: model.classes.S.f1.mean is" in capsys.readouterr().out
    path.write_text(sound)
    stored = dict(np.load(run.path / "predictions_majority_class.npz"))
    stored["probabilities"][0, :3] = np.eye(5)[1]
    write_npz(run.path / "predictions_majority_class.npz", **stored)
    assert not runs.verify(tmp_path)
    path.unlink()
    assert not runs.verify(tmp_path) and "no such file" in capsys.readouterr().out


SUMMARY = """rows:
- {claim: mitdb-x, task: A task, metric: accuracy, title: accuracy, baseline: majority_class,
   public: {value: "0.9", source: Author 2020, link: "https://doi.org/10.1/x", note: two leads}}
- {claim: mitdb-x, task: Another, metric: classes.S.f1, title: F1 of S, baseline: majority_class,
   public: {value: none comparable, source: ""}}
- {claim: absent, task: Absent, metric: accuracy, title: accuracy, baseline: x, public: {value: "1", source: x}}
"""


def test_publish_and_index(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n<!-- results -->\nold\n<!-- /results -->\nend\n")
    run = finished(tmp_path)
    ablation = finished(tmp_path, study="final_records", fingerprint="g", seeds=1, lean=0.3)
    root = ["--root", str(tmp_path)]
    cli.run(
        [
            "runs",
            *root,
            "publish",
            "mitdb-x",
            run.path.name,
            "--title",
            "A title",
            "--ablation",
            f"small={ablation.path.name}",
        ]
    )
    published = read_json(tmp_path / "Research_Runs" / "published.json")
    entry = {"run": run.path.name, "title": "A title", "ablations": {"small": ablation.path.name}}
    assert published == {"mitdb-x": entry}
    index = (tmp_path / "Research_Runs" / "README.md").read_text()
    mean = read_json(run.path / "metrics.json")["model"]["accuracy"]["mean"]
    expected = ("## A title", "**CNN**, 2 seeds", "baseline: majority class", "ablation: small, 1 seed |")
    for text in (*expected, f"| {mean:.3f} ± "):
        assert text in index
    assert "old" in readme.read_text()  # without summary.yaml
    (tmp_path / "Research_Runs" / "summary.yaml").write_text(SUMMARY)
    cli.run(["runs", *root, "index"])
    text = readme.read_text()
    assert text.startswith("# Title\n<!-- results -->\n| task") and text.endswith("<!-- /results -->\nend\n")
    first, second = text.splitlines()[4:6]
    assert first.startswith(f"| [A task](Research_Runs/{run.path.name}/report.html) | accuracy | {mean:.3f} ± ")
    assert first.endswith("(majority class) | 0.9 ([Author 2020](https://doi.org/10.1/x), two leads) |")
    assert second.startswith("| [Another](") and second.endswith("| none comparable |") and "Absent" not in text
    page = (tmp_path / "Research_Runs" / "index.html").read_text(encoding="utf-8")
    for folder in (run.path.name, ablation.path.name):
        assert f'<a href="{folder}/report.html">' in page
    cli.run(["runs", *root, "index"])
    assert readme.read_text() == text
    wrong = SUMMARY.replace("baseline: majority_class", "baseline: other")
    (tmp_path / "Research_Runs" / "summary.yaml").write_text(wrong)
    with pytest.raises(InputError, match="no accuracy of the baseline other"):
        cli.run(["runs", *root, "index"])
    (tmp_path / "Research_Runs" / "summary.yaml").write_text(SUMMARY)
    cli.run(["runs", *root, "report", run.path.name])
    assert "ablation: small" in (run.path / "report.html").read_text(encoding="utf-8")
    unfinished = runs.find_or_create(tmp_path / "Research_Runs", "kfold", "cnn", "h", CONFIG, "x", {"kind": "beats"})
    with pytest.raises(InputError, match="unfinished"):
        cli.run(["runs", *root, "publish", "mitdb-y", unfinished.path.name])
    with pytest.raises(InputError, match="no such file"):
        cli.run(["runs", *root, "publish", "mitdb-y", "nowhere"])


def test_results_pages_have_a_table_per_claim(tmp_path):
    run = finished(tmp_path)
    runs.publish(tmp_path, "mitdb-x", run.path.name, "A title")
    ((title, text),) = results_pages(tmp_path, "../Research_Runs/")
    assert title == "A title" and f"(../Research_Runs/{run.path.name}/report.html)" in text
    assert sum(line.startswith("| ") for line in text.splitlines()) == 5  # head, model, without 202, ensemble, baseline


def test_the_kind_of_a_run_is_read_from_its_environment(tmp_path):
    run = finished(tmp_path)
    assert read_json(run.path / "metrics.json")["kind"] == evaluation.kind_of(run.path) == "beats"
    write_json(run.path / "environment.json", {"kind": "guess"})
    with pytest.raises(InputError, match="kind 'guess'; expected a kind of beats, rhythm"):
        evaluation.evaluate_run(run.path)
    (run.path / "environment.json").unlink()
    with pytest.raises(InputError, match="no such file"):
        evaluation.evaluate_run(run.path)


def test_a_published_file_of_another_layout_is_rejected(tmp_path):
    (tmp_path / "Research_Runs").mkdir()
    (tmp_path / "Research_Runs" / "published.json").write_text('["a"]')
    with pytest.raises(InputError, match="another layout"):
        runs.verify(tmp_path)


def test_published_runs_can_be_repeated_with_their_recorded_commands():
    scripts = {command.script: name for name, command in cli.COMMANDS.items()}
    paths = sorted((SAMPLE.parent / "Research_Runs").glob("*/environment.json"))
    assert len(paths) > 50
    for path in paths:
        script, *arguments = shlex.split(read_json(path)["command"].removeprefix("python "))
        name = [] if script == "keras-ecg" else [scripts[script]]
        args = cli.make_parser().parse_args([*name, *arguments])
        load_config(getattr(args, "config", ()) or (), getattr(args, "set", ()) or ())
