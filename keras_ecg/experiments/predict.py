"""A record's beats by class, or its rhythm, with the committed weights of a published run."""

import csv
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import wfdb

from keras_ecg.config import Config, from_dict, read_yaml
from keras_ecg.data.beat_inputs import BeatInputs
from keras_ecg.data.rhythm_records import lead_of
from keras_ecg.databases import cinc2017, mitdb, recordings
from keras_ecg.errors import InputError
from keras_ecg.files import atomic, read_json
from keras_ecg.models import load_model
from keras_ecg.rhythms import load_rhythm_classifier
from keras_ecg.runs.index import published
from keras_ecg.signals.qrs import detect_qrs
from keras_ecg.training import Classifier

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = {"beats": "mitdb-ds1-ds2", "rhythm": "cinc2017-final"}
RHYTHMS = dict(zip(cinc2017.CLASSES, ("normal", "atrial fibrillation", "other", "too noisy to tell"), strict=True))
EXTENSION = "aami"
BATCH_SIZE = 256  # of every call of the model: one shape, traced once
LONGEST_RR_SECONDS = 5.0  # a longer interval between detected beats is reported


def published_run(root: Path = ROOT, task: str = "beats") -> Path:
    """The folder of the published run whose weights are the default for a task.

    Raises:
        InputError: none is published.
    """
    claims, claim = published(root), CLAIMS[task]
    if claim not in claims:
        raise InputError(
            root / "Research_Runs" / "published.json", f"no {claim}", "a published run", "name one by --run"
        )
    return root / "Research_Runs" / claims[claim]["run"]


def load_run(folder: Path) -> tuple[Classifier, Config]:
    """A run's classifier, with its normalization, and its configuration.

    Raises:
        InputError: a file is missing or damaged.
    """
    config = from_dict(Config, read_yaml(folder / "config.yaml"), str(folder / "config.yaml"))
    path = folder / "normalization.json"
    if not path.is_file():
        raise InputError(path, "no such file", "a run with weights", "name another --run")
    values = {k: None if v is None else np.array(v, np.float32) for k, v in read_json(path).items()}
    return Classifier(load_model(folder), values["mean"], values["scale"], []), config


def detect_peaks(recording: recordings.Recording, config: Config, where: Path | str) -> recordings.Recording:
    """The recording with detected R peaks in place of its annotations.

    Raises:
        InputError: the lead is flat, or there is no ECG in it.
    """
    lead = recordings.choose_lead(recording.leads, config.beats.lead, config.beats.fallback_leads, where)
    recordings.check_rates(recording, [lead], where)
    signal = recording.signals[:, lead]
    recordings.check_lead(signal, where, recording.leads[lead])
    peaks = detect_qrs(signal, recording.sampling_rate_hz)
    if not len(peaks):
        found = f"no ECG in lead {recording.leads[lead]}: no QRS complex stands out of the noise"
        raise InputError(where, found, "an ECG", "check the electrodes, or give a recording with another lead")
    return replace(recording, samples=peaks, symbols=np.full(len(peaks), "N"))


def locate_beats(
    path: Path, config: Config, peaks: str, annotator: str = "atr"
) -> tuple[recordings.Recording, tuple[str, ...]]:
    """Reads a record with the positions of its beats, from its annotations or from the detector.

    Args:
        path: of the record, without a suffix.
        config: `beats` says which lead is searched.
        peaks: as `predict_record`.
        annotator: suffix of the annotation file.

    Returns:
        The recording, and what the user must be told of it.

    Raises:
        InputError: as `read_recording` and `detect_peaks`.
    """
    annotations = path.with_name(f"{path.name}.{annotator}")
    annotated = annotations.is_file() if peaks == "auto" else peaks == "annotations"
    recording = recordings.read_recording(path.parent, path.name, annotator if annotated else None)
    notes = [f"{annotations.name}: {count} annotations {what}" for what, count in recording.corrections.items()]
    if annotated and peaks == "auto" and not np.isin(recording.symbols, list(mitdb.CLASS_OF_SYMBOL)).any():
        notes.append(f"{annotations.name} has no beats; R peaks are detected")
        annotated = False
    if annotated:
        return recording, tuple(notes)
    recording = detect_peaks(recording, config, path)
    edges = np.concatenate([[0], recording.samples, [len(recording.signals)]]) / recording.sampling_rate_hz
    gaps = np.diff(edges)
    silent = gaps[gaps > LONGEST_RR_SECONDS].sum()
    if silent:
        total = edges[-1]
        notes.append(
            f"no beat found in {silent:.0f} of {total:.0f} s: noise, a loose electrode, fibrillation or asystole"
        )
    return recording, tuple(notes)


