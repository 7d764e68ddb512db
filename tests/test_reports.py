import re
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_ecg import runs
from keras_ecg.errors import InputError
from keras_ecg.files import read_json
from keras_ecg.report import write_report
from keras_ecg.report.beats import test_statistics as statistics_of
from keras_ecg.report.page import card

KIND = {"kind": "beats"}
VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects what a page loads, its images without a text alternative, anchors, and unbalanced elements."""

    def __init__(self, html):
        super().__init__()
        self.loads, self.mute, self.ids, self.links, self.open, self.svg = [], [], [], [], [], 0
        self.texts, self.levels = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.svg += tag == "svg"
        if tag in ("h1", "h2", "h3"):
            self.levels.append(int(tag[1]))
        if (tag == "img" and not values.get("alt")) or (tag == "svg" and not values.get("aria-label")):
            self.mute.append(tag)
        if tag in {"iframe", "object"}:
            self.loads.append(tag)
        for name in ("src", "href", "xlink:href", "srcset", "poster"):
            if name in values and not values[name].startswith(("#", "data:")):
                self.loads.append(values[name])
        self.ids += [values["id"]] if "id" in values else []
        if tag == "a":
            self.links.append(values["href"].removeprefix("#"))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def report(
    tmp_path, seeds=2, classes=5, constant=False, fold=False, records=("200", "202", "213"), strips=True, beats=50
):
    rng = np.random.default_rng(2)
    n = len(records) * beats
    y = rng.integers(0, classes, n)
    p = np.full((seeds, n, 5), 0.2) if constant else rng.dirichlet(np.ones(5), (seeds, n)) + 0.6 * np.eye(5)[y]
    model = {
        "record": np.repeat(records, beats),
        "subject": np.repeat(records, beats),
        "sample": np.tile(np.arange(beats) * 300 + 40, len(records)),
        "y_true": y,
        "probabilities": p / p.sum(-1, keepdims=True),
        "seeds": np.arange(seeds),
    } | ({"fold": np.repeat(np.arange(len(records)), beats)} if fold else {})
    config = {
        "title": "Beats <&>",
        "evaluation": {"split": "ds1_ds2", "bootstrap": 40},
        "loader": {"waveforms": True, "difference_quantiles": True},
        "model": {"name": "cnn", "options": {}, "ensemble_members": [{"name": "cnn", "options": {"bins": 16}}]},
        "training": {"ensemble_size": 3},
    }
    run = runs.find_or_create(tmp_path, "final_ds1_ds2", "cnn", "f", config, "python run.py --set 'a=<b>'", KIND)
    run.write_predictions("model", **model)
    run.write_predictions(
        "gradient_boosting_rr", **(model | {"probabilities": 0.1 + 0.5 * np.eye(5)[y][None], "seeds": np.array([0])})
    )
    if strips:
        signal = np.sin(np.arange(2 * 2520).reshape(2, 2520) / 20).astype("f4")
        signal[0, :700] = np.nan
        signal[1] = np.nan  # a lead that was off
        columns = {"record": ["200", "213"], "sample": [640, 3340], "y_true": [1, 2], "y_pred": [0, 0]}
        run.write_strips(
            **{k: np.array(v) for k, v in columns.items()},
            confidence=np.array([0.99, 0.9]),
            signal=signal,
            beats=np.array([[900, 1260, 1600, -1], [-1, -1, -1, -1]]),
            sampling_rate_hz=np.array(360.0),
        )
        rows = [{"seed": s, "epoch": e, "loss": 1 / e, "val_loss": 2 / e} for s in range(seeds) for e in (1, 2, 3)]
        run.write_history(rows)
    notes = ["no subjects.csv: each record is taken as a subject of its own", "annotations of 100: 2 dropped"]
    run.finish(skipped_records=["104"], data_notes=notes)
    html = (run.path / "report.html").read_text(encoding="utf-8")
    return html, Page(html), run


def test_report_is_one_self_contained_page(tmp_path):
    html, page, run = report(tmp_path)
    assert not page.loads and not page.mute and not page.open
    assert not re.search(r"url\((?!#)|@import|https?://|src=", html)
    assert all(b - a <= 1 for a, b in zip(page.levels, page.levels[1:], strict=False)) and page.levels[0] == 1
    assert page.svg == 6  # ROC, precision-recall, calibration, training, two strips
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    targets = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert set(targets) <= set(page.ids)
    text = " ".join(page.texts)
    for part in (
        "Beats <&>",
        "201 (training) and 202 (test) are of the same subject",
        "transductive: the median beat",
        "transductive: quantiles of the differences",
        "averages 3 trained models, alternating between: cnn; cnn, bins 16",
        "Unreadable records that were skipped: 104",
        "No subjects.csv: each record is taken as a subject of its own.",
        "Annotations of 100: 2 dropped.",
        "gradient boosting on RR",
        "without record 202",
        "annotated S, classified as N with confidence 0.99",
        "python run.py --set 'a=<b>'",
        "Expected calibration error",
        "Not significantly better than the baseline",
    ):
        assert part in text
    assert "nan" not in text.lower().split()
    again = write_report(run.path).read_text(encoding="utf-8")
    assert again == html  # a report is a function of the run's files


def test_scores_in_the_report_are_those_of_the_metrics(tmp_path):
    html, page, run = report(tmp_path, strips=False)
    accuracy = read_json(run.path / "metrics.json")["model"]["accuracy"]
    assert f"{accuracy['mean']:.3f} <small>± {accuracy['sd']:.3f}</small>" in html
    assert f"{accuracy['low']:.3f}–{accuracy['high']:.3f}" in html
    assert page.svg == 3 and 'id="errors"' not in html and 'id="training"' not in html


def test_an_absent_class_one_seed_and_one_record(tmp_path):
    html, page, _ = report(tmp_path, seeds=1, classes=3, records=("231",))
    text = " ".join(page.texts)
    assert "No beat of class F, Q is scored" in text
    assert "One seed: the standard deviation" in text
    assert not page.open and not page.mute


def test_the_card_of_an_absent_class_is_undefined():
    some, none = ({"mean": mean, "sd": None, "low": None, "high": None} for mean in (0.5, None))  # without CIs
    assert card("classes.V.f1", some).bar and not card("classes.S.f1", none).bar
    assert card("classes.S.f1", none).lines == ["undefined: no examples of this class"]
    assert card("classes.V.f1", some, ("majority class", 0.25)).lines == ["◇ best baseline 0.250: majority class"]


def test_folds_have_their_table(tmp_path):
    _, page, _ = report(tmp_path, fold=True)
    text = " ".join(page.texts)
    assert "3-fold cross-validation" in text and "mean over folds" in text and "fold 2" in text


def test_a_collapsed_predictor_is_the_first_alarm(tmp_path):
    html, page, _ = report(tmp_path, constant=True)
    text = " ".join(page.texts)
    first = re.search(r'<section id="alarms".*?<li><strong>(.*?)</strong>', html, re.DOTALL)[1]
    assert first.startswith("Collapsed predictor: a seed classifies 100.0 % of the beats")
    assert "Class S, V, F, Q is never predicted" in text


def test_all_beats_of_one_class(tmp_path):
    _, page, _ = report(tmp_path, classes=1)
    assert "No beat of class S, V, F, Q is scored" in " ".join(page.texts) and not page.open


def test_a_run_without_metrics_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.json: found no such file"):
        write_report(tmp_path)


def test_evaluator_module_only_re_exports():
    import Evaluator

    assert Evaluator.write_report is write_report
    for name in Evaluator.__all__:
        assert not getattr(getattr(Evaluator, name), "__module__", "").startswith("Evaluator")


def test_a_probe_declares_the_statistics_of_test_records_that_it_uses():
    environment = {"experiment": "probe_ds1_ds2"}
    loader = {"loader": {"waveforms": True}}  # has no effect on a probe
    options = {"subtract_record_median": False, "rr_features": False}
    assert statistics_of({**loader, "finetuning": options}, environment) == []
    (found,) = statistics_of({**loader, "finetuning": options | {"subtract_record_median": True}}, environment)
    assert found.text.startswith("transductive") and found.small == "(finetuning.subtract_record_median)"
