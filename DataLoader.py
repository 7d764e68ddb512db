"""Data streams: beat sequences, windows without labels, and whole recordings.

    from DataLoader import create_dataset, get_all_labels, training_statistics

    train, test = ["101", "106"], ["100"]
    mean, scale = training_statistics(train, config)
    stream = create_dataset(train, config, 256, is_training=True, mean=mean, scale=scale)
    for inputs, labels in stream: ...

    training, held_out = split_subjects(config)
    for batch in create_window_dataset(config, 256, is_training=True, subjects=training): ...

    for inputs, labels in create_rhythm_dataset(config, 32, is_training=True): ...

`config` is a `keras_ecg.config.Config`, or a dict of the options that differ from the defaults, such as
`{"database": {"tfrecord_dir": "tfrecord_data_batched"}, "loader": {"rr_features": False, "waveforms": False}}`.
Inputs are scalograms (B, S, F, T, 1), or a dict of named inputs if the configuration selects others.
"""

from keras_ecg.data.pipeline import create_dataset, get_all_beats, get_all_labels
from keras_ecg.data.rhythm_stream import create_rhythm_dataset, get_all_recordings
from keras_ecg.data.statistics import training_statistics
from keras_ecg.data.window_stream import create_window_dataset, split_subjects

__all__ = [
    "create_dataset",
    "create_rhythm_dataset",
    "create_window_dataset",
    "get_all_beats",
    "get_all_labels",
    "get_all_recordings",
    "split_subjects",
    "training_statistics",
]