def predict_record(path: Path | str, run: Path | str | None = None, peaks: str = "auto") -> dict[str, np.ndarray]:
    """Classifies the beats of a WFDB record.

    Args:
        path: of the record, with or without a suffix.
        run: folder of the weights; None takes the published run.
        peaks: `annotations` (their positions; their symbols are not read), `detect`, or `auto`: annotations if there
            are any of beats.

    Returns:
        sample (n,) in the record's own rate, seconds (n,), label (n,) 0 to 4 for N S V F Q, probabilities (n, 5), and
        notes: texts (k,) that the user must be told.

    Raises:
        InputError: an unreadable record, no lead that the model takes, no beat.
    """
    path = recordings.without_suffix(Path(path))
    classifier, config = load_run(Path(run) if run else published_run())
    recording, notes = locate_beats(path, config, peaks)
    inputs = BeatInputs(recording, config, classifier.mean, classifier.scale, path)
    found = [classifier.model.predict_on_batch(batch) for batch in inputs.batches(BATCH_SIZE)]
    probabilities = np.concatenate(found)[: len(inputs)]
    return {
        "sample": inputs.sample,
        "seconds": inputs.sample / recording.sampling_rate_hz,
        "label": probabilities.argmax(1),
        "probabilities": probabilities,
        "sampling_rate_hz": np.array(recording.sampling_rate_hz),
        "notes": np.array(notes, dtype=str),
    }


def write_predictions(found: dict[str, np.ndarray], record: str, folder: Path | str) -> tuple[Path, Path]:
    """Writes a WFDB annotation file RECORD.aami, with the classes N S V F Q as its symbols, and RECORD.csv."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    symbols = [mitdb.CLASSES[k] for k in found["label"]]
    table = folder / f"{record}.csv"
    with atomic(table) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["sample", "seconds", "class", *(f"p_{c}" for c in mitdb.CLASSES)])
        for i, symbol in enumerate(symbols):
            chances = [f"{p:.4f}" for p in found["probabilities"][i]]
            writer.writerow([int(found["sample"][i]), f"{found['seconds'][i]:.3f}", symbol, *chances])
    rate = float(found["sampling_rate_hz"])
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        wfdb.wrann(record, EXTENSION, found["sample"], symbol=symbols, fs=rate, write_dir=partial)
        (Path(partial) / f"{record}.{EXTENSION}").replace(folder / f"{record}.{EXTENSION}")
    return folder / f"{record}.{EXTENSION}", table


def name_rhythm(path: Path | str, run: Path | str | None = None) -> np.ndarray:
    """Tempered probabilities (4,) of a WFDB record's rhythm, in the order N A O ~.

    Args:
        path: of the record, with or without a suffix.
        run: folder of the weights; None takes the published run.

    Raises:
        InputError: an unreadable record, or no lead that the model takes.
    """
    path = recordings.without_suffix(Path(path))
    classifier = load_rhythm_classifier(Path(run) if run else published_run(task="rhythm"))
    return classifier(*lead_of(path.parent, path.name, classifier.rhythm))


def write_rhythm(probabilities: np.ndarray, record: str, folder: Path | str) -> Path:
    """Writes RECORD_rhythm.csv: the record, its rhythm, and the probability of each class."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / f"{record}_rhythm.csv"
    with atomic(table) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["record", "class", *(f"p_{c}" for c in cinc2017.CLASSES)])
        writer.writerow([record, cinc2017.CLASSES[probabilities.argmax()], *(f"{p:.4f}" for p in probabilities)])
    return table


def tell_beats(path: str, run: str | None, peaks: str, folder: str) -> None:
    """`predict_record`, written into a folder and summed up."""
    found, record = predict_record(path, run, peaks), recordings.without_suffix(Path(path)).name
    annotation, table = write_predictions(found, record, folder)
    counts = {c: int((found["label"] == k).sum()) for k, c in enumerate(mitdb.CLASSES)}
    print(f"{record}: {len(found['label'])} beats, {json.dumps(counts)}")
    for note in found["notes"]:
        print(f"note: {note}")
    print(f"wrote {annotation} and {table}")


def tell_rhythm(path: str, run: str | None, folder: str) -> None:
    """`name_rhythm`, written into a folder and summed up."""
    chances, record = name_rhythm(path, run), recordings.without_suffix(Path(path)).name
    listed = ", ".join(f"{c} {p:.3f}" for c, p in zip(cinc2017.CLASSES, chances, strict=True))
    print(f"{record}: {RHYTHMS[cinc2017.CLASSES[chances.argmax()]]} ({listed})")
    print(f"wrote {write_rhythm(chances, record, folder)}")
