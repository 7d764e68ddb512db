"""The command line: help, exit statuses, nearest names, messages, and the scripts that are the same commands."""

import ast
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLE

import keras_ecg
from keras_ecg import cli
from keras_ecg.config import load_config
from keras_ecg.errors import InputError
from keras_ecg.presets import PRESETS, describe_preset, list_presets
from keras_ecg.quiet import PACKAGE_LOGGER, bars_hidden, check_backend, show_messages
from keras_ecg.resources import find_config, find_data, list_configs, list_sample_records, sample_record

ROOT = SAMPLE.parent
HEAVY = ("tensorflow", "keras", "scipy", "wfdb", "pandas", "matplotlib", "sklearn")
SCRIPTS = {command.script: name for name, command in cli.COMMANDS.items() if command.script}
DOORS = {"DataLoader.py", "ModelBuilder.py", "Evaluator.py"}


def start(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    """A Python process with the checkout on its path."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=variables, capture_output=True, text=True)


@pytest.fixture
def help_of(capsys):
    """A function of a command line that gives what its `--help` prints."""

    def read(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--help"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return read


@pytest.fixture
def level():
    """The level of messages, which a test may change."""
    yield
    show_messages(logging.INFO)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_has_a_summary_options_in_groups_and_examples(name, help_of):
    text = " ".join(help_of(name).split())
    command = cli.COMMANDS[name]
    assert text.startswith(f"usage: keras-ecg {name} ") and command.summary in text and len(command.summary) < 120
    assert "--quiet" in text and "--verbose" in text and "examples:" in text and " messages: " in text
    assert 2 <= len(command.examples) <= 4
    for example in command.examples:
        assert " ".join(example.split()) in text


@pytest.mark.parametrize("example", [example for c in cli.COMMANDS.values() for example in c.examples])
def test_every_example_is_a_command_line_that_the_parser_takes(example):
    program, *arguments = shlex.split(example, comments=True)
    args = cli.make_parser().parse_args(arguments)
    assert program == "keras-ecg" and args.command == arguments[0]
    for name in getattr(args, "config", []):
        assert name == "tuner_results/best.yaml" or find_config(name).is_file()


def test_the_help_of_the_program_lists_every_command(help_of, capsys):
    text = help_of()
    for name in cli.COMMANDS:
        assert re.search(rf"^    {name}\b", text, re.MULTILINE)
    cli.main([])
    assert capsys.readouterr().out == text


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"keras-ecg {keras_ecg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["kfolds"], "error: keras-ecg: found unknown command 'kfolds'.*; did you mean kfold?"),
        (["train"], "error: keras-ecg: found unknown command 'train'; expected one of download, "),
        (["tune", "--config", "mitbd"], "error: mitbd: found no such file; .*; did you mean mitdb"),
        (["tune", "--config", "nowhere/mitdb.yaml"], "error: nowhere/mitdb.yaml: found no such file"),
        (["tune", "--set", "training.epoch=3"], "error: --set.training: found unknown key 'epoch'"),
        (["predict", "nowhere/100"], "error: nowhere/100.hea: found no such file"),
        (["presets", "mea"], "error: mea: found no such preset; .*; did you mean mae?"),
        (["finetune", "--against", "mae"], "error: --against: found the old name"),
        (["runs", "publish", "x", "y", "--ablation", "z"], "error: --ablation: found .*; expected LABEL=RUN"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, found, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and re.match(found.replace("?", r"\?"), line)


def test_a_wrong_argument_is_status_two(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["kfold", "--foldz", "3"])
    assert ended.value.code == 2 and "--foldz" in capsys.readouterr().err


def test_an_interrupted_command_ends_with_status_130(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "presets", cli.Command("", (), lambda parser: None, interrupted))
    with pytest.raises(SystemExit) as ended:
        cli.main(["presets"])
    assert ended.value.code == 130 and "the same command resumes" in capsys.readouterr().err


def test_answers_at_once_import_no_heavy_library():
    lines = [
        ["--help"], ["--version"], [], ["presets"], ["presets", "mae"], ["kfolds"], ["kfold", "--foldz"],
        ["tune", "--config", "nothing"], ["predict", "nowhere/100"], *([name, "--help"] for name in cli.COMMANDS),
    ]  # fmt: skip
    script = f"""
import sys
from keras_ecg.cli import main
for arguments in {lines!r}:
    try:
        main(arguments)
    except SystemExit:
        pass
print("imported", [name for name in {HEAVY!r} if name in sys.modules])
"""
    assert start("-c", script).stdout.splitlines()[-1] == "imported []"


def test_python_m_and_the_entry_point_are_the_command():
    ended = start("-m", "keras_ecg", "presets", "nothing", cwd=ROOT)
    assert ended.returncode == 2 and ended.stderr.startswith("error: nothing: found no such preset")
    assert 'keras-ecg = "keras_ecg.cli:main"' in (ROOT / "pyproject.toml").read_text()


def test_every_script_of_the_root_is_a_command_and_every_command_of_a_script_is_there():
    scripts = {path.name for path in ROOT.glob("*.py")} - DOORS
    assert scripts == set(SCRIPTS)
    without = {name for name, command in cli.COMMANDS.items() if not command.script}
    assert without == {"pipeline", "runs", "presets", "doctor"}
    assert "keras_ecg pipeline" in (ROOT / "run_full_pipeline.sh").read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_calls_its_command(script, monkeypatch):
    calls = []
    monkeypatch.setattr(cli, "main", lambda arguments, **defaults: calls.append((arguments, defaults)))
    monkeypatch.setattr(sys, "argv", [script, "--set", "training.epochs=3"])
    text = (ROOT / script).read_text()
    exec(compile(text, script, "exec"), {"__name__": "__main__"})
    ((arguments, defaults),) = calls
    assert arguments == [SCRIPTS[script], "--set", "training.epochs=3"]
    if script == "download_data.py":
        folder = "mit-bih-arrhythmia-database-1.0.0"
        assert defaults == {"db_name": "mitdb", "folders": {"mitdb": folder}}
        assert [line for line in text.splitlines() if re.match(r"(db_name|save_directory) = ", line)][1:]
    else:
        assert not defaults


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_examples_in_a_script_are_command_lines_that_the_parser_takes(script):
    text = ast.get_docstring(ast.parse((ROOT / script).read_text()))
    lines = [re.split(r"  +", line)[0] for line in text.splitlines() if line.startswith("python ")]
    assert lines
    for line in lines:
        _, name, *arguments = shlex.split(line)
        cli.make_parser().parse_args([SCRIPTS[name], *arguments])


def test_quiet_shows_warnings_only_and_hides_bars(level, capsys, monkeypatch):
    shown = logging.getLogger("keras_ecg.test")

    def work(args):
        shown.debug("file")
        shown.info("progress")
        shown.warning("note")

    monkeypatch.setitem(cli.COMMANDS, "presets", cli.Command("", (), lambda parser: None, work))
    expected = {"--quiet": "note\n", None: "progress\nnote\n"}
    for option, text in expected.items():
        cli.run(["presets", *([option] if option else [])])
        assert capsys.readouterr().out == text and bars_hidden() == (option == "--quiet")
    cli.run(["presets", "-v"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"keras_ecg {keras_ecg.__version__}, Python 3.") and lines[:3] == [
        "file",
        "progress",
        "note",
    ]
    assert len(PACKAGE_LOGGER.handlers) == 1


def test_verbose_shows_the_traceback_of_bad_input(level, capsys):
    with pytest.raises(SystemExit):
        cli.main(["presets", "nothing", "-v"])
    found = capsys.readouterr()
    assert "Traceback" in found.out and found.err.count("\n") == 1


def test_the_library_alone_prints_no_progress():
    script = "import logging; import keras_ecg.quiet; logging.getLogger('keras_ecg.data').info('progress')"
    ended = start("-c", script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_shipped_configuration_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mitdb", "mitdb.yaml", "configs/mitdb.yaml"):
        assert find_config(name) == ROOT / "configs" / "mitdb.yaml"
        assert load_config(name).title == "MIT-BIH heartbeats"
    (tmp_path / "mitdb").write_text("title: mine")
    assert load_config("mitdb").title == "mine"  # a file of that name comes first
    for name in ("mitbd", "else/mitdb.yaml", "/mitdb.yaml"):
        with pytest.raises(InputError, match="found no such file; expected a YAML file, or the name of a shipped"):
            find_config(name)
    assert "sample" in list_configs()


def test_bundled_recordings_are_found_away_from_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config("sample", ["windows.sources=[{database: sample, folder: sample_data}]"])
    assert config.database.data_dir == config.windows.sources[0].folder == str(SAMPLE)
    assert find_data("sample_data/213") == str(SAMPLE / "213") == sample_record() == keras_ecg.sample_record("213")
    assert len(list_sample_records()) == 18 and find_data("other/213") == str(Path("other/213")) and not find_data("")
    (tmp_path / "sample_data").mkdir()
    assert load_config("sample").database.data_dir == find_data("sample_data") == "sample_data"  # the user's own
    with pytest.raises(InputError, match="^999: found no bundled recording; expected one of 100, 114, "):
        sample_record("999")


def test_search_spaces_of_shipped_configurations_are_found_away_from_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list_configs():
        if not name.startswith("search_"):
            assert find_config(load_config(name).tuning.space).is_file()


def test_presets_are_listed_from_their_own_files(capsys):
    cli.run(["presets"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == list(list_presets()) and head.split()[0] == "name"
    for name, row in zip(list_presets(), rows, strict=True):
        found = describe_preset(name)
        assert found.task and found.metric and found.license == "Apache-2.0" and 0 < found.size_mb < 5
        for text in (found.kind, found.task, found.metric, found.license):
            assert text in row


@pytest.mark.parametrize("name", list_presets())
def test_the_main_metric_is_that_of_the_card(name, capsys):
    metric = json.loads((PRESETS / name / "preset.json").read_text())["metric"]
    cli.run(["presets", name])
    card = capsys.readouterr().out
    assert card.startswith(f"# {name}\n")
    if name == "mitdb-beats":  # whose card lists the F1 of each class
        run = "final_ds1_ds2_cnn_conformer_20261120T204640Z"
        assert run in card
        scores = json.loads((ROOT / "Research_Runs" / run / "metrics.json").read_text())["model"]
        assert metric["value"] == round(scores["macro_f1_nsvf"]["mean"], 3)
    else:
        assert f"{metric['value']:.3f}" in card


@pytest.mark.parametrize("backend", ["torch", "other"])
def test_unsupported_backend_is_one_line(backend, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(InputError, match=f"KERAS_BACKEND: found '{backend}'; expected one of tensorflow, jax"):
        check_backend()
