"""Input specification of a pretrained encoder, and conversion of recordings to its inputs. Imports no Keras.

Shapes: n windows, M samples of a recording, T samples of a window, C leads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_ecg.databases.recordings import check_amplitude, choose_leads
from keras_ecg.errors import InputError
from keras_ecg.signals.filters import clean
from keras_ecg.signals.windows import cut_windows, window_starts, zscore


@dataclass(frozen=True)
class Contract:
    """Input specification of an encoder: resampled, filtered windows in mV, each lead z-scored in each window."""

    window_seconds: float = 10.0
    sampling_rate_hz: float = 100.0
    leads: tuple[str, ...] = ("MLII",)  # in this order; a single lead may be replaced by a fallback lead
    leads_at_once: int = 1  # C of the input: 1 if the encoder takes each lead separately
    fallback_leads: tuple[str, ...] = ()
    bandpass_hz: tuple[float, ...] = (0.5, 40.0)  # zero-phase Butterworth filter; empty for none
    units: str = "mV"
    normalization: str = "z-score of each lead of each window"
    seen: dict = field(
        default_factory=dict
    )  # pretraining set by database: records, subjects, hours; named: records, if not all
    run: str = ""  # name of the run folder of the pretraining

    @property
    def model(self) -> str:
        """Registered name of the pretraining objective; empty if the name of the run folder does not contain it."""
        study, _, rest = self.run.partition("_")
        return rest.rpartition("_")[0] if study == "pretrain" else ""

    @property
    def samples(self) -> int:
        """Samples T of a window."""
        return round(self.window_seconds * self.sampling_rate_hz)

    def clean(
        self, signal: np.ndarray, sampling_rate_hz: float, leads: Sequence[str], where: object = "signal"
    ) -> np.ndarray:
        """Select leads, resample and filter a recording as the encoder expects.

        Args:
            signal: (M, C) mV, finite.
            sampling_rate_hz: sampling rate of the signal.
            leads: names of the C leads.
            where: name of the recording in error messages.

        Returns:
            (M', leads_at_once) float32 at the sampling rate of the encoder.

        Raises:
            InputError: the recording lacks a lead, contains NaN or infinite samples, is not in mV, or is too short.
        """
        signal = np.asarray(signal, np.float32)
        if signal.ndim != 2 or signal.shape[1] != len(leads):
            raise InputError(
                where, f"a signal of shape {signal.shape}", f"(M, {len(leads)}): samples, leads", "reshape it"
            )
        if not np.isfinite(signal).all():
            raise InputError(where, "NaN or infinite samples", "finite samples in mV", "interpolate or remove them")
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
        """Cut a recording into consecutive z-scored windows (n, T, leads_at_once), the input of the encoder.

        Args:
            signal: (M, C) mV, finite.
            sampling_rate_hz: sampling rate of the signal.
            leads: names of the C leads.
            where: name of the recording in error messages.

        Raises:
            InputError: as `clean`.
        """
        signal = self.clean(signal, sampling_rate_hz, leads, where)
        return zscore(cut_windows(signal, window_starts(len(signal), self.samples, 0.0), self.samples))
