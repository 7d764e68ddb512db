"""The schema of metrics: complete, without unused rows, and in the same words everywhere."""

import re
from pathlib import Path

import pytest

from keras_ecg.evaluation import EVALUATORS
from keras_ecg.evaluation.schema import KINDS, METRICS, explain, format_value, metric, title
from keras_ecg.files import read_json
from keras_ecg.report import LAYOUTS
from keras_ecg.report.common import leaves

RUNS = Path(__file__).resolve().parents[1] / "Research_Runs"


def emitted() -> set[str]:
    """Names of all metrics of the published runs, which are of every kind."""
    published = [path for path in RUNS.glob("*/metrics.json") if path.parent.name in (RUNS / "README.md").read_text()]
    return {name for path in published for name in set(leaves(read_json(path)))}


def test_every_emitted_metric_has_a_row_and_every_row_is_emitted():
    assert {metric(name).name for name in emitted()} == {row.name for row in METRICS}


def test_every_kind_of_run_has_an_evaluator_a_layout_and_a_published_run():
    kinds = {read_json(path)["kind"] for path in RUNS.glob("*/metrics.json")}
    assert set(KINDS) == set(EVALUATORS) == set(LAYOUTS) == kinds


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_rows_have_a_title_and_an_explanation_in_a_sentence(row):
    assert row.title and row.direction in ("higher", "lower", "")
    assert re.fullmatch(r"[A-Z].{9,}\.", row.explanation)
    assert row.name.count("*") >= row.title.count("{}")


def test_names_are_found_in_any_section_with_any_statistic():
    assert title("baselines.x.classes.S.f1.low") == title("classes.S.f1") == "F1 S"
    assert title("model.classes.~.f1.mean") == "F1 noisy"
    assert title("ece") == "ECE ↓"
    assert metric("differences.x.labels.100.auroc.difference").name == "labels.*.auroc"
    assert metric("ec57.VEB.sensitivity").name == "ec57.*.sensitivity"
    assert "95 % CI" in explain("model.accuracy.high")
    with pytest.raises(KeyError):
        metric("model.unknown.mean")


def test_values_are_formatted_by_their_metric():
    assert format_value("accuracy", 0.95049) == "0.950"
    assert format_value("beats", 49712) == "49,712"
    assert format_value("ec57.VEB.tp", 1234.5) == "1,234.5"
    assert format_value("usage", 0.5) == "50%"
    assert format_value("kappa", None) == "–"
