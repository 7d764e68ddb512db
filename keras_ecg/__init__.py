"""Keras ECG: from raw recordings to patient-wise, leak-free arrhythmia results."""

__version__ = "0.1.0"
