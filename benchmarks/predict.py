"""Classification of a further record: in memory with a traced model against temporary files and a new model.

The reference does what `predict.py` of version 0.1 did for each record: it writes HDF5 and TFRecord files, loads the
model, which is then traced anew, and predicts over the stream.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure import Result, alternate, check_equal
from benchmarks.workspace import Workspace, quietly
from keras_ecg.config import Database
from keras_ecg.data.preprocess import preprocess
from keras_ecg.data.tfrecords import pack
from keras_ecg.presets.beats import BeatClassifier
from keras_ecg.training import Classifier, predict_records

NAME, TARGET = "predict", 3.0


def predict_with_files(workspace: Workspace, record: str) -> np.ndarray:
    """Probabilities (n, 5) of the beats of a record, by way of files."""
    loaded = BeatClassifier.from_preset()
    folder = workspace.fresh("reference")
    paths = Database(
        data_dir=str(workspace.database), hdf5_dir=str(folder / "hdf5"), tfrecord_dir=str(folder / "tfrecord")
    )
    config = replace(loaded.config, database=replace(paths, records=(record,)))
    quietly(preprocess, config, False, 1)
    quietly(pack, config, 1, True)
    return predict_records(Classifier(loaded.model, loaded.mean, loaded.scale, []), (record,), config)


def run(workspace: Workspace) -> Result:
    classifier, (record, *_) = BeatClassifier.from_preset(), workspace.few
    path = Path(workspace.database) / record
    outputs = {"ours": classifier.predict(path).probabilities, "reference": predict_with_files(workspace, record)}
    equal = check_equal("probabilities", outputs["ours"], outputs["reference"], 1e-4)

    def ours() -> int:
        classifier.predict(path)
        return 1

    def reference() -> int:
        predict_with_files(workspace, record)
        return 1

    compared = alternate(ours, reference, "record", workspace.scale.turns)
    workspace.clear()
    rows = compared.rows(f"record {record} in memory", "HDF5 and TFRecord files, model loaded and traced")
    return Result(NAME, compared.ratio, TARGET, [equal, *rows])
