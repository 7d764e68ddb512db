"""Run folders: `Research_Runs/<experiment>_<model>_<UTC>/`, self-contained, resumable and recomputable.

    run = find_or_create("Research_Runs", "final_ds1_ds2", "cnn_conformer", fingerprint(...), to_dict(config), command,
                         {"kind": "beats"})
    for seed in seeds:
        if not run.has_part(f"seed{seed}"):
            run.save_part(f"seed{seed}", probabilities=...)
    run.write_predictions("model", record=..., subject=..., sample=..., y_true=..., probabilities=..., seeds=...)
    run.write_predictions("majority_class", ...)
    run.finish()

`python -m keras_ecg.runs verify | index | report RUN | publish CLAIM RUN`: see `keras_ecg/runs/commands.py`.
"""

from keras_ecg.predictions import Predictions, load_predictions
from keras_ecg.runs.folder import RunFolder, find_or_create, open_run
from keras_ecg.runs.index import publish, write_index
from keras_ecg.runs.verify import verify, verify_run

__all__ = [
    "Predictions",
    "RunFolder",
    "find_or_create",
    "load_predictions",
    "open_run",
    "publish",
    "verify",
    "verify_run",
    "write_index",
]
