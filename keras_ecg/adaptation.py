"""Patient-specific fine-tuning of a trained beat classifier on the labelled first minutes of a record.

Half of each batch are beats of the training set: fine-tuning on the patient's beats alone would forget the classes that
they do not contain.

Source: de Chazal P, Reilly RB, A Patient-Adapting Heartbeat Classifier Using ECG Morphology and Heartbeat Interval
Features, IEEE Trans Biomed Eng 53(12), 2006, who combine the general classifier with a second one that is trained on
the same minutes.
"""

from dataclasses import dataclass, replace

import numpy as np

from keras_ecg.config import Config
from keras_ecg.training import (
    Classifier,
    check_finite_loss,
    compile_classifier,
    labelled_stream,
    naming_damaged_chunks,
    with_seed,
)

REPLAYED = 60  # training batches kept in memory, 5 MB each by default; further steps use them again


@dataclass(frozen=True)
class Examples:
    """Beat sequences as named model inputs, with one-hot labels."""

    inputs: dict[str, np.ndarray]  # (n, ...)
    targets: np.ndarray  # (n, 5)

    def take(self, index: np.ndarray) -> "Examples":
        """Select examples by index."""
        return Examples({name: values[index] for name, values in self.inputs.items()}, self.targets[index])

    @staticmethod
    def join(*parts: "Examples") -> "Examples":
        """Concatenate examples, in order."""
        inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
        return Examples(inputs, np.concatenate([part.targets for part in parts]))


def examples_of(record: str, config: Config, classifier: Classifier) -> Examples:
    """Read all sequences of a record, in the order of `get_all_beats`.

    Raises:
        InputError: a damaged chunk.
    """
    with naming_damaged_chunks((record,), config):
        stream = labelled_stream((record,), config, False, classifier.mean, classifier.scale)
        return Examples.join(*(Examples(x, y) for x, y in stream.as_numpy_iterator()))


class Adapter:
    """Fine-tunes a classifier on one record at a time, each time from the original weights.

    Args:
        classifier: trained classifier, which is compiled again.
        train: records of its training set.
        config: see `Adaptation`.
        seed: seed of order, augmentation and dropout.
    """

    def __init__(self, classifier: Classifier, train: tuple[str, ...], config: Config, seed: int):
        settings, self.classifier, self.seed = config.adaptation, classifier, seed
        self.settings, self.weights = settings, np.asarray(config.training.class_weights, np.float32)
        training = replace(config.training, learning_rate=settings.learning_rate, ema_momentum=0.0)
        config = with_seed(replace(config, loader=replace(config.loader, batch_size=settings.batch_size)), seed)
        stream = labelled_stream(train, config, True, classifier.mean, classifier.scale)
        with naming_damaged_chunks(train, config):
            drawn = stream.take(min(settings.steps, REPLAYED)).as_numpy_iterator()
            self.replayed = [Examples(x, y) for x, y in drawn]  # the same for every record
        model = classifier.model
        compile_classifier(model, replace(config, training=training), settings.steps)
        self.variables = [*model.variables, *model.optimizer.variables]  # including the states of dropout seeds
        self.initial = [np.array(variable) for variable in self.variables]

    def fit(self, early: Examples) -> None:
        """Fine-tune the original model on the labelled sequences of a record.

        Raises:
            InputError: a loss that is not finite.
        """
        model, rng = self.classifier.model, np.random.default_rng(self.seed)
        for variable, value in zip(self.variables, self.initial, strict=True):
            variable.assign(value)
        losses = []
        for step in range(self.settings.steps if len(early.targets) else 0):
            own = early.take(rng.choice(len(early.targets), self.settings.batch_size))
            batch = Examples.join(own, self.replayed[step % len(self.replayed)])
            losses.append(model.train_on_batch(batch.inputs, batch.targets, self.weights[batch.targets.argmax(1)])[0])
        check_finite_loss(losses)

    def predict(self, examples: Examples) -> np.ndarray:
        """Predict probabilities (n, 5) of sequences with the model last fitted."""
        return self.classifier.model.predict(examples.inputs, batch_size=256, verbose=0)
