"""Classification from few labels: draws, metrics and probe, against scikit-learn and by counting."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from keras_ecg.config import Config, Finetuning
from keras_ecg.data.label_draws import POOL, Draw, draw_beats, protocol_records
from keras_ecg.databases.mitdb import DS2, RECORDS, subject_of
from keras_ecg.errors import InputError
from keras_ecg.evaluation import evaluate_run
from keras_ecg.evaluation.few_labels import LEVELS, binary_scores, rounded
from keras_ecg.evaluation.schema import explain
from keras_ecg.experiments.predictors import Beats, Probe, feature_blocks
from keras_ecg.files import write_json
from keras_ecg.models.objectives import build_objective
from keras_ecg.predictions import write_npz
from keras_ecg.probing import (
    balanced_counts,
    draw_labels,
    embed_beats,
    fit_probe,
    reach_of,
    relative_to_record,
    simplest,
    standardized,
)
from keras_ecg.report import write_report
from keras_ecg.runs.index import markdown, named_scores


def counts_of(truth, levels) -> np.ndarray:
    out = np.zeros((2, LEVELS + 1))
    np.add.at(out, (truth, levels), 1)
    return out


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 500)
    p = np.clip(0.3 * truth + rng.uniform(0, 0.7, 500).round(2), 0, 1)  # with ties
    both = rounded(p)
    assert both.dtype == np.float16 and both.shape == (500, 2)
    np.testing.assert_array_equal(both.astype("f4").sum(1), 1)
    np.testing.assert_allclose(both[:, 1], p, atol=1 / LEVELS)
    found = binary_scores(counts_of(truth, np.rint(both[:, 1].astype("f4") * LEVELS).astype(int)))
    guess = both.argmax(1)
    np.testing.assert_array_equal(guess, (p > 0.5).astype(int))
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, both[:, 1].astype("f4")))


def test_rounding_keeps_every_decision():
    p = np.array([0.0, 0.49999, 0.5, 0.50001, 0.5004, 1.0])
    assert rounded(p).argmax(1).tolist() == [0, 0, 0, 1, 1, 1]


def stored(seed=0, sizes=(10, 100), seeds=(0, 1, 2), signal=0.5, **more) -> dict:
    subject = np.repeat(["a", "b", "c", "d"], 50)
    truth = np.random.default_rng(1).integers(0, 2, 200)
    p = signal * truth + (1 - signal) * np.random.default_rng(seed).uniform(size=(len(sizes), len(seeds), 200))
    return {
        "record": subject, "subject": subject, "sample": np.arange(200), "y_true": truth,
        "labels_total": np.array(sizes), "seeds": np.array(seeds), "probabilities": rounded(np.clip(p, 0, 1)), **more,
    }  # fmt: skip


def test_a_run_is_compared_with_its_baselines(tmp_path):
    model = stored(1, signal=0.6)
    write_npz(tmp_path / "predictions.npz", **model)
    write_npz(tmp_path / "predictions_random_init.npz", **stored(2, signal=0.1))
    metrics = evaluate_run(tmp_path, bootstrap=100, kind="few_labels")
    assert metrics["kind"] == "few_labels" and metrics["alarms"] == []
    of = metrics["model"]["labels"]["100"]
    p = model["probabilities"][1].astype("f4")
    each = [roc_auc_score(model["y_true"], q[:, 1]) for q in p]
    assert of["auroc"]["per_seed"] == pytest.approx(each) and of["auroc"]["mean"] == pytest.approx(np.mean(each))
    assert of["auroc"]["low"] <= of["auroc"]["mean"] <= of["auroc"]["high"]
    difference = metrics["differences"]["random_init"]["labels"]["100"]["auroc"]
    assert difference["excludes_zero"] and difference["low"] > 0
    for name in ("model.labels.100.auroc.mean", "model.labels.10.macro_f1.low", "model.labels.10.largest_share"):
        assert explain(name)
    page = report_of(tmp_path, metrics)
    assert "100 labels, MAE, linear probe" in page and "randomly initialised encoder" in page
    assert 'id="alarms"' not in page


def test_a_baseline_may_have_fewer_numbers_of_labels(tmp_path):
    write_npz(tmp_path / "predictions.npz", **stored(1, signal=0.6))
    write_npz(tmp_path / "predictions_scratch.npz", **stored(2, sizes=(100,), signal=0.1))
    metrics = evaluate_run(tmp_path, bootstrap=20, kind="few_labels")
    assert (
        list(metrics["baselines"]["scratch"]["labels"]) == list(metrics["differences"]["scratch"]["labels"]) == ["100"]
    )
    page = report_of(tmp_path, metrics)
    assert "100 labels, baseline: training from scratch" in page and "10 labels, baseline" not in page
    rows = markdown("few_labels", named_scores(metrics, "pretrained"))
    assert [row.count("|") for row in rows[2:]] == [5, 5, 5] and "scratch, 100 labels" in rows[-1]
    write_npz(tmp_path / "predictions_scratch.npz", **stored(2, sizes=(50,)))
    with pytest.raises(InputError, match="other numbers of labels"):
        evaluate_run(tmp_path, kind="few_labels")


def report_of(folder, metrics) -> str:
    (folder / "config.yaml").write_text("title: x\nfinetuning: {objective: probe, protocol: inter_patient}\n")
    write_json(folder / "metrics.json", metrics)
    environment = {"kind": "few_labels", "experiment": "fewshot_inter_patient", "model": "mae", "weights": "mae"}
    write_json(folder / "environment.json", environment)
    return write_report(folder).read_text(encoding="utf-8")


def test_random_initialisation_as_good_and_a_constant_predictor_raise_alarms(tmp_path):
    constant = stored(1)
    constant["probabilities"][0] = rounded(np.full((3, 200), 0.2))
    write_npz(tmp_path / "predictions.npz", **constant)
    write_npz(tmp_path / "predictions_random_init.npz", **stored(1))
    alarms = evaluate_run(tmp_path, bootstrap=50, kind="few_labels")["alarms"]
    assert any("10 labels a seed classifies nearly every beat as one class" in alarm for alarm in alarms)
    assert any("randomly initialised encoder" in alarm and "100" in alarm for alarm in alarms)


def test_each_seed_may_have_test_beats_of_its_own(tmp_path):
    index = np.stack([np.random.default_rng(k).permutation(200)[:40] for k in range(3)])
    index[2, 30:] = -1  # fewer beats in this draw
    whole = stored(3)
    p = np.stack([whole["probabilities"][:, k, index[k]] for k in range(3)], 1)
    write_npz(tmp_path / "predictions.npz", **{**whole, "probabilities": p, "test_index": index})
    of = evaluate_run(tmp_path, bootstrap=0, kind="few_labels")["model"]["labels"]["10"]["accuracy"]["per_seed"]
    for k, row in enumerate(index):
        own = row[row >= 0]
        guess = whole["probabilities"][0, k, own].argmax(1)
        assert of[k] == pytest.approx(np.mean(guess == whole["y_true"][own]))


def test_stored_arrays_are_checked(tmp_path):
    whole = stored()
    del whole["seeds"]
    write_npz(tmp_path / "predictions.npz", **whole)
    with pytest.raises(InputError, match="no array seeds"):
        evaluate_run(tmp_path, kind="few_labels")
    write_npz(tmp_path / "predictions.npz", **{**stored(), "seeds": np.arange(2)})
    with pytest.raises(InputError, match="sizes, seeds, beats, classes"):
        evaluate_run(tmp_path, kind="few_labels")
    write_npz(tmp_path / "predictions.npz", **stored())
    write_npz(tmp_path / "predictions_raw.npz", **{**stored(), "sample": np.arange(1, 201)})
    with pytest.raises(InputError, match="another sample"):
        evaluate_run(tmp_path, kind="few_labels")


def columns(per_record=20) -> dict[str, np.ndarray]:
    record = np.repeat(RECORDS, per_record)
    label = np.tile(np.r_[np.zeros(per_record - 4, int), 1, 2, 3, 4], len(RECORDS))
    return {"record": record, "subject": np.array([subject_of(r) for r in record]), "label": label}


def of(protocol, **more) -> Config:
    return replace(Config(), finetuning=Finetuning(protocol=protocol, **more))


def test_disjoint_labels_come_from_no_tested_subject():
    beats = columns()
    draw = draw_beats(of("inter_patient"), beats, 3)
    assert set(beats["record"][draw.test]) == set(DS2) and set(beats["record"][draw.pool]) == set(POOL)
    assert "201" not in POOL and not set(beats["subject"][draw.pool]) & set(beats["subject"][draw.test])
    assert len(draw.test) == 20 * len(DS2) and not len(draw.validation)
    assert protocol_records(of("inter_patient"), list(RECORDS)) == tuple(sorted((*POOL, *DS2)))
    with pytest.raises(InputError, match="0 of DS2"):
        protocol_records(of("inter_patient"), ["101", "106"])


def test_random_beats_are_a_stratified_fifth():
    beats = columns()
    draws = [draw_beats(of("intra_patient"), beats, seed) for seed in (0, 1)]
    for draw in draws:
        assert len(draw.test) == len(beats["label"]) // 5 and not np.intersect1d(draw.pool, draw.test).size
        assert len(draw.pool) + len(draw.test) == len(beats["label"])
        assert (beats["label"][draw.test] > 0).mean() == pytest.approx(0.2, abs=0.01)
    assert not np.array_equal(draws[0].test, draws[1].test)


def test_subsampling_splits_subjects():
    beats = columns()
    for seed in range(5):
        draw = draw_beats(of("subsampling"), beats, seed)
        sides = [set(beats["subject"][side]) for side in (draw.pool, draw.validation, draw.test)]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
        assert len(sides[0] | sides[1] | sides[2]) == 47 and len(sides[1]) == len(sides[2]) == 9
    with pytest.raises(InputError, match="test_fraction"):
        draw_beats(of("subsampling", test_fraction=0.5), beats, 0)


def test_a_draw_is_balanced_and_uniform_over_the_beats_of_each_class():
    labels = np.r_[np.zeros(30, int), np.ones(10, int)]
    assert balanced_counts(25) == {0: 13, 1: 12} and balanced_counts(10) == {0: 5, 1: 5}
    hits = np.zeros(40)
    for seed in range(2000):
        drawn = draw_labels(labels, balanced_counts(10), seed)
        assert len(np.unique(drawn)) == 10 and labels[drawn].sum() == 5
        hits[drawn] += 1
    np.testing.assert_allclose(hits[:30], 2000 * 5 / 30, rtol=0.2)
    np.testing.assert_allclose(hits[30:], 2000 * 5 / 10, rtol=0.1)
    counts = balanced_counts(10)
    np.testing.assert_array_equal(draw_labels(labels, counts, 4), draw_labels(labels, counts, 4))


def test_features_of_a_beat():
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float16)
    record = np.repeat(["a", "b"], 30)
    relative = relative_to_record(features, record)
    for name in ("a", "b"):
        np.testing.assert_allclose(np.median(relative[record == name], 0), 0, atol=1e-6)
    np.testing.assert_allclose(relative[:30], features[:30].astype("f4") - np.median(features[:30].astype("f4"), 0))
    pool, wide = np.arange(20), np.random.default_rng(1).normal(3, 5, size=(60, 30))
    scaled = standardized([features, wide], pool)
    assert scaled.shape == (60, 34)
    np.testing.assert_allclose(scaled[pool].mean(0), 0, atol=1e-5)
    for block in (scaled[pool, :4], scaled[pool, 4:]):
        assert block.var(0).sum() == pytest.approx(1, rel=1e-3)


def test_the_blocks_of_a_probe():
    rng = np.random.default_rng(0)
    windows, rhythm = rng.normal(size=(40, 200, 1)).astype(np.float16), rng.normal(size=(40, 5))
    beats = Beats({"record": np.repeat(["a", "b"], 20)}, windows, rhythm)

    def blocks(**options):
        return feature_blocks(of("inter_patient", **options), beats, "raw_signal")

    middle = windows[:, 50:150, 0]  # half a second on each side
    relative = relative_to_record(middle, beats.columns["record"])
    for found, expected in (
        (blocks(), [relative, rhythm]),
        (blocks(rr_features=False), [relative]),
        (blocks(subtract_record_median=False), [middle, rhythm]),
        (blocks(keep_absolute_features=True), [middle, relative, rhythm]),
    ):
        assert len(found) == len(expected)
        for block, reference in zip(found, expected, strict=True):
            np.testing.assert_array_equal(block, reference)


def test_the_probe_selects_regularization_within_the_given_labels():
    rng = np.random.default_rng(0)
    labels, groups = np.repeat([0, 1], 30), np.tile(np.arange(6), 10)
    clear = rng.normal(size=(60, 5)) + 4 * labels[:, None]
    assert fit_probe(clear, labels, groups, 0).C >= 1
    assert fit_probe(rng.normal(size=(60, 200)), labels, groups, 0).C == 0.01  # nothing to learn
    few = fit_probe(clear[[0, 59]], labels[[0, 59]], groups[[0, 59]], 0)  # one of each: nothing to cross-validate
    assert few.predict(clear).tolist() == labels.tolist()
    one_patient = fit_probe(clear, labels, np.zeros(60), 0)  # no group can be left out
    assert one_patient.predict(clear).tolist() == labels.tolist()


def test_inner_folds_of_a_probe_are_drawn_as_its_test_set():
    rng = np.random.default_rng(0)
    own = np.repeat(rng.normal(size=(20, 10)), 10, axis=0)  # identifies the patient, and nothing else
    columns = {"record": np.repeat(np.arange(20), 10), "label": np.repeat(rng.permutation(20) % 2, 10)}
    beats = Beats(columns, np.zeros((200, 10, 1)), own)

    def strength(pool, test):
        probe = Probe(lambda: [own], beats)
        return probe.fit_predict(of("intra_patient"), Draw(pool, np.empty(0, int), test), pool, 0)[1][0]["strength"]

    everything = np.arange(200)
    known = strength(everything[::2], everything[1::2])
    unknown = strength(everything[:160:2], everything[160:])
    assert known > unknown == 0.01  # whose label it is helps where the same patients are scored


def test_the_simplest_probe_within_one_standard_error_of_the_best():
    scores = np.array([[-3.0, -1.1, -1.0, -2.0], [-5.0, -1.3, -1.2, -2.2], [-4.0, -1.5, -1.4, -2.4]])  # folds, C
    results = {f"split{k}_test_score": row for k, row in enumerate(scores)} | {"mean_test_score": scores.mean(0)}
    assert simplest(results) == 1  # 0.1 below the best, whose standard error is 0.2 / sqrt(3)
    scores[:, 2] = -1.2  # all folds agree: no error
    scores[:, 1] -= 0.05
    assert simplest({f"split{k}_test_score": row for k, row in enumerate(scores)}) == 2


def test_embedding_in_batches_of_one_size():
    encoder = build_objective("mae", (100, 1), {"width": 8, "depth": 1, "heads": 2, "decoder_width": 8}).encoder
    windows = np.random.default_rng(0).normal(size=(70, 100, 1)).astype(np.float16)
    expected = np.asarray(encoder(windows.astype(np.float32)))
    assert reach_of(encoder, 100.0) == 3
    found = embed_beats(encoder, windows, 100.0)  # 64 and six more
    np.testing.assert_allclose(found, expected[:, 2:8].reshape(70, -1), atol=0.01)
