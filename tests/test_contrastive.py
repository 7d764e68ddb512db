import keras
import numpy as np
import pytest
import tensorflow as tf
from compiling import compile_with
from conftest import run_on_jax
from layer_checks import check_gradients

from keras_ecg.errors import InputError
from keras_ecg.layers.normalize import l2_normalize
from keras_ecg.metrics import effective_rank
from keras_ecg.models import load_model
from keras_ecg.models.contrastive import (
    OBJECTIVES,
    Contrastive,
    clocs_loss,
    log_n,
    nt_xent,
    view_shape,
    views_of,
)
from keras_ecg.models.encoders import ENCODERS, build_encoder
from keras_ecg.models.objectives import build_objective
from keras_ecg.signals.window_augment import WindowAugment, augment_windows

PATIENTS = np.array([4, 7, 4, 9, 9, 4])


def number(x) -> float:
    return float(keras.ops.convert_to_numpy(x))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def reference_nt_xent(z1, z2, temperature):
    z, batch, losses = [*z1, *z2], len(z1), []
    for i in range(2 * batch):
        partner = (i + batch) % (2 * batch)
        others = [np.exp(cosine(z[i], z[j]) / temperature) for j in range(2 * batch) if j != i]
        losses.append(-np.log(np.exp(cosine(z[i], z[partner]) / temperature) / sum(others)))
    return np.mean(losses)


def reference_clocs(views, patients, temperature):
    batch, count, losses = views.shape[0], views.shape[1], []
    for v in range(count):
        for w in range(count):
            for i in range(batch if v != w else 0):
                row = np.exp([cosine(views[i, v], views[j, w]) / temperature for j in range(batch)])
                losses.append(-np.log(row[patients == patients[i]].sum() / row.sum()))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_numpy_reference(temperature):
    z1, z2 = normal(5, 7), normal(5, 7, seed=1)
    np.testing.assert_allclose(number(nt_xent(z1, z2, temperature)), reference_nt_xent(z1, z2, temperature), rtol=1e-5)


def test_nt_xent_between_alignment_and_chance():
    equal = np.ones((6, 7), np.float32)
    np.testing.assert_allclose(number(nt_xent(equal, equal, 0.1)), np.log(11), rtol=1e-5)
    np.testing.assert_allclose(number(log_n(PATIENTS, "nt_xent")), np.log(11), rtol=1e-6)
    apart = np.eye(7, dtype=np.float32)[:6]
    aligned = number(nt_xent(apart, apart, 0.1))
    np.testing.assert_allclose(aligned, np.log1p(10 * np.exp(-10)), atol=1e-5)
    rng = np.random.default_rng(2)
    assert all(number(nt_xent(apart, apart + s * rng.normal(size=(6, 7)), 0.1)) > aligned for s in (0.1, 0.5, 1, 3))
    np.testing.assert_allclose(number(nt_xent(apart, 9 * apart, 0.1)), aligned, atol=1e-6)  # norms have no effect


GRADIENT_ON_JAX = """
import jax
import numpy as np
from keras_ecg.models.contrastive import nt_xent
z = np.array([[0, 0, 0], [1, 2, 3]], np.float32)
print(float(np.abs(jax.grad(lambda z: nt_xent(z, z + 1))(z)).max()))
"""


def test_gradient_of_zero_embedding_is_finite_and_small():
    z = tf.Variable([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])  # a projection is zero if all hidden units are inactive
    with tf.GradientTape() as tape:
        loss = nt_xent(z, z + 1)
    assert np.abs(tape.gradient(loss, z)).max() < 100


def test_gradient_of_zero_embedding_is_finite_and_small_on_jax():
    pytest.importorskip("jax")
    assert float(run_on_jax(GRADIENT_ON_JAX)) < 100  # False for NaN


def test_l2_normalize_scales_all_but_zero_vectors_to_length_one():
    x = np.concatenate([normal(5, 7), np.full((1, 7), 1e-6, np.float32), np.zeros((1, 7), np.float32)])
    lengths = np.linalg.norm(keras.ops.convert_to_numpy(l2_normalize(x)), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 1, 1, 0], rtol=1e-5)


