"""L2 normalization whose gradient is finite for zero vectors on every backend."""

from keras import ops

SMALLEST_SQUARE = 1e-14  # squared length below which a vector is left as it is


def l2_normalize(x):
    """Scale vectors along the last axis of x (..., D) to length one, in float32; zero vectors stay zero.

    `keras.ops.normalize` divides by the length of a zero vector before it limits the quotient. On JAX the gradient is
    then NaN, so that one embedding of zeros, as a ReLU layer with all units inactive gives, makes all weights NaN.
    """
    x = ops.cast(x, "float32")
    square = ops.sum(ops.square(x), -1, keepdims=True)
    return x * ops.rsqrt(ops.where(square > SMALLEST_SQUARE, square, 1.0))
