"""Pretrained encoders with their input contract: what they must be fed, and whose data they have seen.

    encoder = load_encoder("mae")                       # a preset, or a run folder
    tokens = encoder(signal, 360.0, ["MLII", "V1"])     # signal (M, L) in mV: tokens (n, N, D) of n windows
    vectors = encoder.embed(signal, 360.0, ["MLII", "V1"])  # (n, D); after triplets, (n, K) of length one
    encoder = load_encoder("RUN", leads=["I", "II"])    # of twelve leads, for recordings that have two of them

The contract stands in `contract.json` beside `encoder.keras`: rate, length, leads, units and filter. A run of triplets
also has `projection.keras`, which makes of the mean tokens what was drawn together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_ecg.config import from_dict, to_dict
from keras_ecg.contract import Contract
from keras_ecg.databases.recordings import Recording
from keras_ecg.errors import InputError
from keras_ecg.files import read_json, write_json
from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.fewer_leads import token_rows, with_leads
from keras_ecg.models.loading import find_encoder, load_model, save_model
from keras_ecg.presets import find_preset
from keras_ecg.presets.inputs import as_recording

PROJECTION = "projection.keras"


@dataclass
class Encoder:
    """A pretrained encoder that takes recordings as they are."""

    model: keras.Model
    contract: Contract
    name: str
    projection: keras.Model | None = None  # of the mean tokens (n, R D), of R leads, to (n, K)

    @classmethod
    def from_preset(cls, preset: Path | str = "mae", leads: Sequence[str] = ()) -> "Encoder":
        """Loads a preset by name, a folder of `save_to_preset` or of a run, or `hf://user/name`; see `load_encoder`."""
        return load_encoder(find_preset(preset, cls.__name__), leads)

    def save_to_preset(self, folder: Path | str) -> None:
        """Writes encoder.keras, contract.json, and projection.keras where there is one."""
        save_encoder(folder, self.model, self.contract, self.projection)

    def __call__(
        self,
        recording: Recording | Path | str | np.ndarray,
        sampling_rate_hz: float | None = None,
        leads: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Tokens (n, N, D) of a recording's n windows.

        Args:
            recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
            sampling_rate_hz: of a signal.
            leads: names of the C leads of a signal.

        Raises:
            InputError: an unreadable recording, or one that the encoder does not take.
        """
        found = as_recording(recording, sampling_rate_hz, leads)
        windows = self.contract.windows(found.signals, found.sampling_rate_hz, found.leads, f"encoder {self.name}")
        return self.model.predict(windows, verbose=0)

    def embed(
        self,
        recording: Recording | Path | str | np.ndarray,
        sampling_rate_hz: float | None = None,
        leads: Sequence[str] | None = None,
    ) -> np.ndarray:
        """One vector for each window, the mean of its tokens: (n, D); with a projection that of each lead's, (n, K).

        Args:
            recording: as of a call.
            sampling_rate_hz: the same.
            leads: the same.

        Raises:
            InputError: as a call.
        """
        tokens = self(recording, sampling_rate_hz, leads)
        if not self.projection:
            return tokens.mean(1)
        means = ops.convert_to_numpy(RowMeans(token_rows(self.model))(tokens))
        return project(self.projection, means)


def project(projection: keras.Model, means: np.ndarray) -> np.ndarray:
    """Mean tokens (n, R D) under a projection, of length one: (n, K)."""
    return ops.convert_to_numpy(ops.normalize(projection(means.astype(np.float32)), axis=-1))


def save_encoder(
    folder: Path | str, model: keras.Model, contract: Contract, projection: keras.Model | None = None
) -> None:
    """Writes encoder.keras, and projection.keras if there is one, then contract.json."""
    if projection:
        save_model(Path(folder) / PROJECTION, projection)
    save_model(Path(folder) / "encoder.keras", model)
    write_json(Path(folder) / "contract.json", to_dict(contract))


def read_contract(name: Path | str) -> Contract:
    """The contract of a pretrained encoder.

    Raises:
        InputError: no such encoder, or a contract of another layout.
    """
    path = find_encoder(name) / "contract.json"
    return from_dict(Contract, read_json(path), str(path))


def load_encoder(name: Path | str, leads: Sequence[str] = ()) -> Encoder:
    """A pretrained encoder, frozen.

    Args:
        name: of a preset, or the path of a folder that has encoder.keras and contract.json.
        leads: those of its leads that the recordings have, where some are missing; empty for all.

    Raises:
        InputError: no such encoder, a contract that its model does not fit, or leads that it cannot do without.
    """
    folder, contract = find_encoder(name), read_contract(name)
    model = load_model(folder / "encoder.keras")
    model.trainable = False
    wanted = (contract.samples, contract.leads_at_once)
    if model.input_shape[1:] != wanted:
        found = f"windows of {wanted}"
        raise InputError(
            folder / "contract.json", found, f"{model.input_shape[1:]}, as its model", "restore both files"
        )
    if leads and tuple(leads) != contract.leads:
        model, contract = _of_leads(model, contract, tuple(leads), folder)
    return Encoder(model, contract, folder.name, _projection_of(model, folder))


def _projection_of(model: keras.Model, folder: Path) -> keras.Model | None:
    """The folder's projection, if it has one of as many means as the model makes of a window."""
    if not (folder / PROJECTION).is_file():
        return None
    found = load_model(folder / PROJECTION)
    return found if found.input_shape[-1] == token_rows(model) * model.output_shape[-1] else None


def _of_leads(
    model: keras.Model, contract: Contract, leads: tuple[str, ...], folder: Path
) -> tuple[keras.Model, Contract]:
    unknown = [lead for lead in leads if lead not in contract.leads]
    try:
        if unknown:
            raise ValueError(f"no lead {', '.join(unknown)}")
        model = with_leads(model, [contract.leads.index(lead) for lead in leads])
    except ValueError as error:
        raise InputError(folder, str(error), f"some of {', '.join(contract.leads)}", "name others") from error
    model.trainable = False
    return model, replace(contract, leads=leads, leads_at_once=len(leads))
