"""A task that a tiny masked autoencoder learns in seconds on every backend."""

import keras
import numpy as np
from compiling import compile_with

from keras_ecg.models.mae import MAEConfig, MaskedAutoencoder


def learn_sinusoids() -> list[float]:
    """Train six epochs of sixteen steps, and return the relative losses."""
    time = np.arange(80)[:, None] / 80
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, (512, 1, 1))
    signals = (np.sqrt(2) * np.sin(2 * np.pi * 2 * time + phase)).astype(np.float32)  # two periods, any phase
    config = MAEConfig(
        width=32, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2, patch_samples=8, mask_ratio=0.5
    )
    keras.utils.set_random_seed(0)
    model = MaskedAutoencoder((80, 1), config, seed=0)
    compile_with(model, keras.optimizers.AdamW(3e-3, beta_2=0.95, global_clipnorm=1.0))
    return model.fit(signals, batch_size=32, epochs=6, verbose=0).history["relative_loss"]
