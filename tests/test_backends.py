"""TensorFlow and JAX agree on a small model of each kind; the slow tests of the models compare all of them."""

import keras
import numpy as np
import pytest
from backends import results
from conftest import run_on_jax
from layer_checks import inputs_for

from keras_ecg.models import build_model
from keras_ecg.models.contrastive import views_of
from keras_ecg.models.objectives import build_objective

ON_JAX = """
import sys
import keras
import numpy as np
from backends import results
found = results(sys.argv[1], sys.argv[3].split())
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
np.savez(sys.argv[2], **found)
"""


@pytest.mark.parametrize(
    "names",
    ["beats mae", pytest.param("contrastive st_mem ecg_jepa vqvae", marks=pytest.mark.slow)],
)
def test_backends_agree(names, tmp_path):
    pytest.importorskip("jax")
    keras.utils.set_random_seed(0)
    beats = {"scalograms": (3, 8, 44, 1), "rr": (3, 40)}
    mae = {"width": 8, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    contrastive = {"objective": "cmsc", "encoder": "cnn", "encoder_options": {"width": 8, "dropout": 0.0}}
    contrastive |= {"projection": 8, "augment": {"probability": 0.0}}
    lead = {"width": 8, "depth": 1, "heads": 2, "patch_samples": 10}
    decoder = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    predictor = {"predictor_width": 8, "predictor_depth": 1, "predictor_heads": 2, "momentum": 0.5}
    codes = {"codes": 6, "code_width": 4, "dead": 0.0, "encoder_options": {"width": 8}, **decoder}
    options = {"mae": mae, "contrastive": contrastive, "st_mem": lead | decoder, "ecg_jepa": lead | predictor}
    options["vqvae"] = codes
    for name in names.split():
        if name == "beats":
            model = build_model("cnn_conformer", beats, options={"width": 8, "bottleneck": 6})
        else:
            model = build_objective(name, (60, 2), options[name])
        model.save(tmp_path / f"{name}.keras")
    given = inputs_for({name: (4, *shape) for name, shape in {**beats, "signals": (60, 2)}.items()})
    given |= {"views": keras.ops.convert_to_numpy(views_of(given["signals"], "cmsc")), "subject": np.arange(4) // 2}
    np.savez(tmp_path / "given.npz", **given, order=np.argsort(np.random.default_rng(0).random((4, 6)), 1))
    run_on_jax(ON_JAX, tmp_path, tmp_path / "found.npz", names)
    found = np.load(tmp_path / "found.npz")
    expected = results(tmp_path, names.split())
    assert set(found) == set(expected) and len(expected) >= len(names.split())
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
