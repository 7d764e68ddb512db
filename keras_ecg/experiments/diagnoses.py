"""PTB-XL's recordings as studies of their superclasses see them: who trains, who selects, who is scored once."""

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
from keras_ecg.experiments.study import open_folder
from keras_ecg.files import fingerprint, sha256
from keras_ecg.models.loading import find_encoder
from keras_ecg.parallel import each
from keras_ecg.runs import RunFolder

IGNORED = ("beats", "sequences", "windows", "tuning", "augment", "evaluation")


@dataclass(frozen=True)
class Folds:
    """Recordings with their diagnoses, parted by PTB-XL's own folds."""

    diagnosed: Diagnosed

    @cached_property
    def train(self) -> np.ndarray:
        """Indices of those of folds 1 to 8."""
        return np.flatnonzero(np.isin(self.diagnosed.fold, ptbxl.TRAIN_FOLDS))

    @cached_property
    def select(self) -> np.ndarray:
        """Of fold 9."""
        return np.flatnonzero(self.diagnosed.fold == ptbxl.SELECT_FOLD)

    @cached_property
    def test(self) -> np.ndarray:
        """Of fold 10."""
        return np.flatnonzero(self.diagnosed.fold == ptbxl.TEST_FOLD)

    @property
    def labels(self) -> np.ndarray:
        """(n, 5) int8."""
        return self.diagnosed.superclasses

    def identity(self) -> dict[str, np.ndarray]:
        """What every predictor stores of the scored recordings, beside what it says of them."""
        return {
            "ecg_id": self.diagnosed.ecg_id[self.test],
            "subject": self.diagnosed.subject[self.test],
            "y_true": self.labels[self.test],
        }


def read_folds(folder: str) -> Folds:
    """The recordings of a folder, by its tables.

    Raises:
        InputError: a table is missing or odd; or a superclass is absent from, or never absent in, the training or
            selection folds.
    """
    folds = Folds(ptbxl.read_diagnoses(folder))
    for rows in (folds.train, folds.select):
        odd = [c for c, share in zip(ptbxl.SUPERCLASSES, folds.labels[rows].mean(0), strict=True) if not 0 < share < 1]
        if odd or not len(rows):
            found = f"{len(rows)} recordings, with all or none {', '.join(odd)}"
            raise InputError("PTB-XL's folds", found, "some with each superclass, and some without", "add recordings")
    return folds


def open_diagnoses(config: Config, study: str, ignored: tuple[str, ...] = ()) -> tuple[RunFolder, Folds]:
    """The run folder of a study of the superclasses, and the recordings.

    Args:
        config: names the encoder, `model.options.weights`, and those beside it.
        study: names the run.
        ignored: sections on which the result does not depend, beside `IGNORED`.

    Raises:
        InputError: no weights, no recordings, tables that are odd, or devices for what needs one.
    """
    weights = config.model.options.get("weights")
    if config.training.data_parallel and config.finetuning.objective != "finetune":
        found = f"true, of {config.finetuning.objective}"
        raise InputError("training.data_parallel", found, "false: it fits on one device", "leave it out")
    if not weights:
        raise InputError("model.options.weights", "none", "a pretrained encoder", "give --weights")
    wanted, folder = config.finetuning, Path(config.database.data_dir)
    if wanted.pretrained_seeds and wanted.objective != "probe":
        raise InputError(
            "finetuning.pretrained_seeds", f"some, of {wanted.objective}", "a probe's alone", "leave them out"
        )
    names = (weights, *wanted.pretrained_seeds, *wanted.compare_with)
    kinds = {name: replace(read_contract(name), run="") for name in names}
    if odd := [name for name in wanted.pretrained_seeds if kinds[name] != kinds[weights]]:
        raise InputError(
            "finetuning.pretrained_seeds", ", ".join(odd), f"encoders that take what {weights} takes", "correct it"
        )
    encoders = {name: sha256(find_encoder(name) / "encoder.keras") for name in names}
    seen = [encoders[name] for name in (weights, *wanted.pretrained_seeds)]
    if twice := [name for k, name in enumerate(wanted.pretrained_seeds) if encoders[name] in seen[: k + 1]]:
        raise InputError("finetuning.pretrained_seeds", f"{', '.join(twice)} twice", "each seed once", "leave it out")
    folds = read_folds(config.database.data_dir)
    tables = [sha256(folder / name) for name in (ptbxl.TABLE, ptbxl.STATEMENTS)]
    data = fingerprint([tables, list(folds.diagnosed.record), list(encoders.values())])
    seeds = config.finetuning.seeds if config.finetuning.objective == "finetune" else (0,)
    kind = "embeddings" if config.finetuning.objective in ("embed", "triplet") else "superclasses"
    return open_folder(config, study, (*IGNORED, *ignored), data, {"kind": kind, "seeds": list(seeds)}), folds


def read_windows(
    folder: str, records: tuple[str, ...], contract: Contract, leads: tuple[str, ...], apart: bool
) -> np.ndarray:
    """What an encoder is fed of recordings, lead by lead or all at once.

    Args:
        folder: of the database.
        records: n of them.
        contract: the encoder's: rate, length and filter.
        leads: the wanted ones, in order.
        apart: each lead in windows of its own, (n, G, T, 1), lead after lead; else (n, G, T, L).

    Returns:
        float16: z-scores.

    Raises:
        InputError: a recording breaks the contract, or is longer or shorter than the others.
    """
    groups = [(lead,) for lead in leads] if apart else [leads]
    # Leads that the contract does not name are fed all the same: the table says what comes of it.
    contracts = [replace(contract, leads=g, leads_at_once=len(g), fallback_leads=()) for g in groups]

    def work(record: str) -> tuple[str, np.ndarray]:
        recording, where = recordings.read_recording(folder, record, None), Path(folder) / record
        given = recording.signals, recording.sampling_rate_hz, recording.leads, where
        return record, np.concatenate([own.windows(*given) for own in contracts]).astype(np.float16)

    with each(work, list(records), "read") as results:
        windows = dict(results)
    counts = {len(w) for w in windows.values()}
    if len(counts) > 1:
        raise InputError(folder, "recordings of several lengths", "of one length", "leave the others out")
    return np.stack([windows[record] for record in records])
