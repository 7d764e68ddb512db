"""Layers for tokens of single leads: leads folded into the batch axis, and joined to one token sequence.

Shapes: B batch, T samples, L leads, N tokens per lead, D width. In rows (B L, N, D) the leads of a window are
consecutive, as in the sequence (B, L N, D). The layers define `compute_output_shape`, because Keras traces a layer with
a placeholder batch that is not a multiple of L.
"""

import keras
from keras import layers, ops


def fold_leads(signals):
    """Fold the leads of signals (B, T, L) into the batch axis: (B L, T, 1)."""
    return ops.reshape(ops.transpose(signals, (0, 2, 1)), (-1, signals.shape[1], 1))


def unfold_leads(rows, leads: int):
    """Invert `fold_leads`: (B L, T, 1) to (B, T, L)."""
    return ops.transpose(ops.reshape(rows, (-1, leads, rows.shape[1])), (0, 2, 1))


def join_leads(rows, leads: int):
    """Join the leads' rows (B L, N, ...) to one sequence (B, L N, ...) per window."""
    return ops.reshape(rows, (-1, leads * rows.shape[1], *rows.shape[2:]))


def split_leads(sequence, leads: int):
    """Invert `join_leads`: (B, L N, ...) to (B L, N, ...)."""
    return ops.reshape(sequence, (-1, sequence.shape[1] // leads, *sequence.shape[2:]))


@keras.saving.register_keras_serializable(package="keras_ecg")
class FoldLeads(layers.Layer):
    """`fold_leads`: signals (B, T, L) to rows (B L, T, 1)."""

    def call(self, signals):
        return fold_leads(signals)

    def compute_output_shape(self, shape):
        return (None, shape[1], 1)


class _PerLead(layers.Layer):
    """Base class of layers that need the number of leads per window.

    Args:
        rows: L, leads per window.
    """

    def __init__(self, rows: int = 12, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows

    def get_config(self):
        return {**super().get_config(), "rows": self.rows}


@keras.saving.register_keras_serializable(package="keras_ecg")
class JoinLeads(_PerLead):
    """`join_leads`: rows (B L, N, D) to a sequence (B, L N, D)."""

    def call(self, x):
        return join_leads(x, self.rows)

    def compute_output_shape(self, shape):
        return (None, self.rows * shape[1], *shape[2:])


@keras.saving.register_keras_serializable(package="keras_ecg")
class LeadEmbedding(layers.Layer):
    """Add a learned vector per lead to all of its tokens: rows (B L, N, D) to rows (B L, N, D).

    Args:
        known: number of leads in the embedding table.
        leads: indices into the table of the L leads of a window, in order; None for all.
    """

    def __init__(self, known: int = 12, leads: tuple[int, ...] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.known, self.leads = known, tuple(range(known) if leads is None else leads)
        if not self.leads or not set(self.leads) <= set(range(known)):
            raise ValueError(f"leads {self.leads} are not indices into an embedding of {known} leads")

    def build(self, shape):
        self.table = self.add_weight(
            shape=(self.known, 1, shape[-1]), initializer=keras.initializers.RandomNormal(stddev=0.02), name="table"
        )

    def call(self, x):
        unfolded = ops.reshape(x, (-1, len(self.leads), *x.shape[1:]))  # (B, L, N, D)
        vectors = ops.take(ops.cast(self.table, x.dtype), self.leads, axis=0)  # (L, 1, D)
        return ops.reshape(unfolded + vectors, (-1, *x.shape[1:]))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "known": self.known, "leads": self.leads}


@keras.saving.register_keras_serializable(package="keras_ecg")
class Separators(layers.Layer):
    """Add learned separator tokens before and after the tokens of each lead: (B L, N, D) to (B L, N + 2, D)."""

    def build(self, shape):
        self.tokens = self.add_weight(
            shape=(2, shape[-1]), initializer=keras.initializers.RandomNormal(stddev=0.02), name="table"
        )

    def call(self, x):
        ends = ops.cast(self.tokens, x.dtype)[:, None, None]  # (2, 1, 1, D)
        first, last = (ops.broadcast_to(ends[k], (ops.shape(x)[0], 1, x.shape[2])) for k in range(2))
        return ops.concatenate([first, x, last], 1)


def count_separators(positions, tokens: int):
    """Shift positions (B L, V) of tokens out of N to make room for both separators: (B L, V + 2), 0 to N + 1."""
    first = ops.zeros_like(positions[:, :1])
    return ops.concatenate([first, positions + 1, first + tokens + 1], 1)


@keras.saving.register_keras_serializable(package="keras_ecg")
class DropSeparators(_PerLead):
    """Remove the separator tokens of each lead from a sequence: (B, L (N + 2), D) to (B, L N, D)."""

    def call(self, x):
        return join_leads(split_leads(x, self.rows)[:, 1:-1], self.rows)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] - 2 * self.rows, *shape[2:])
