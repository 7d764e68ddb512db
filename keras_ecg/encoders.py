"""Pretrained encoders with their input contract: what they must be fed, and whose data they have seen.

    encoder = load_encoder("mae")                       # a name under weights/, or a run folder
    tokens = encoder(signal, 360.0, ["MLII", "V1"])     # signal (M, L) in mV: tokens (n, N, D) of n windows
    vectors = encoder.embed(signal, 360.0, ["MLII", "V1"])  # (n, D)

The contract stands in `contract.json` beside `encoder.keras`: rate, length, leads, units and filter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_ecg.config import from_dict, to_dict
from keras_ecg.databases.recordings import check_amplitude, choose_leads
from keras_ecg.errors import InputError
from keras_ecg.files import atomic, read_json, write_json
from keras_ecg.models.loading import find_encoder, load_model
from keras_ecg.signals.filters import clean
from keras_ecg.signals.windows import cut_windows, window_starts, zscore


@dataclass(frozen=True)
class Contract:
    """What an encoder takes: millivolts, z-scored lead by lead in each window, after resampling and filtering."""

    window_seconds: float = 10.0
    sampling_rate_hz: float = 100.0
    leads: tuple[str, ...] = ("MLII",)  # in this order; one alone may be any of the fallback leads
    leads_at_once: int = 1  # L: contrasting leads makes an encoder of one lead out of windows of several
    fallback_leads: tuple[str, ...] = ()
    bandpass_hz: tuple[float, ...] = (0.5, 40.0)  # zero-phase Butterworth; empty for none
    units: str = "mV"
    normalization: str = "z-score of each lead of each window"
    seen: dict = field(default_factory=dict)  # records, subjects and hours of each database that pretraining saw
    run: str = ""  # the run folder that it comes from

    @property
    def samples(self) -> int:
        """T."""
        return round(self.window_seconds * self.sampling_rate_hz)

    def clean(
        self, signal: np.ndarray, sampling_rate_hz: float, leads: Sequence[str], where: object = "signal"
    ) -> np.ndarray:
        """A recording (M, L) in mV as the contract wants it, (M', leads_at_once): chosen leads, resampled, filtered.

        Raises:
            InputError: no lead of the contract, samples that are no number, units that are not mV, or too few samples;
                `where` names the recording.
        """
        signal = np.asarray(signal, np.float32)
        if signal.ndim != 2 or signal.shape[1] != len(leads):
            raise InputError(
                where, f"a signal of shape {signal.shape}", f"(M, {len(leads)}): samples, leads", "reshape it"
            )
        if not np.isfinite(signal).all():
            raise InputError(where, "samples that are no number", "finite millivolts", "fill or cut the gaps")
        if not sampling_rate_hz > 0:
            raise InputError(where, f"{sampling_rate_hz} Hz", "a positive sampling rate", "correct it")
        chosen = choose_leads(tuple(leads), self.leads[: self.leads_at_once], self.fallback_leads, where)
        signal = signal[:, chosen]
        check_amplitude(signal, where)
        if len(signal) / sampling_rate_hz < self.window_seconds:
            found = f"{len(signal) / sampling_rate_hz:.2f} s"
            raise InputError(where, found, f"at least {self.window_seconds:g} s", "give a longer recording")
        return clean(signal, sampling_rate_hz, self.sampling_rate_hz, self.bandpass_hz)

    def windows(
        self, signal: np.ndarray, sampling_rate_hz: float, leads: Sequence[str], where: object = "signal"
    ) -> np.ndarray:
        """A recording's windows (n, T, L), end to end, as the model takes them.

        Raises:
            InputError: as `clean`.
        """
        signal = self.clean(signal, sampling_rate_hz, leads, where)
        return zscore(cut_windows(signal, window_starts(len(signal), self.samples, 0.0), self.samples))


@dataclass
class Encoder:
    """A pretrained encoder that takes recordings as they are."""

    model: keras.Model
    contract: Contract
    name: str

    def __call__(self, signal: np.ndarray, sampling_rate_hz: float, leads: Sequence[str]) -> np.ndarray:
        """Tokens (n, N, D) of a recording's n windows.

        Args:
            signal: (M, L) in mV.
            sampling_rate_hz: of the signal.
            leads: the names of its columns.

        Raises:
            InputError: the signal breaks the contract.
        """
        windows = self.contract.windows(signal, sampling_rate_hz, leads, f"encoder {self.name}")
        return self.model.predict(windows, verbose=0)

    def embed(self, signal: np.ndarray, sampling_rate_hz: float, leads: Sequence[str]) -> np.ndarray:
        """One vector for each window, the mean of its tokens: (n, D).

        Raises:
            InputError: as a call.
        """
        return self(signal, sampling_rate_hz, leads).mean(1)


def save_encoder(folder: Path | str, model: keras.Model, contract: Contract) -> None:
    """Writes encoder.keras and contract.json."""
    with atomic(Path(folder) / "encoder.keras") as partial:
        model.save(partial)
    write_json(Path(folder) / "contract.json", to_dict(contract))


def read_contract(name: Path | str) -> Contract:
    """The contract of a pretrained encoder.

    Raises:
        InputError: no such encoder, or a contract of another layout.
    """
    path = find_encoder(name) / "contract.json"
    return from_dict(Contract, read_json(path), str(path))


def load_encoder(name: Path | str) -> Encoder:
    """A pretrained encoder, frozen.

    Args:
        name: of a folder under weights/, or the path of a folder that has encoder.keras and contract.json.

    Raises:
        InputError: no such encoder, or a contract that its model does not fit.
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
    return Encoder(model, contract, folder.name)
