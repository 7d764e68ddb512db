"""A trained classifier made a patient's own, by the labels of the first minutes of the record.

Alone, a patient's few beats would unlearn the classes that they lack: half of each batch are beats of training.

Source: de Chazal P, Reilly RB, IEEE Trans Biomed Eng 53(12), 2006, who adapt to as many minutes by a second classifier.
"""

from dataclasses import dataclass, replace

import numpy as np

from keras_ecg.config import Config
from keras_ecg.training import (
    Classifier,
    compile_classifier,
    labelled_stream,
    naming_damaged_chunks,
    reject_no_number,
    with_seed,
)

REPLAYED = 60  # batches of training that are kept in memory, 5 MB each by default; the next steps draw them again


@dataclass(frozen=True)
class Examples:
    """Sequences as a model is fed them, with one-hot labels."""

    inputs: dict[str, np.ndarray]  # (n, ...)
    targets: np.ndarray  # (n, 5)

    def take(self, index: np.ndarray) -> "Examples":
        """Some of them."""
        return Examples({name: values[index] for name, values in self.inputs.items()}, self.targets[index])

    @staticmethod
    def join(*parts: "Examples") -> "Examples":
        """All of the parts', in order."""
        inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
        return Examples(inputs, np.concatenate([part.targets for part in parts]))


def examples_of(record: str, config: Config, classifier: Classifier) -> Examples:
    """All sequences of a record, in the order of `get_all_beats`.

    Raises:
        InputError: a damaged chunk.
    """
    with naming_damaged_chunks((record,), config):
        stream = labelled_stream((record,), config, False, classifier.mean, classifier.scale)
        return Examples.join(*(Examples(x, y) for x, y in stream.as_numpy_iterator()))


class Adapter:
    """Adapts a classifier to one record after the other; each begins with the weights that training left.

    Args:
        classifier: to be compiled anew.
        train: the records that it was trained on.
        config: see `Adaptation`.
        seed: of the order and the augmentation.
    """

    def __init__(self, classifier: Classifier, train: tuple[str, ...], config: Config, seed: int):
        wanted, self.classifier, self.seed = config.adaptation, classifier, seed
        self.wanted, self.weights = wanted, np.asarray(config.training.class_weights, np.float32)
        training = replace(config.training, learning_rate=wanted.learning_rate, ema_momentum=0.0)
        config = with_seed(replace(config, loader=replace(config.loader, batch_size=wanted.batch_size)), seed)
        stream = labelled_stream(train, config, True, classifier.mean, classifier.scale)
        with naming_damaged_chunks(train, config):
            drawn = stream.take(min(wanted.steps, REPLAYED)).as_numpy_iterator()
            self.others = [Examples(x, y) for x, y in drawn]  # the same for every record
        model = classifier.model
        compile_classifier(model, replace(config, training=training), wanted.steps)
        self.variables = [*model.variables, *model.optimizer.variables]  # seeds of dropout among them
        self.start = [np.array(variable) for variable in self.variables]

    def fit(self, early: Examples) -> None:
        """Adapts the classifier's model to a record's labelled sequences.

        Raises:
            InputError: a loss that is not a number.
        """
        model, rng = self.classifier.model, np.random.default_rng(self.seed)
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)
        losses = []
        for step in range(self.wanted.steps if len(early.targets) else 0):
            own = early.take(rng.choice(len(early.targets), self.wanted.batch_size))
            batch = Examples.join(own, self.others[step % len(self.others)])
            losses.append(model.train_on_batch(batch.inputs, batch.targets, self.weights[batch.targets.argmax(1)])[0])
        reject_no_number(losses)

    def predict(self, examples: Examples) -> np.ndarray:
        """Probabilities (n, 5) of sequences, by the model as it is now."""
        return self.classifier.model.predict(examples.inputs, batch_size=256, verbose=0)
