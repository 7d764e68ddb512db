"""Memory of training ST-MEM at the paper's size in batches of eight, against a limit of 20 GiB."""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.measure import Result
from benchmarks.workspace import Workspace

NAME, TARGET = "st-mem-memory", 1
ALLOWED_GIB = 20
BATCH, STEPS = 8, 2
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def peak_gib(options: dict, batch: int) -> tuple[float, int]:
    """Train two steps in float32, and return this process's peak memory in GiB and the number of parameters.

    Args:
        options: hyperparameters that override the paper's.
        batch: windows per step.
    """
    import resource

    import keras

    from keras_ecg.config import load_config
    from keras_ecg.models.objectives import build_objective
    from keras_ecg.training import adamw

    config = load_config([CONFIGS / "pretrain_st_mem_tiny.yaml", CONFIGS / "pretrain_st_mem.yaml"])
    windows = config.windows
    shape = (round(windows.length_seconds * windows.sampling_rate_hz), len(windows.leads))
    model = build_objective(config.model.name, shape, {**config.model.options, **options})
    training = replace(config.training, precision="float32")
    model.compile(adamw(training, STEPS), jit_compile=False)
    signals = np.random.default_rng(0).normal(size=(STEPS * batch, *shape)).astype(np.float32)
    loss = model.fit(signals, batch_size=batch, verbose=0).history["loss"][0]
    if not np.isfinite(loss) or keras.backend.standardize_dtype(model.weights[0].dtype) != "float32":
        raise ValueError(f"the loss is {loss}, or the weights are not float32")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, model.count_params()


def run(workspace: Workspace) -> Result:
    small = {"width": 48, "depth": 1, "decoder_width": 48, "decoder_depth": 1} if workspace.scale.turns == 1 else {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # peak memory is that of a new process
        used, parameters = pool.submit(peak_gib, small, BATCH).result()
    rows = [
        f"ours: {used:.1f} GiB, peak memory of the process on a CPU, in float32; {parameters:,} parameters",
        f"limit: {ALLOWED_GIB} GiB; batches of {BATCH} windows",
    ]
    return Result(NAME, ALLOWED_GIB / used, TARGET, rows)
