"""What small models make of given inputs, to be compared between backends."""

from pathlib import Path

import keras
import numpy as np

from keras_ecg.models import load_model

VISIBLE = 3  # of six patches


def results(folder: Path | str) -> dict[str, np.ndarray]:
    """Outputs and losses of the models that are saved in a folder, and two steps of training, of `given.npz` there."""
    given = dict(np.load(Path(folder) / "given.npz"))
    beats, mae, contrastive = (load_model(Path(folder) / f"{name}.keras") for name in ("beats", "mae", "contrastive"))
    found = {"probabilities": beats.predict({name: given[name] for name in ("scalograms", "rr")}, verbose=0)}

    signals, order = given["signals"], given["order"]
    found["tokens"] = mae.encoder.predict(signals, verbose=0)
    found["predictions"] = mae.decode(found["tokens"][:, :VISIBLE], order)
    found["masked_loss"] = mae.compute_loss(signals, y_pred=(found["predictions"], order >= VISIBLE))

    views = {"views": given["views"], "subject": given["subject"]}
    contrastive.compile(keras.optimizers.SGD(0.1))
    logs = contrastive.fit(views, batch_size=len(signals), epochs=2, verbose=0).history
    found |= {"contrastive_loss": logs["loss"], "log_n": logs["log_n"]}
    return {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in found.items()}
