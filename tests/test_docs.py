"""README.md and the documentation site: every block runs or says why not, names are complete, the site builds.

Blocks in Python and for a shell run in a folder that has `sample_data/`, `configs/` and the modules of the root, those
of a page in order; Python blocks of a page share their names. `<!-- not run: reason -->` above a block leaves it out.
Commands of this project in a shell block are parsed and their configurations loaded, run or not.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import SAMPLE

import keras_ecg as ke
from keras_ecg import cli
from keras_ecg.config import Config, load_config, to_dict
from keras_ecg.presets import list_presets

ROOT = SAMPLE.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S
)
RUN = ("python", "bash")
PRINTED = re.compile(r"^print\(.*\)  # ([\[({][\d'].*)$", re.M)  # a value in the comment of a line that prints it
OTHERS = ("text", "yaml", "markdown")
SCRIPTS = {
    "download_data.py": "download",
    "preprocess_data.py": "preprocess",
    "create_batched_tfrecords.py": "pack",
    "create_window_tfrecords.py": "pack-windows",
    "create_rhythm_tfrecords.py": "pack-recordings",
    "run_hyperparameter_tuning.py": "tune",
    "run_kfold_evaluation.py": "kfold",
    "run_final_evaluation.py": "evaluate",
    "run_adaptation.py": "adapt",
    "run_pretraining.py": "pretrain",
    "run_finetuning.py": "finetune",
    "predict.py": "predict",
}
FREE = ("Research_Runs", "configs", "sample_data", "DataLoader.py", "ModelBuilder.py", "Evaluator.py")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None  # why it is not run


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    page = path.relative_to(ROOT).as_posix()
    return [
        Block(page, text[: m.start("code")].count("\n") + 1, m["language"], m["code"], m["reason"])
        for m in BLOCK.finditer(text)
    ]


def command_lines(code: str) -> list[list[str]]:
    """The commands of this project in a shell block, as arguments of `keras-ecg`."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        tokens = shlex.split(line, comments=True)
        while tokens and re.fullmatch(r"[A-Z_]+=.*", tokens[0]):
            tokens = tokens[1:]  # settings of the environment
        if tokens[:1] == ["keras-ecg"]:
            found.append(tokens[1:])
        elif tokens[:3] == ["python", "-m", "keras_ecg.runs"]:
            found.append(["runs", *tokens[3:]])
        elif tokens[:1] == ["python"] and len(tokens) > 1 and tokens[1] in SCRIPTS:
            found.append([SCRIPTS[tokens[1]], *tokens[2:]])
    return found


def subcommands() -> dict:
    """The parser of each subcommand by name."""
    actions = [a for a in cli.make_parser()._actions if isinstance(getattr(a, "choices", None), dict)]
    return actions[0].choices


