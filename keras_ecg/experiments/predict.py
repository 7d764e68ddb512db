"""Classification of the beats or of the rhythm of a record with pretrained models."""

import json
import logging
from pathlib import Path

from keras_ecg.presets import BEATS, RHYTHM
from keras_ecg.presets.beats import BeatClassifier, Peaks
from keras_ecg.presets.recordings import RecordingClassifier

logger = logging.getLogger(__name__)

RHYTHMS = {"N": "normal", "A": "atrial fibrillation", "O": "other", "~": "too noisy to classify"}


def classify_beats(path: Path | str, preset: str | None, peaks: Peaks, folder: Path | str) -> None:
    """Classify the beats of a record, and write RECORD.aami and RECORD.csv to a folder."""
    found = BeatClassifier.from_preset(preset or BEATS).predict(path, peaks=peaks)
    print(f"{found.record}: {len(found)} beats, {json.dumps(found.counts)}")
    for note in found.notes:
        logger.warning("note: %s", note)
    print(f"wrote {found.to_wfdb(folder)} and {found.to_csv(Path(folder) / f'{found.record}.csv')}")


def classify_rhythm(path: Path | str, preset: str | None, folder: Path | str) -> None:
    """Classify the rhythm of a record, and write RECORD_rhythm.csv to a folder."""
    found = RecordingClassifier.from_preset(preset or RHYTHM).predict(path)
    listed = ", ".join(f"{name} {p:.3f}" for name, p in zip(found.classes, found.probabilities, strict=True))
    print(f"{found.record}: {RHYTHMS[found.symbol]} ({listed})")
    print(f"wrote {found.to_csv(Path(folder) / f'{found.record}_rhythm.csv')}")
