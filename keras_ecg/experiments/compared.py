"""Low-dimensional embeddings of recordings for k-NN, clustering and separation scores."""

import keras
import numpy as np
from sklearn.decomposition import PCA

from keras_ecg.encoders import project
from keras_ecg.probing import standardized

COMPONENTS = 64  # principal components of the standardized embeddings


def components(features: np.ndarray, train: np.ndarray, size: int = COMPONENTS, whiten: bool = False) -> np.ndarray:
    """Compute the first principal components (n, D) of features (n, K), standardized on the training recordings.

    Args:
        features: (n, K).
        train: indices of the training recordings.
        size: D; at most the number of training recordings and of features.
        whiten: scale the components to unit variance.
    """
    scaled = standardized([features], train) * np.sqrt(features.shape[1])
    pca = PCA(min(size, len(train), features.shape[1]), whiten=whiten, svd_solver="full").fit(scaled[train])
    return pca.transform(scaled)


def projected(projection: keras.Model, features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Project features (n, K) to l2-normalized embeddings (n, D), rotated to the training set's principal axes.

    The rotation preserves distances and angles.
    """
    z = project(projection, features)
    axes = PCA(svd_solver="full").fit(z[train]).components_  # fewer than D if there are fewer recordings
    return z @ axes.T if len(axes) == z.shape[1] else z
