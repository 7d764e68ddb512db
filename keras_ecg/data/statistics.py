"""Mean and spread of the training split, in one pass over its stream."""

import numpy as np

from keras_ecg.config import Augment, Config, as_config
from keras_ecg.data.pipeline import create_dataset


def training_statistics(record_names: list[str], config: Config | dict) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Mean and standard deviation of the records' scalograms, over every labelled beat.

    Batches are merged by the pairwise update of Chan TF, Golub GH, LeVeque RJ (1983), so that nothing is kept and
    nothing cancels.

    Args:
        record_names: the training records, and no other.
        config: `loader.normalize` says over what: `scale` per scale F, `global` over everything, `none` not at all.

    Returns:
        Two arrays (F, 1, 1) float32, or (1, 1, 1), or (None, None).
    """
    from dataclasses import replace

    config = as_config(config)
    if config.loader.normalize == "none":
        return None, None
    # A sequence of one beat: each beat counts once, however long the sequences are.
    plain = replace(config, augment=Augment(), loader=replace(config.loader, rr_features=False, waveforms=False))
    axes = (0, 2, 3) if config.loader.normalize == "scale" else (0, 1, 2, 3)
    position = config.sequences.length // 2 if config.sequences.label_beat == "middle" else config.sequences.length - 1
    count, mean, spread = 0.0, 0.0, 0.0
    for scalograms, _ in create_dataset(record_names, plain, 256, is_training=False):
        values = scalograms.numpy()[:, position]  # (B, F, T, 1)
        here = float(np.prod([values.shape[a] for a in axes]))
        here_mean = values.mean(axes, keepdims=True, dtype=np.float64)
        here_spread = np.square(values - here_mean).sum(axes, keepdims=True, dtype=np.float64)
        delta = here_mean - mean
        spread = spread + here_spread + np.square(delta) * count * here / (count + here)
        mean = mean + delta * here / (count + here)
        count += here
    return mean[0].astype(np.float32), np.sqrt(spread[0] / count).astype(np.float32)
