"""Benchmarks of Keras ECG against reference implementations.

    python -m benchmarks                          # all, on the bundled excerpt
    MITDB_DIR=path python -m benchmarks load      # one, on the whole database

Each benchmark checks that the outputs of both implementations are equal, measures both in one process, and reports a
ratio above 1 if Keras ECG is better. It is a module of the same name with a function `run(workspace) -> Result`. The
reference implementations are in `reference.py`.
"""

BENCHMARKS = {  # what the ratio of each benchmark compares
    "scalogram-kernel": "time per beat: pywt.cwt, one beat at a time / our matrix product, on beats in memory",
    "preprocess": "time per beat, recordings to HDF5: one process, one beat at a time / keras-ecg preprocess",
    "pack": "time per sequence, HDF5 to TFRecord: float32, each beat in 3 sequences / keras-ecg pack",
    "pack-bytes": "TFRecord bytes per sequence: float32, each beat in 3 sequences / float16, each beat once",
    "load": "time per sequence of a training epoch: tf.data map per sequence / our create_dataset",
    "train-step": "time per sequence of a training step: 2-D CNN-Conformer / our 1-D CNN-Conformer",
    "predict": "time per record after the first: files and a newly loaded model / BeatClassifier.predict",
    "kfold-jobs": "time per fold: evaluation.jobs of 1 / one job per core",
    "detection": "time per recording: XQRS of wfdb at 250 Hz / our QRS detector; also sensitivity and PPV",
    "st-mem-memory": "memory of a training step of ST-MEM at the paper's size: 20 GiB / ours",
}
NAMES = tuple(BENCHMARKS)
