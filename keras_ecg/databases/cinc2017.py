"""PhysioNet/CinC Challenge 2017, training set: single-lead recordings of 9 to 61 s, without patient identifiers.

Clifford GD et al. AF Classification from a Short Single Lead ECG Recording. Computing in Cardiology 44 (2017).
https://physionet.org/content/challenge-2017/1.0.0/
"""

# Two recordings stand in it twice, sample for sample.
SAME_RECORDING = {"A01176": "A00227", "A03123": "A02656"}


def subject_of(record: str) -> str:
    """The subject of a record: as far as is known the record itself, but for the two that stand there twice."""
    return SAME_RECORDING.get(record, record)
