"""Batches divided among two virtual devices: the training is that of one device, up to rounding."""

import numpy as np
import pytest
import yaml
from conftest import SAMPLE, run_on_jax, with_sections

from keras_ecg.config import Config, Training, from_dict, to_dict
from keras_ecg.data.windows import pack_windows
from keras_ecg.devices import check_devices
from keras_ecg.errors import InputError
from keras_ecg.experiments.common import open_run

LINEAR = """
import sys
import keras
import numpy as np
from linear import trained
from keras_ecg.config import Training
from keras_ecg.devices import check_devices, over_devices
from keras_ecg.errors import InputError

found = {"one": trained(24)}
for name, batch, settings in (("two", 24, {}), ("accumulated", 12, {"gradient_accumulation": 2})):
    settings["data_parallel"] = True
    with over_devices(Training(**settings), batch):
        found[name] = trained(batch, **settings)
assert keras.distribution.distribution() is None
np.savez(sys.argv[1], **{f"{name}_{k}": w for name, weights in found.items() for k, w in enumerate(weights)})
for size in (23, 1):
    try:
        check_devices(Training(data_parallel=True), size)
    except InputError as error:
        print(error)
"""

PRETRAINING = """
import sys
from pathlib import Path
import jax
import numpy as np
from keras_ecg.config import load_config
from keras_ecg.encoders import load_encoder
from keras_ecg.experiments.pretrain import run_pretraining
from keras_ecg.predictions import read_npz

folder, shares, put = Path(sys.argv[1]), [], jax.make_array_from_process_local_data

def watched(*given):
    out = put(*given)
    shares.append({(shard.device.id, shard.data.shape) for shard in out.addressable_shards})
    return out

jax.make_array_from_process_local_data = watched
for name in ("one", "two"):
    assert not shares  # one device has whole batches
    run = run_pretraining(load_config(folder / "config.yaml", [f"training.data_parallel={str(name == 'two').lower()}"]))
    weights = {str(k): w for k, w in enumerate(load_encoder(run.path).model.get_weights())}
    scores = {k: v for k, v in read_npz(run.path / "predictions.npz").items() if k != "subject"}
    np.savez(folder / f"{name}.npz", **weights, **scores)
windows, subjects = ({(k, shape) for k in range(2)} for shape in ((4, 1200, 1), (4,)))
assert shares.count(windows) == shares.count(subjects) == len(shares) / 2 >= 12, shares
"""

OBJECTIVES = """
import sys
import keras
import numpy as np
from keras_ecg.config import Training
from keras_ecg.devices import over_devices
from keras_ecg.models.objectives import build_objective
from keras_ecg.training import adamw

lead = {"width": 8, "depth": 1, "heads": 2, "patch_samples": 10}
decoder = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
predictor = {"predictor_width": 8, "predictor_depth": 1, "predictor_heads": 2, "momentum": 0.5}
codes = {"codes": 6, "code_width": 4, "encoder_options": {"width": 8}, **decoder}
contrastive = {"encoder": "cnn", "encoder_options": {"width": 8}, "projection": 8}
objectives = {"st_mem": lead | decoder, "ecg_jepa": lead | predictor, "vqvae": codes, "contrastive": contrastive}
x = np.random.default_rng(0).normal(size=(24, 60, 2)).astype(np.float32)
for name, options in objectives.items():
    fitted = []
    for parallel in (False, True):
        keras.utils.set_random_seed(0)
        with over_devices(Training(data_parallel=parallel), 8):
            model = build_objective(name, (60, 2), options)
            if hasattr(model, "begin"):
                model.begin(x, 6)
            model.compile(adamw(Training(), 6))
            model.fit({"signals": x, "subject": np.arange(24) % 6}, batch_size=8, epochs=2, shuffle=False, verbose=0)
        fitted.append(model.get_weights())
    for one, two in zip(*fitted, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4, err_msg=name)
"""

CLASSIFIER = """
import sys
import numpy as np
from keras_ecg.config import load_config
from keras_ecg.training import predict_records, train_classifier

for name in ("one", "two"):
    config = load_config(sys.argv[1], [f"training.data_parallel={str(name == 'two').lower()}"])
    classifier = train_classifier(config.evaluation.train_records, config, 0)
    np.save(f"{sys.argv[2]}/{name}.npy", predict_records(classifier, config.evaluation.test_records, config))
"""


@pytest.mark.slow
def test_two_devices_train_like_one_and_need_divisible_batches(tmp_path):
    pytest.importorskip("jax")
    printed = run_on_jax(LINEAR, tmp_path / "weights.npz", devices=2).splitlines()
    weights = np.load(tmp_path / "weights.npz")
    for name in ("two", "accumulated"):
        for k in range(4):
            np.testing.assert_allclose(weights[f"{name}_{k}"], weights[f"one_{k}"], atol=1e-6, err_msg=name)
    assert printed == [
        "batches of 24 are divided among cpu:0, cpu:1",
        "batches of 12 are divided among cpu:0, cpu:1",
        "loader.batch_size: found a batch of 23; expected a multiple of 2, the devices; set loader.batch_size=22",
        "loader.batch_size: found a batch of 1; expected a multiple of 2, the devices; "
        "leave training.data_parallel out",
    ]


@pytest.mark.slow
def test_pretraining_on_two_devices(tmp_path):
    """Six whole batches of eight for two epochs; of the 25 windows held out the last one is a batch of its own."""
    pytest.importorskip("jax")
    options = {"width": 8, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    plain = {
        "windows": {
            "sources": [{"database": "sample", "folder": str(SAMPLE), "records": ["114", "118", "124"]}],
            "length_seconds": 12.0,
            "overlap": 0.0,
            "tfrecord_dir": str(tmp_path / "windows"),
            "validation_fraction": 0.3,
        },
        "database": {"runs_dir": str(tmp_path / "runs")},
        "model": {"name": "mae", "options": options},
        "loader": {"batch_size": 8},
        "training": {"epochs": 2},
        "evaluation": {"bootstrap": 20},
    }
    pack_windows(from_dict(Config, plain), jobs=1, quiet=True)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    run_on_jax(PRETRAINING, tmp_path, devices=2)
    one, two = (np.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert set(one) == set(two) and len(one["error"]) == 25
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_every_objective_on_two_devices():
    """Objectives that depend on the whole batch, such as contrastive losses and codebooks, use it on all devices."""
    pytest.importorskip("jax")
    run_on_jax(OBJECTIVES, devices=2)


@pytest.mark.slow
def test_a_classifier_on_two_devices(packed, tmp_path):
    pytest.importorskip("jax")
    config = with_sections(packed, loader={"batch_size": 128}, model={"name": "cnn", "options": {"width": 8}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_dict(config)))
    run_on_jax(CLASSIFIER, tmp_path / "config.yaml", tmp_path, devices=2)
    one, two = (np.load(tmp_path / f"{name}.npy") for name in ("one", "two"))
    np.testing.assert_allclose(two, one, atol=1e-4)


def test_other_backends_are_rejected_before_anything_is_written(tmp_path):
    """Keras would silently train on one device with TensorFlow."""
    check_devices(Training(), 7)
    config = from_dict(Config, {"training": {"data_parallel": True}, "database": {"runs_dir": str(tmp_path)}})
    with pytest.raises(InputError, match=r"training.data_parallel: found the backend tensorflow; .*KERAS_BACKEND=jax"):
        open_run(config, "pretrain", (), "", {})
    assert not list(tmp_path.iterdir())