@pytest.mark.parametrize(("objective", "count"), [("cmsc", 2), ("cmlc", 3), ("cmsmlc", 6)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_clocs_loss_equals_numpy_reference(objective, count, temperature):
    # Embeddings of the views that the objective makes of windows (6, 8, 3).
    views = keras.ops.convert_to_numpy(views_of(normal(6, 8, 3), objective))
    assert views.shape[1] == count
    z = np.tanh(views.reshape(6, count, -1)[..., :4])
    expected = reference_clocs(z, PATIENTS, temperature)
    np.testing.assert_allclose(number(clocs_loss(z, PATIENTS, temperature)), expected, rtol=1e-5)


def test_clocs_loss_equals_paper_with_one_window_per_patient():
    z = normal(5, 2, 7)
    similar = np.exp([[cosine(a, b) / 0.1 for b in z[:, 1]] for a in z[:, 0]])
    paper = [-np.log(np.diag(similar) / similar.sum(axis)).mean() for axis in (0, 1)]
    np.testing.assert_allclose(number(clocs_loss(z, np.arange(5))), np.mean(paper), rtol=1e-5)


def test_windows_of_one_patient_are_positives():
    directions = np.eye(8, dtype=np.float32)[np.unique(PATIENTS, return_inverse=True)[1]]  # (6, 8), one per patient
    z = np.repeat(directions[:, None], 3, 1)
    assert number(clocs_loss(z, PATIENTS)) < 1e-3  # equal within a patient: the minimum of the loss
    assert number(clocs_loss(z, np.arange(6))) > 0.5  # the same windows as different patients
    moved = z.copy()
    moved[0] = np.eye(8, dtype=np.float32)[7]  # the first window differs from its patient's others
    assert number(clocs_loss(moved, PATIENTS)) == pytest.approx(number(clocs_loss(z, PATIENTS)), abs=1e-3)
    moved[0, 1] = directions[1]  # a view of it like another patient's window
    assert number(clocs_loss(moved, PATIENTS)) > 0.1


def test_clocs_at_chance():
    equal = np.ones((6, 2, 5), np.float32)
    for patients in (np.arange(6), PATIENTS):
        expected = np.mean([np.log(6 / (patients == p).sum()) for p in patients])
        np.testing.assert_allclose(number(clocs_loss(equal, patients)), expected, rtol=1e-5)
        np.testing.assert_allclose(number(log_n(patients, "cmsc")), expected, rtol=1e-5)
    np.testing.assert_allclose(number(log_n(np.arange(6), "cmlc")), np.log(6), rtol=1e-6)


def test_views_are_halves_and_leads():
    x = normal(4, 9, 3)
    halves = keras.ops.convert_to_numpy(views_of(x, "cmsc"))
    np.testing.assert_array_equal(halves, np.stack([x[:, :4], x[:, 4:8]], 1))  # adjacent
    leads = keras.ops.convert_to_numpy(views_of(x, "cmlc"))
    assert leads.shape == (4, 3, 9, 1)
    for lead in range(3):
        np.testing.assert_array_equal(leads[:, lead, :, 0], x[:, :, lead])
    both = keras.ops.convert_to_numpy(views_of(x, "cmsmlc"))
    assert both.shape == (4, 6, 4, 1)
    for lead in range(3):
        np.testing.assert_array_equal(both[:, 2 * lead, :, 0], x[:, :4, lead])
        np.testing.assert_array_equal(both[:, 2 * lead + 1, :, 0], x[:, 4:8, lead])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_view_is_augmented_on_its_own(objective):
    x = np.repeat(normal(1, 40, 1), 3, 0) * np.ones((1, 1, 2), np.float32)  # equal windows and leads
    config = WindowAugment(1, time_warp=0, permutation=0, zero_mask=0, dropout_mask=0, noise=0.1)
    augmented = keras.ops.convert_to_numpy(views_of(x, objective, lambda views: augment_windows(views, 1, config)))
    plain = keras.ops.convert_to_numpy(views_of(x, objective, lambda views: views))
    assert augmented.shape == plain.shape == (3, {"nt_xent": 2, "cmsc": 2, "cmlc": 2, "cmsmlc": 4}[objective],
                                              *plain.shape[2:])  # fmt: skip
    assert len({view.tobytes() for window in augmented for view in window}) == 3 * plain.shape[1]
    np.testing.assert_allclose(augmented, plain, atol=1)


def test_invalid_views_are_rejected():
    with pytest.raises(ValueError, match="nt_xent needs augment"):
        views_of(normal(2, 8, 2), "nt_xent")
    with pytest.raises(ValueError, match="cmlc contrasts leads: windows of at least two leads"):
        views_of(normal(2, 8, 1), "cmlc")
    with pytest.raises(ValueError, match="unknown objective 'simclr': give one of nt_xent, cmsc"):
        views_of(normal(2, 8, 2), "simclr")
    with pytest.raises(ValueError, match="unknown objective 'simclr'"):
        Contrastive(build_encoder("cnn", (64, 1), {"width": 8}), "simclr")


def test_effective_rank():
    rank = {
        "collapsed": np.ones((200, 16), np.float32) * normal(16),
        "zero": np.zeros((200, 16), np.float32),
        "a line": normal(200, 1) * normal(16),
        "three": normal(4000, 3) @ np.linalg.qr(normal(16, 16))[0][:3],
        "isotropic": normal(4000, 16),
    }
    found = {name: effective_rank(x) for name, x in rank.items()}
    for name in ("collapsed", "zero", "a line"):
        assert found[name] == pytest.approx(1, abs=1e-3), name
    assert found["three"] == pytest.approx(3, abs=0.02)
    assert 15.9 < found["isotropic"] <= 16.0001
    values = np.linalg.svd(normal(50, 6) * np.arange(1, 7), compute_uv=False)
    share = values / values.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(normal(50, 6) * np.arange(1, 7, dtype=np.float32)) == pytest.approx(expected, 1e-4)


def built(objective="cmsc", name="cnn", shape=(64, 2), seed=3, **options) -> Contrastive:
    keras.utils.set_random_seed(seed)
    encoder = build_encoder(name, shape, {"width": 16, "dropout": 0.0})
    return Contrastive(encoder, objective, **{"projection": 16, **options})


def outputs(model, x, training=False):
    return {k: keras.ops.convert_to_numpy(v) for k, v in model(x, training=training).items()}


@pytest.mark.parametrize("name", ENCODERS)
def test_model(name, tmp_path):
    model, x = built(name=name, temperature=0.2), normal(5, 64, 2)
    out = outputs(model, x)
    assert out["embeddings"].shape == (5, model.encoder.output_shape[-1]) and out["projections"].shape == (5, 16)
    tokens = keras.ops.convert_to_numpy(model.encoder(x))
    np.testing.assert_allclose(out["embeddings"], tokens.mean(1), atol=1e-6)
    views = np.stack([x, x[::-1]], 1)
    both = outputs(model, {"views": views, "subject": np.arange(5)})
    for key, values in out.items():
        np.testing.assert_allclose(both[key], np.stack([values, values[::-1]], 1), atol=1e-5)
    check_gradients(model, lambda: model(x)["projections"], ("key/bias",))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    for key, values in outputs(loaded, x).items():
        np.testing.assert_array_equal(values, out[key])
    assert [layer.name for layer in loaded.encoder.layers] == [layer.name for layer in model.encoder.layers]
    assert (loaded.objective, loaded.temperature, loaded.projection) == ("cmsc", 0.2, 16)
    again = outputs(built(name=name), x)
    np.testing.assert_array_equal(again["projections"], out["projections"])


def loss_of(model, views):
    model.compile("sgd")
    return model.evaluate({"views": views, "subject": PATIENTS}, batch_size=6, verbose=0, return_dict=True)


def test_every_hyperparameter_changes_the_loss():
    views, usual = normal(6, 2, 64, 2), loss_of(built(), normal(6, 2, 64, 2))["loss"]
    assert loss_of(built(), views)["loss"] == usual
    for changed in ({"objective": "nt_xent"}, {"temperature": 0.3}, {"projection": 8}):
        assert abs(loss_of(built(**changed), views)["loss"] - usual) > 1e-3, changed
    assert built(projection=8)(views[:, 0])["projections"].shape == (6, 8)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_logs_are_the_functions_of_the_batch(objective):
    views = keras.ops.convert_to_numpy(views_of(normal(6, 128, 2), objective, lambda x: x + 0.1))
    model = built(objective, shape=views.shape[2:], temperature=0.3)
    logs, out = loss_of(model, views), outputs(model, views)
    z = out["projections"]
    expected = (
        reference_nt_xent(z[:, 0], z[:, 1], 0.3)
        if objective == "nt_xent"
        else reference_clocs(z, PATIENTS, 0.3)
    )  # fmt: skip
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(logs["log_n"], number(log_n(PATIENTS, objective)), rtol=1e-5)
    assert set(logs) == {"loss", "log_n"}


def test_tokens_are_contrasted_with_all_segments_of_the_batch():
    x, bare = normal(6, 64, 2), normal(6, 64, 2, seed=1)
    views = np.stack([x, bare], 1)
    model = built("nt_xent", level="token", temperature=0.3)
    logs, out = loss_of(model, views), outputs(model, views)
    tokens = model.encoder.output_shape[1]
    z, step = out["projections"], 64 // tokens
    assert z.shape == (6, 2, tokens, 16) and tokens > 1 and out["embeddings"].shape == (6, 1, 16)
    expected = reference_nt_xent(z[:, 0].reshape(-1, 16), z[:, 1].reshape(-1, 16), 0.3)
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(logs["log_n"], np.log(2 * 6 * tokens - 1), rtol=1e-5)
    np.testing.assert_allclose(z[:, 0], outputs(model, x)["projections"], atol=1e-5)  # only the first view is encoded
    moved = bare.copy()
    moved[:, step // 2 * 3 :] += 1  # beyond half a step after the first token's own
    change = np.abs(outputs(model, np.stack([x, moved], 1))["projections"][:, 1] - z[:, 1]).max((0, 2))
    assert change[0] == 0 and (change[1:] > 1e-3).all()
    check_gradients(model, lambda: model(views)["projections"], ("key/bias",))


def test_segment_projection_does_not_depend_on_position():
    model = built("nt_xent", level="token")
    step = 64 // model.encoder.output_shape[1]
    x = normal(3, 64, 2)
    rolled = np.roll(x, step, 1)
    found, later = (keras.ops.convert_to_numpy(model.moments(v)) for v in (x, rolled))
    np.testing.assert_allclose(later[:, 2:], found[:, 1:-1], atol=1e-5)  # except for truncated segments


def test_second_view_of_tokens_is_not_augmented(tmp_path):
    x = normal(6, 64, 2)
    model = built("nt_xent", level="token", augment=WindowAugment(1, 0, 0), seed=3)
    views = keras.ops.convert_to_numpy(model.views(x, seed=5))
    np.testing.assert_array_equal(views[:, 1], x)
    np.testing.assert_array_equal(views[:, 0], keras.ops.convert_to_numpy(augment_windows(x, 5, model.augment)))
    out = outputs(model, {"signals": x, "subject": PATIENTS})["projections"]
    model.save(tmp_path / "model.keras")
    again = outputs(load_model(tmp_path / "model.keras"), {"signals": x, "subject": PATIENTS})["projections"]
    np.testing.assert_array_equal(again[:, 1], out[:, 1])


def test_invalid_token_level_settings_are_rejected():
    with pytest.raises(ValueError, match="unknown level 'token' of cmsc"):
        built("cmsc", level="token")
    with pytest.raises(InputError, match="time_warp and augment.permutation of 0"):
        build_objective("contrastive", (64, 1), {"level": "token"})
    with pytest.raises(ValueError, match="70 samples do not divide into 3 tokens"):
        built("nt_xent", level="token", shape=(70, 1))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    views, full = normal(6, 2, 64, 2), loss_of(built(), normal(6, 2, 64, 2))
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = built()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert {str(w.dtype) for w in model.trainable_weights} == {"float32"}
    assert keras.backend.standardize_dtype(model.encoder(views[:, 0]).dtype) in policy
    logs = loss_of(model, views)
    assert logs["loss"] == pytest.approx(full["loss"], abs=0.1) and logs["loss"] != full["loss"]
    history = model.fit({"views": views, "subject": PATIENTS}, batch_size=6, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_model_makes_views_of_signals(tmp_path):
    x = normal(6, 64, 2)
    model = built("nt_xent", augment=WindowAugment(), seed=3)
    views = keras.ops.convert_to_numpy(model.views(x, seed=5))
    same = views_of(x, "nt_xent", lambda v: augment_windows(v, 5))
    np.testing.assert_array_equal(views, keras.ops.convert_to_numpy(same))
    first, second = (outputs(model, {"signals": x, "subject": PATIENTS})["projections"] for _ in range(2))
    assert first.shape == (6, 2, 16) and np.abs(first - second).max() > 1e-3  # a new draw at every call
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").augment == model.augment
    for objective in OBJECTIVES[1:]:
        inner = build_encoder("cnn", view_shape((64, 2), objective), {"width": 16})
        plain = Contrastive(inner, objective, projection=16)
        made = keras.ops.convert_to_numpy(views_of(x, objective))
        np.testing.assert_array_equal(
            outputs(plain, {"signals": x, "subject": PATIENTS})["projections"],
            outputs(plain, {"views": made, "subject": PATIENTS})["projections"],
        )


def rhythms(patients=16, windows=4, samples=128):
    """Windows (patients * windows, T, 2) of sines; frequency and amplitude depend on the patient."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(patients), windows)
    phase = rng.uniform(0, 2 * np.pi, size=(len(patient), 1))
    angle = 2 * np.pi * (0.02 + 0.015 * patient[:, None]) * np.arange(samples) + phase
    x = np.stack([np.sin(angle), np.cos(angle) * (1 + patient[:, None] % 3)], -1)
    return (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32), patient


@pytest.mark.parametrize("objective", ["nt_xent", "cmsc"])
def test_training_from_a_stream_gets_below_chance(objective):
    signals, patient = rhythms()
    mild = WindowAugment(1, time_warp=0.02, permutation=0, zero_mask=0.1, dropout_mask=0.05, noise=0.05)

    def views(step, window):
        def augment(x):
            return augment_windows(x, tf.stack([tf.constant(1, tf.int64), step]), mild)

        made = views_of(window["signals"], objective, augment if objective == "nt_xent" else None)
        return {"views": made, "subject": window["subject"]}

    windows = tf.data.Dataset.from_tensor_slices({"signals": signals, "subject": patient})
    stream = windows.shuffle(64, seed=0).batch(24).repeat(15).enumerate().map(views)  # the last batch is smaller
    model = built(objective, shape=stream.element_spec["views"].shape[2:])
    compile_with(model, keras.optimizers.Adam(3e-3))
    history = model.fit(stream, shuffle=False, verbose=0, validation_data=stream.take(3)).history
    assert history["val_loss"][-1] < 0.7 * history["val_log_n"][-1]
    assert history["loss"][-1] < history["log_n"][-1]
    embeddings = model.predict(signals[:, : model.encoder.input_shape[1]], verbose=0)["embeddings"]
    assert effective_rank(embeddings) > 2


ON_JAX = """
import sys
import keras
import numpy as np
from keras_ecg.models import load_model
from keras_ecg.models.contrastive import clocs_loss, nt_xent, views_of
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
given, found = dict(np.load(sys.argv[1])), {}
for path in sys.argv[3:]:
    found[path] = load_model(path).predict(given["signals"], verbose=0)["projections"]
z = given["z"]
found["nt_xent"] = nt_xent(z[:, 0], z[:, 1], 0.1)
found["clocs"] = clocs_loss(z, given["patients"])
found["views"] = views_of(given["signals"], "cmsmlc")
model = load_model(sys.argv[3])
model.compile(keras.optimizers.Adam(3e-3))
data = {"views": given["views"], "subject": given["subject"]}
history = model.fit(
    data, batch_size=32, epochs=6, verbose=0, validation_data=data, shuffle=False
).history
np.savez(sys.argv[2], **{k: np.asarray(v) for k, v in found.items()}, **{f"log {k}": v for k, v in history.items()})
"""


@pytest.mark.slow
def test_equal_results_and_training_on_jax_without_tensorflow(tmp_path):
    pytest.importorskip("jax")
    signals, patient = rhythms()
    views = keras.ops.convert_to_numpy(views_of(signals, "cmsc"))
    x, z = normal(6, 64, 2), normal(6, 3, 5)
    np.savez(tmp_path / "given.npz", signals=x, z=z, patients=PATIENTS, views=views, subject=patient)
    expected = {}
    for name in ENCODERS:
        model = built(name=name)
        model.save(tmp_path / f"{name}.keras")
        expected[str(tmp_path / f"{name}.keras")] = outputs(model, x)["projections"]
    run_on_jax(ON_JAX, tmp_path / "given.npz", tmp_path / "out.npz", *expected)
    found = np.load(tmp_path / "out.npz")
    for path, values in expected.items():
        np.testing.assert_allclose(found[path], values, atol=1e-4)
    np.testing.assert_allclose(found["nt_xent"], number(nt_xent(z[:, 0], z[:, 1], 0.1)), rtol=1e-5)
    np.testing.assert_allclose(found["clocs"], number(clocs_loss(z, PATIENTS)), rtol=1e-5)
    np.testing.assert_array_equal(found["views"], keras.ops.convert_to_numpy(views_of(x, "cmsmlc")))
    model = built(name=next(iter(ENCODERS)))
    compile_with(model, keras.optimizers.Adam(3e-3))
    data = {"views": views, "subject": patient}
    logs = model.fit(
        data, batch_size=32, epochs=6, verbose=0, validation_data=data, shuffle=False,
    ).history  # fmt: skip
    assert set(logs) == {"loss", "log_n", "val_loss", "val_log_n"}
    for key, values in logs.items():
        np.testing.assert_allclose(found[f"log {key}"][:3], values[:3], rtol=0.02)  # then rounding grows
    assert found["log loss"][-1] < found["log log_n"][-1]
