"""The check of an installation: what it lists, and the exit status where something fails."""

import re

import pytest
from conftest import SAMPLE

from keras_ecg import cli
from keras_ecg.commands import doctor


def lines(capsys) -> dict[str, str]:
    """The state by what was found."""
    return {line[8:]: line[:6].strip() for line in capsys.readouterr().out.splitlines()}


def test_versions_devices_and_data_are_listed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mit-bih-arrhythmia-database-1.0.0").mkdir()
    cli.run(["doctor", "--no-self-test"])
    found = lines(capsys)
    for text in (
        "tensorflow ",
        "keras ",
        "wfdb ",
        "Python 3.",
        "Keras backend ",
        "11 presets",
        "18 bundled recordings",
    ):
        assert [state for line, state in found.items() if line.startswith(text)] == ["ok"], text
    assert found["recordings: mit-bih-arrhythmia-database-1.0.0"] == "ok"
    assert found["packed windows: window_tfrecords is not in this folder"] == "-"
    assert any("CPU cores" in line for line in found) and not any("self-test" in line for line in found)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        (["numpy>=99"], "numpy .* .requires >=99."),
        (["no-such-package>=1"], "no-such-package is not installed .requires >=1."),
    ],
)
def test_a_version_outside_the_range_fails(capsys, monkeypatch, packages, expected):
    monkeypatch.setattr(doctor, "requirements", lambda: (">=3.11", packages))
    with pytest.raises(SystemExit) as ended:
        cli.run(["doctor", "--no-self-test"])
    failed = [line for line, state in lines(capsys).items() if state == "failed"]
    assert ended.value.code == 1 and len(failed) == 1
    assert re.fullmatch(expected, failed[0])


def test_requirements_are_those_of_pyproject():
    python, packages = doctor.requirements()
    text = (SAMPLE.parent / "pyproject.toml").read_text()
    assert f'requires-python = "{python}"' in text and len(packages) > 15
    assert all(f'"{package}"' in text for package in packages)


def test_the_self_test_classifies_embeds_and_trains():
    found = [text for state, text in doctor.self_test() if state == "ok"]
    assert len(found) == 3
    assert found[0].startswith("self-test: classified 5") and "of record 213" in found[0]
    assert found[1].startswith("self-test: embedded 30 windows") and "training step" in found[2]


def test_a_failed_self_test_is_a_line_and_status_one(capsys, monkeypatch):
    def broken() -> str:
        raise OSError("no\nweights")

    monkeypatch.setattr(doctor, "SELF_TEST", {"classify": broken, "embed": lambda: "embedded"})
    with pytest.raises(SystemExit) as ended:
        cli.run(["doctor"])
    found = lines(capsys)
    assert ended.value.code == 1 and found["self-test classify: OSError: no weights"] == "failed"
    assert any(line.startswith("self-test: embedded") and state == "ok" for line, state in found.items())
