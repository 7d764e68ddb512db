"""Experiments: cross-validation, held-out evaluation, adaptation, pretraining, fine-tuning, tuning, prediction."""
