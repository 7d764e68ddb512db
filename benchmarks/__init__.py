"""Every speed claim as a script that measures both sides in one run, after checking that their outputs are equal.

    python -m benchmarks                          # all, on the bundled excerpt
    MITDB_DIR=path python -m benchmarks load      # one, on the whole database

The reference side is in `reference.py`. Each benchmark is a module with one function `run(workspace) -> Result`.
"""

NAMES = (
    "scalogram-kernel",
    "preprocess",
    "pack",
    "pack-bytes",
    "load",
    "train-step",
    "kfold-jobs",
    "detection",
    "st-mem-memory",
)
