import re
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_ecg import runs
from keras_ecg.errors import InputError
from keras_ecg.files import read_json
from keras_ecg.reports import details, write_report
from keras_ecg.reports.results import cards

VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects what a page loads, its images without a text alternative, anchors, and unbalanced elements."""

    def __init__(self, html):
        super().__init__()
        self.loads, self.mute, self.ids, self.links, self.open, self.svg, self.words = [], [], [], [], [], 0, []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.svg += tag == "svg"
        if (tag == "img" and not values.get("alt")) or (tag == "svg" and not values.get("aria-label")):
            self.mute.append(tag)
        if tag in {"script", "link", "iframe", "object"}:
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
        self.words.append(data)


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
    run = runs.find_or_create(tmp_path, "final_ds1_ds2", "cnn", "f", config, "python run.py --set 'a=<b>'")
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


def test_the_report_is_one_self_contained_page(tmp_path):
    html, page, run = report(tmp_path)
    assert not page.loads and not page.mute and not page.open
    assert not re.search(r"url\((?!#)|@import|https?://", html)
    assert page.svg == 6  # ROC, precision-recall, calibration, training, two strips
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    targets = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert set(targets) <= set(page.ids)
    words = " ".join(page.words)
    for part in (
        "Beats <&>",
        "201 (training) and 202 (test) are one man",
        "transductive: the median beat",
        "transductive: how far",
        "the mean of 3 trainings, in turn of: cnn; cnn, bins 16",
        "Skipped as unreadable: 104",
        "No subjects.csv: each record is taken as a subject of its own.",
        "Annotations of 100: 2 dropped.",
        "gradient boosting on RR",
        "without record 202",
        "annotated S, called N with confidence 0.99",
        "python run.py --set 'a=<b>'",
        "Expected calibration error",
        "Not demonstrably above the baseline",
    ):
        assert part in words
    assert "nan" not in words.lower().split()
    again = write_report(run.path).read_text(encoding="utf-8")
    assert again == html  # a report is a function of the run's files


def test_scores_in_the_report_are_those_of_the_metrics(tmp_path):
    html, page, run = report(tmp_path, strips=False)
    accuracy = read_json(run.path / "metrics.json")["model"]["accuracy"]
    assert f"{accuracy['mean']:.3f} <small>± {accuracy['sd']:.3f}</small>" in html
    assert f"{accuracy['low']:.2f}–{accuracy['high']:.2f}" in html
    assert page.svg == 3 and 'id="errors"' not in html and 'id="training"' not in html


def test_an_absent_class_one_seed_and_one_record(tmp_path):
    html, page, _ = report(tmp_path, seeds=1, classes=3, records=("231",))
    words = " ".join(page.words)
    assert "No beat of class F, Q is scored" in words
    assert "1 seed(s)" in words
    assert not page.open and not page.mute


def test_a_card_says_that_a_class_has_no_beats_where_it_has_none():
    some, none = ({"mean": mean, "sd": None, "low": None, "high": None} for mean in (0.5, None))  # without intervals
    model = {"accuracy": some, "macro_f1_nsvf": some, "classes": {"S": {"f1": none}, "V": {"f1": some}}}
    assert cards({"model": model, "baselines": {}}).count("no beats of this class") == 1


def test_folds_have_their_table(tmp_path):
    _, page, _ = report(tmp_path, fold=True)
    words = " ".join(page.words)
    assert "3-fold cross-validation" in words and "mean over folds" in words and "fold 2" in words


def test_a_constant_predictor_is_called_collapsed(tmp_path):
    _, page, _ = report(tmp_path, constant=True)
    words = " ".join(page.words)
    assert "The predictor has collapsed:" in words
    assert "Class S, V, F, Q is never predicted" in words


def test_all_beats_of_one_class(tmp_path):
    _, page, _ = report(tmp_path, classes=1)
    assert "No beat of class S, V, F, Q is scored" in " ".join(page.words) and not page.open


def test_a_run_without_metrics_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no metrics\.json"):
        write_report(tmp_path)


def test_the_door_offers_the_package_and_defines_nothing():
    import Evaluator

    assert Evaluator.write_report is write_report
    for name in Evaluator.__all__:
        assert not getattr(getattr(Evaluator, name), "__module__", "").startswith("Evaluator")


def test_a_probe_declares_what_it_takes_from_test_records():
    environment = {"study": "probe_ds1_ds2"}
    loader = {"loader": {"waveforms": True}}  # not looked at
    assert (
        details._statistics(
            {**loader, "finetuning": {"subtract_record_median": False, "rr_features": False}}, environment
        )
        == []
    )
    (found,) = details._statistics(
        {**loader, "finetuning": {"subtract_record_median": True, "rr_features": False}}, environment
    )
    assert "transductive" in found and "finetuning.subtract_record_median" in found
