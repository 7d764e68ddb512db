"""What neighbours, clusters and separation are told of recordings: their embeddings in few dimensions."""

import keras
import numpy as np
from sklearn.decomposition import PCA

from keras_ecg.encoders import project
from keras_ecg.probing import standardized

COMPONENTS = 64  # of the standardized embeddings


def components(features: np.ndarray, train: np.ndarray, size: int = COMPONENTS, whiten: bool = False) -> np.ndarray:
    """The first principal components (n, D) of features (n, K), each of which is scaled to the training ones.

    Args:
        features: (n, K).
        train: indices of the training recordings.
        size: D, but no more than there are.
        whiten: whether the components are scaled, too.
    """
    scaled = standardized([features], train) * np.sqrt(features.shape[1])
    found = PCA(min(size, len(train), features.shape[1]), whiten=whiten, svd_solver="full").fit(scaled[train])
    return found.transform(scaled)


def projected(projection: keras.Model, features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Features (n, K) under a projection to (n, D), of length one, turned to the principal axes of the training ones.

    Turning changes no distance and no angle.
    """
    z = project(projection, features)
    axes = PCA(svd_solver="full").fit(z[train]).components_  # fewer than D where there are fewer recordings
    return z @ axes.T if len(axes) == z.shape[1] else z