def run_shell(code: str) -> None:
    """Runs a shell block in this process where all of it are commands of this project, else in a shell."""
    commands = command_lines(code)
    lines = [line for line in code.replace("\\\n", " ").splitlines() if line.split("#")[0].strip()]
    if len(commands) < len(lines):
        subprocess.run(["bash", "-euc", code], check=True)
        return
    for arguments in commands:
        cli.main(arguments)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with what a checkout has, where blocks may write."""
    for name in FREE:
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=(ROOT / name).is_dir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    return tmp_path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_block_is_closed_and_of_a_known_language(path: Path):
    text = path.read_text(encoding="utf-8")
    fences = re.findall(r"^```", text, re.M)
    assert len(fences) == 2 * len(blocks(path)), "a fence without a language, or one that is not closed"
    assert {block.language for block in blocks(path)} <= {*RUN, *OTHERS}
    assert len(re.findall("<!-- not run", text)) == sum(block.reason is not None for block in blocks(path)), (
        "a reason that does not stand directly above a block"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links to folders need rights on Windows, and blocks are for bash")
@pytest.mark.parametrize(
    "path",
    [p for p in PAGES if any(b.language in RUN and b.reason is None for b in blocks(p))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_blocks_of_a_page_run(path: Path, folder: Path, capfd):
    names: dict = {"__name__": "__main__"}
    for block in blocks(path):
        if block.language not in RUN or block.reason is not None:
            continue
        with contextlib.ExitStack() as stack:
            stack.callback(os.chdir, folder)
            try:
                if block.language == "bash":
                    run_shell(block.code)
                else:
                    exec(compile(block.code, f"{block.page}:{block.line}", "exec"), names)
                    printed = capfd.readouterr().out
                    assert not [value for value in PRINTED.findall(block.code) if value not in printed], printed
            except BaseException as error:
                error.add_note(f"{block.page}, line {block.line}")
                raise


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_are_accepted_by_the_parser(path: Path, monkeypatch):
    monkeypatch.chdir(ROOT)
    own = {"my_database.yaml", "my_space.yaml", "tuner_results/best.yaml"}  # files that a reader writes
    for block in blocks(path):
        for arguments in command_lines(block.code) if block.language == "bash" else ():
            try:
                args = cli.make_parser().parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{block.page}, line {block.line}: {shlex.join(arguments)}")
            names = [name for name in getattr(args, "config", ()) or () if name not in own]
            load_config(names, getattr(args, "set", ()) or ())


def test_every_script_has_its_row_in_the_map_of_commands():
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| `?(.*?)`? \|", text, re.M))
    assert set(rows) == set(subcommands())
    assert {script: command for command, script in rows.items() if script.endswith(".py")} == SCRIPTS
    assert all((ROOT / script).is_file() for script in SCRIPTS)


def test_everything_public_is_mentioned():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    configs = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    expected = {*list_presets(), *configs, *subcommands(), *ke.__all__, *ke.list_models()}
    missing = sorted(name for name in expected if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text))
    assert not missing


def test_documented_options_exist():
    known, defaults, attributes = set(), to_dict(Config()), dir(ke.BeatPredictions)

    def walk(values: dict, prefix: str) -> None:
        for key, value in values.items():
            known.add(f"{prefix}{key}")
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")

    walk(defaults, "")
    sections = "|".join(name for name, value in defaults.items() if isinstance(value, dict))
    for path in PAGES:
        if path.stem == "migration":
            continue  # lists the old names, too
        for name in re.findall(rf"`((?:{sections})\.[a-z_.0-9]+)(?:=[^`]*)?`", path.read_text(encoding="utf-8")):
            if name == "model.keras" or name.startswith("model.options.") or name.removeprefix("beats.") in attributes:
                continue  # a file; options of one model; an attribute of a variable `beats`
            assert name in known, f"{path.name}: {name}"


def test_readme_is_short_and_begins_with_a_command():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 170
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("```")) < 40


def test_links_of_the_readme_lead_to_files():
    for name in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
        assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_rows_of_the_results_table_have_a_published_claim():
    rows = yaml.safe_load((ROOT / "Research_Runs" / "summary.yaml").read_text(encoding="utf-8"))["rows"]
    claims = yaml.safe_load((ROOT / "Research_Runs" / "published.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in rows:
        assert claims[row["claim"]]["run"] in readme
        assert row["public"]["value"] in readme and row["task"] in readme


def test_image_is_small_and_drawn_on_paper():
    image = DOCS / "images" / "predicted_beats.svg"
    text = image.read_text(encoding="utf-8")
    assert image.stat().st_size < 200_000
    assert "#fffaf7" in text  # a background of its own: readable in light and in dark mode


def test_site_builds_without_warnings(tmp_path):
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    pages = list((tmp_path / "site").rglob("index.html"))
    assert len(pages) >= 20
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert "<!-- generated:" not in text
    options = (tmp_path / "site" / "reference" / "configuration" / "index.html").read_text(encoding="utf-8")
    assert "training.learning_rate" in options
    commands = (tmp_path / "site" / "reference" / "cli" / "index.html").read_text(encoding="utf-8")
    assert all(f"keras-ecg {name}" in commands for name in subcommands())
