"""Typical uses of the public interface, for the type checker; nothing runs them."""

from pathlib import Path

import numpy as np

import keras_ecg as ke


def classify_beats(folder: Path) -> dict[str, int]:
    classifier = ke.BeatClassifier.from_preset("mitdb-beats")
    recording: ke.Recording = ke.read_record(folder / "213")
    beats: ke.BeatPredictions = classifier.predict(recording, peaks="detect")
    by_path = classifier.predict(ke.sample_record())
    by_signal = classifier.predict(np.zeros((3600, 2)), sampling_rate_hz=360, leads=["MLII", "V1"])
    table: Path = beats.to_csv(folder / "213.csv")
    assert table.is_file() and len(by_path) + len(by_signal)
    classifier.save_to_preset(folder)
    return beats.counts


def classify_rhythm(path: str) -> tuple[str, float]:
    found: ke.RecordingPrediction = ke.RecordingClassifier.from_preset().predict(path)
    return found.symbol, float(found.probabilities.max())


def embed(path: Path) -> np.ndarray:
    encoder = ke.Encoder.from_preset("st-mem", leads=["I", "II"])
    tokens: np.ndarray = encoder(path)
    return tokens.mean(1) - encoder.embed(path)


def presets() -> list[str]:
    kinds: dict[str, str] = ke.list_presets()
    return [name for name, kind in kinds.items() if kind == "Encoder"] + ke.list_models()


def train(records: list[str]) -> float:
    config = ke.load_config("sample", ["training.epochs=3"])
    mean, scale = ke.training_statistics(records, config)
    stream = ke.create_dataset(records, config, 256, is_training=True, mean=mean, scale=scale)
    model = ke.build_model("cnn", {"scalograms": (3, 32, 187, 1)}, options={"width": 16})
    model.fit(stream, epochs=config.training.epochs)
    return float(np.mean(ke.get_all_labels(records, config) == 0))


def scores(path: Path) -> dict[str, object]:
    return dict(ke.evaluate(ke.load_predictions(path), bootstrap=100))
