"""What a pretrained encoder must be fed, and whose data it has seen; recordings to what it takes, without Keras."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_ecg.databases.recordings import check_amplitude, choose_leads
from keras_ecg.errors import InputError
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
    seen: dict = field(default_factory=dict)  # of each database: records, subjects, hours; named: which, if not all
    run: str = ""  # the run folder that it comes from

    @property
    def model(self) -> str:
        """The model that was pretrained, a key of `OBJECTIVES`; empty where the run folder's name does not tell."""
        study, _, rest = self.run.partition("_")
        return rest.rpartition("_")[0] if study == "pretrain" else ""

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
