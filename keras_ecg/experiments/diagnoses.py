"""PTB-XL for the classification of diagnostic superclasses: its folds, the run folder, and the input windows."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_ecg.config import Config
from keras_ecg.contract import Contract
from keras_ecg.databases import ptbxl, recordings
from keras_ecg.databases.ptbxl import Diagnosed
from keras_ecg.encoders import read_contract
from keras_ecg.errors import InputError
from keras_ecg.experiments.common import open_run
from keras_ecg.files import fingerprint, sha256
from keras_ecg.models.loading import find_encoder
from keras_ecg.parallel import each
from keras_ecg.runs import RunFolder

IGNORED = ("beats", "sequences", "windows", "tuning", "augment", "evaluation")


@dataclass(frozen=True)
class Folds:
    """Recordings with their diagnoses, and PTB-XL's own folds: 1 to 8 train, 9 selects, 10 is scored once."""

    diagnosed: Diagnosed

    @cached_property
    def train(self) -> np.ndarray:
        """Indices of the recordings of folds 1 to 8."""
        return np.flatnonzero(np.isin(self.diagnosed.fold, ptbxl.TRAIN_FOLDS))

    @cached_property
    def select(self) -> np.ndarray:
        """Indices of the recordings of fold 9."""
        return np.flatnonzero(self.diagnosed.fold == ptbxl.SELECT_FOLD)

    @cached_property
    def test(self) -> np.ndarray:
        """Indices of the recordings of fold 10."""
        return np.flatnonzero(self.diagnosed.fold == ptbxl.TEST_FOLD)

    @property
    def labels(self) -> np.ndarray:
        """Superclasses (n, 5) int8, zeros and ones."""
        return self.diagnosed.superclasses

    def identity(self) -> dict[str, np.ndarray]:
        """Return the arrays that identify the scored recordings, which are stored with every predictor's output."""
        return {
            "ecg_id": self.diagnosed.ecg_id[self.test],
            "subject": self.diagnosed.subject[self.test],
            "y_true": self.labels[self.test],
        }


def read_folds(folder: str) -> Folds:
    """Read the tables of a PTB-XL folder.

    Raises:
        InputError: a missing or invalid table, or training or selection folds in which all or no recordings have some
            superclass.
    """
    folds = Folds(ptbxl.read_diagnoses(folder))
    for rows in (folds.train, folds.select):
        odd = [c for c, share in zip(ptbxl.SUPERCLASSES, folds.labels[rows].mean(0), strict=True) if not 0 < share < 1]
        if odd or not len(rows):
            found = f"{len(rows)} recordings, of which all or none have {', '.join(odd)}"
            raise InputError("PTB-XL's folds", found, "recordings with and without each superclass", "add recordings")
    return folds


def open_superclass_run(config: Config, experiment: str, ignored: tuple[str, ...] = ()) -> tuple[RunFolder, Folds]:
    """Open the run folder of a superclass experiment, and read the recordings' tables.

    Args:
        config: configuration with the encoder, `model.options.weights`, and those to compare with.
        experiment: name of the experiment.
        ignored: sections that the result does not depend on, in addition to `IGNORED`.

    Raises:
        InputError: no weights, no recordings, invalid tables, or several devices where one is used.
    """
    weights = config.model.options.get("weights")
    if config.training.data_parallel and config.finetuning.objective != "finetune":
        found, expected = f"true with objective {config.finetuning.objective}", "false, except with objective finetune"
        raise InputError("training.data_parallel", found, expected, "set it to false")
    if not weights:
        raise InputError("model.options.weights", "none", "a pretrained encoder", "give --weights")
    settings, folder = config.finetuning, Path(config.database.data_dir)
    if settings.pretrained_seeds and settings.objective != "probe":
        found = f"{', '.join(settings.pretrained_seeds)} with objective {settings.objective}"
        raise InputError("finetuning.pretrained_seeds", found, "none, except with objective probe", "remove them")
    names = (weights, *settings.pretrained_seeds, *settings.compare_with)
    contracts = {name: replace(read_contract(name), run="") for name in names}
    if odd := [name for name in settings.pretrained_seeds if contracts[name] != contracts[weights]]:
        expected = f"encoders with the input specification of {weights}"
        raise InputError("finetuning.pretrained_seeds", ", ".join(odd), expected, "correct it")
    encoders = {name: sha256(find_encoder(name) / "encoder.keras") for name in names}
    hashes = [encoders[name] for name in (weights, *settings.pretrained_seeds)]
    if twice := [name for k, name in enumerate(settings.pretrained_seeds) if encoders[name] in hashes[: k + 1]]:
        raise InputError("finetuning.pretrained_seeds", f"{', '.join(twice)} twice", "each seed once", "remove it")
    folds = read_folds(config.database.data_dir)
    tables = [sha256(folder / name) for name in (ptbxl.TABLE, ptbxl.STATEMENTS)]
    data = fingerprint([tables, list(folds.diagnosed.record), list(encoders.values())])
    seeds = config.finetuning.seeds if config.finetuning.objective == "finetune" else (0,)
    kind = "embeddings" if config.finetuning.objective in ("embed", "triplet") else "superclasses"
    return open_run(config, experiment, (*IGNORED, *ignored), data, {"kind": kind, "seeds": list(seeds)}), folds


def read_windows(
    folder: str, records: tuple[str, ...], contract: Contract, leads: tuple[str, ...], per_lead: bool
) -> np.ndarray:
    """Read the input windows of an encoder, with all leads or one window per lead.

    Args:
        folder: folder of the database.
        records: names of n recordings.
        contract: input specification of the encoder: sampling rate, length and filter.
        leads: L leads, in order.
        per_lead: one window per lead, (n, G, T, 1), ordered by lead, then by time; else (n, G, T, L).

    Returns:
        z-scores, float16.

    Raises:
        InputError: a recording that does not meet the input specification, or recordings of different lengths.
    """
    groups = [(lead,) for lead in leads] if per_lead else [leads]
    # Leads outside the input specification are allowed: single-lead encoders are evaluated on all twelve.
    contracts = [replace(contract, leads=g, leads_at_once=len(g), fallback_leads=()) for g in groups]

    def work(record: str) -> tuple[str, np.ndarray]:
        recording, where = recordings.read_recording(folder, record, None), Path(folder) / record
        given = recording.signals, recording.sampling_rate_hz, recording.leads, where
        return record, np.concatenate([own.windows(*given) for own in contracts]).astype(np.float16)

    with each(work, list(records), "read") as results:
        windows = dict(results)
    counts = {len(w) for w in windows.values()}
    if len(counts) > 1:
        raise InputError(folder, "recordings of different lengths", "recordings of one length", "remove the others")
    return np.stack([windows[record] for record in records])
