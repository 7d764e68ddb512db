"""Devices of a machine, and training on all of them, a share of every batch each: Keras' own data parallelism.

The weights are on every device, gradients are those of the whole batch, and so is what a loss or a normalization makes
of it: the same training as on one device, up to rounding.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from keras_ecg.config import Training
from keras_ecg.errors import InputError

logger = logging.getLogger(__name__)


def backend() -> str:
    """The name of the Keras backend."""
    return keras.backend.backend()


def list_gpus() -> list[str]:
    """The names of the GPUs that the Keras backend uses."""
    return list(keras.distribution.list_devices("gpu"))


def memory() -> str:
    """The machine's memory in words."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has none of these
        return "memory unknown"
    return f"{size / 2**30:.0f} GiB of memory"


def check_devices(training: Training, batch_size: int) -> None:
    """Reject `training.data_parallel` where Keras has none, or where the devices do not divide a batch.

    Args:
        training: the settings.
        batch_size: examples in a batch, on all devices together.

    Raises:
        InputError: another backend than JAX, or such a batch.
    """
    if not training.data_parallel:
        return
    if backend() != "jax":  # on TensorFlow Keras takes a distribution, and trains on one device without a word
        expected = "jax, the one on which Keras divides batches among devices"
        raise InputError("training.data_parallel", f"the backend {backend()}", expected, "set KERAS_BACKEND=jax")
    count = len(keras.distribution.list_devices())
    if batch_size % count:
        whole = batch_size // count * count
        do = f"set loader.batch_size={whole}" if whole else "leave training.data_parallel out"
        raise InputError("loader.batch_size", f"a batch of {batch_size}", f"a multiple of {count}, the devices", do)


@contextmanager
def over_devices(training: Training, batch_size: int) -> Iterator[None]:
    """Where `training.data_parallel` wants it, what is built inside is on all devices, and `fit` divides its batches.

    Outside, that model takes batches of any size, each whole on every device.

    Args:
        training: the settings.
        batch_size: examples in a training batch.

    Raises:
        InputError: as `check_devices`.
    """
    check_devices(training, batch_size)
    if not training.data_parallel:
        yield
        return
    devices = keras.distribution.list_devices()
    logger.info("batches of %d are divided among %s", batch_size, ", ".join(devices))
    with keras.distribution.DataParallel(devices=devices).scope():
        yield


class WholeEvaluation(keras.callbacks.Callback):
    """Lets `fit` validate on batches of any size: from a validation to the next epoch none is divided.

    So does what callbacks predict at the end of an epoch. It belongs to one `fit`, inside `over_devices` or not.
    """

    def __init__(self):
        super().__init__()
        self.distribution = keras.distribution.distribution()

    def on_epoch_begin(self, epoch, logs=None):
        keras.distribution.set_distribution(self.distribution)

    def on_test_begin(self, logs=None):
        keras.distribution.set_distribution(None)
