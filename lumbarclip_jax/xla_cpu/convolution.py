"""Pooling, and convolutions that are products, in forms whose gradients XLA runs fast."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lumbarclip_jax.xla_cpu.sums import on_rows

Maps = Float[Array, "B H W D"]
SmallerMaps = Float[Array, "B h w D"]


def pointwise(
    stride: int, kernel: Float[Array, "1 1 C D"], x: Float[Array, "B H W C"]
) -> SmallerMaps:
    """`convolution` with a 1x1 kernel, as a product of one row a pixel.

    Its weight gradient is 3 to 5 times faster than the convolution's.
    """
    return on_rows(lambda rows: jnp.matmul(rows, kernel[0, 0]), x[:, ::stride, ::stride])


def convolution(
    stride: int, kernel: Float[Array, "K K C D"], x: Float[Array, "B H W C"]
) -> SmallerMaps:
    """XLA's own, padded by half the kernel on every side."""
    padding = len(kernel) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def patches(size: int, x: Float[Array, "B H W C"]) -> Float[Array, "B h w p_times_p_times_C"]:
    """Each square of `size` x `size` pixels as features; those beyond the last square are dropped.

    A convolution whose windows do not overlap is a product of them: its own gradients are 3 to 20
    times slower.
    """
    batch, height, width, channels = x.shape
    rows, columns = height // size, width // size
    squares = x[:, : rows * size, : columns * size]
    squares = squares.reshape(batch, rows, size, columns, size, channels).swapaxes(2, 3)
    return squares.reshape(batch, rows, columns, size * size * channels)


def halve(x: Maps) -> SmallerMaps:
    """The maximum of each 2x2 square; an odd last row or column is left out."""
    batch, height, width, depth = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, depth)
    rows = jnp.maximum(squares[:, :, 0], squares[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def plain_halve(x: Maps) -> SmallerMaps:
    """`halve` by XLA's windows, the gradient of which is a slow select-and-scatter."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@jax.custom_vjp
def max_pool(x: Maps) -> SmallerMaps:
    """The maximum of 3x3 windows, two pixels apart, around every even row and column.

    The gradient goes to one maximum of a window. Written out, as XLA's own is a scatter, ten times
    slower.
    """
    return _maxima(_maxima(_even(x), axis=1), axis=2)


def plain_max_pool(x: Maps) -> SmallerMaps:
    """`max_pool` by XLA's windows."""
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)


def _pool_forward(x):
    return max_pool(x), x


def _pool_backward(x, by_out):
    even = _even(x)
    by_row_maxima = _by_windows(_maxima(even, axis=1), by_out, axis=2)
    by_even = _by_windows(even, by_row_maxima, axis=1)
    return (by_even[:, : x.shape[1], : x.shape[2]],)


max_pool.defvjp(_pool_forward, _pool_backward)


def _even(x: Maps) -> Float[Array, "B even_H even_W D"]:
    """With a row or column more that is never a maximum, where their number is odd."""
    pads = ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0))
    return jnp.pad(x, pads, constant_values=-jnp.inf)


def _maxima(x: Maps, axis: int) -> SmallerMaps:
    before, even, odd = _windows(x, axis)
    return jnp.maximum(jnp.maximum(before, even), odd)


def _by_windows(x: Maps, by_maxima: SmallerMaps, axis: int) -> Maps:
    """The gradient of `_maxima`, for the first maximum of a window."""
    before, even, odd = _windows(x, axis)
    largest = jnp.maximum(jnp.maximum(before, even), odd)
    takes_before = before == largest
    takes_even = (even == largest) & ~takes_before
    by_before = jnp.where(takes_before, by_maxima, 0)
    by_even = jnp.where(takes_even, by_maxima, 0)
    by_odd = jnp.where(takes_before | takes_even, 0, by_maxima)
    by_odd += _moved(by_before, -1, axis, fill=0)  # `before` is `odd` of the window before
    return jnp.stack([by_even, by_odd], axis + 1).reshape(x.shape)


def _windows(x: Maps, axis: int) -> tuple[SmallerMaps, SmallerMaps, SmallerMaps]:
    """What lies at 2i - 1, 2i and 2i + 1 of the axis."""
    pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
    even, odd = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    return _moved(odd, 1, axis, fill=-jnp.inf), even, odd


def _moved(x: Maps, steps: int, axis: int, fill: float) -> Maps:
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (steps, -steps, 0)
    return lax.pad(x, jnp.array(fill, x.dtype), pads)
