"""Pretrained encoders with their input specification.

    import keras_ecg as ke

    encoder = ke.Encoder.from_preset("mae")  # a preset, or a run folder
    tokens = encoder(signal, 360.0, ["MLII", "V1"])  # signal (M, C) in mV: tokens (n, N, D) of n windows
    vectors = encoder.embed(signal, 360.0, ["MLII", "V1"])  # (n, D); after triplet training (n, K), l2-normalized
    encoder = ke.Encoder.from_preset("RUN", leads=["I", "II"])  # a 12-lead encoder, for recordings with two leads

A folder of an encoder has `encoder.keras` and the input specification `contract.json`: sampling rate, window length,
leads, units, filter, and the pretraining data. After triplet training it also has `projection.keras`, the projection of
mean tokens to embeddings.
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
from keras_ecg.layers.normalize import l2_normalize
from keras_ecg.layers.pooling import RowMeans
from keras_ecg.models.fewer_leads import token_rows, with_leads
from keras_ecg.models.loading import find_encoder, load_model, save_model
from keras_ecg.presets import find_preset
from keras_ecg.presets.inputs import as_recording

PROJECTION = "projection.keras"


@dataclass
class Encoder:
    """A pretrained encoder that resamples, filters and normalizes recordings by its input specification.

    Args:
        model: Keras model from windows (B, T, L) to tokens (B, N, D).
        contract: input specification.
        name: name for error messages.
        projection: model from mean tokens (n, R D), R leads with their own tokens, to embeddings (n, K).
    """

    model: keras.Model
    contract: Contract
    name: str
    projection: keras.Model | None = None

    @classmethod
    def from_preset(cls, preset: Path | str = "mae", leads: Sequence[str] = ()) -> "Encoder":
        """Load an encoder.

        Args:
            preset: name of a preset, or a folder of `save_to_preset` or of a pretraining run, or
                `hf://user/name`.
            leads: leads of the recordings, if they lack some of the encoder's leads; empty for all.

        Raises:
            InputError: unknown preset, damaged files, or leads that the encoder does not support.
        """
        return load_encoder(find_preset(preset, cls.__name__), leads)

    def save_to_preset(self, folder: Path | str) -> None:
        """Write encoder.keras, contract.json and, if there is a projection, projection.keras."""
        save_encoder(folder, self.model, self.contract, self.projection)

    def __call__(
        self,
        recording: Recording | Path | str | np.ndarray,
        sampling_rate_hz: float | None = None,
        leads: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Compute the tokens (n, N, D) of a recording's n consecutive windows.

        Args:
            recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
            sampling_rate_hz: sampling rate, for a signal.
            leads: names of the C leads, for a signal.

        Raises:
            InputError: an unreadable recording, or one that does not meet the input specification.
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
        """Compute one embedding per window: the mean token (n, D), or its projection (n, K) after triplet training.

        Args:
            recording: a `Recording`, the path of a WFDB record, or a signal (T,) or (T, C) in mV.
            sampling_rate_hz: sampling rate, for a signal.
            leads: names of the C leads, for a signal.

        Raises:
            InputError: an unreadable recording, or one that does not meet the input specification.
        """
        tokens = self(recording, sampling_rate_hz, leads)
        if not self.projection:
            return tokens.mean(1)
        means = ops.convert_to_numpy(RowMeans(token_rows(self.model))(tokens))
        return project(self.projection, means)


def project(projection: keras.Model, means: np.ndarray) -> np.ndarray:
    """Project mean tokens (n, R D) to l2-normalized embeddings (n, K)."""
    return ops.convert_to_numpy(l2_normalize(projection(means.astype(np.float32))))


def save_encoder(
    folder: Path | str, model: keras.Model, contract: Contract, projection: keras.Model | None = None
) -> None:
    """Write encoder.keras, projection.keras if there is a projection, and contract.json last."""
    if projection:
        save_model(Path(folder) / PROJECTION, projection)
    save_model(Path(folder) / "encoder.keras", model)
    write_json(Path(folder) / "contract.json", to_dict(contract))


def read_contract(name: Path | str) -> Contract:
    """Read the input specification of a pretrained encoder.

    Raises:
        InputError: unknown encoder, or an invalid contract.json.
    """
    path = find_encoder(name) / "contract.json"
    return from_dict(Contract, read_json(path), str(path))


def load_encoder(name: Path | str, leads: Sequence[str] = ()) -> Encoder:
    """Load a pretrained encoder with frozen weights.

    Args:
        name: name of a preset, or path of a folder with encoder.keras and contract.json.
        leads: leads of the recordings, if they lack some of the encoder's leads; empty for all.

    Raises:
        InputError: unknown encoder, an input specification that does not fit the model, or unsupported leads.
    """
    folder, contract = find_encoder(name), read_contract(name)
    model = load_model(folder / "encoder.keras")
    model.trainable = False
    specified = (contract.samples, contract.leads_at_once)
    if model.input_shape[1:] != specified:
        expected = f"{model.input_shape[1:]}, the input shape of encoder.keras"
        raise InputError(folder / "contract.json", f"windows of shape {specified}", expected, "restore both files")
    if leads and tuple(leads) != contract.leads:
        model, contract = _of_leads(model, contract, tuple(leads), folder)
    return Encoder(model, contract, folder.name, _projection_of(model, folder))


def _projection_of(model: keras.Model, folder: Path) -> keras.Model | None:
    """Load the folder's projection; None if there is none, or if it does not fit the encoder's number of leads."""
    if not (folder / PROJECTION).is_file():
        return None
    projection = load_model(folder / PROJECTION)
    return projection if projection.input_shape[-1] == token_rows(model) * model.output_shape[-1] else None


def _of_leads(
    model: keras.Model, contract: Contract, leads: tuple[str, ...], folder: Path
) -> tuple[keras.Model, Contract]:
    unknown = [lead for lead in leads if lead not in contract.leads]
    try:
        if unknown:
            raise ValueError(f"unknown leads {', '.join(unknown)}")
        model = with_leads(model, [contract.leads.index(lead) for lead in leads])
    except ValueError as error:
        raise InputError(folder, str(error), f"some of {', '.join(contract.leads)}", "correct the leads") from error
    model.trainable = False
    return model, replace(contract, leads=leads, leads_at_once=len(leads))
