"""Convolution and maximum pooling, in forms whose gradients XLA runs fast."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import partitioned
from lumbarclip_jax.models.patches import match_channels

Maps = Float[Array, "B H W D"]
SmallerMaps = Float[Array, "B h w D"]

kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Conv(nn.Module):
    """A convolution without bias, padded by half its kernel on every side.

    1x1 kernels are a product: their weight gradient is 3 to 5 times faster on CPU.
    """

    width: int
    kernel_size: int
    stride: int
    in_channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        size, stride = self.kernel_size, self.stride
        kernel = self.param(
            "kernel",
            partitioned(kernel_init, None, None, "conv_in", "conv_out"),
            (size, size, self.in_channels, self.width),
        )
        kernel, x = match_channels(kernel, x).astype(self.dtype), x.astype(self.dtype)
        product, convolution = (functools.partial(f, stride) for f in (_product, _convolution))
        if size == 1 and stride == 1:
            return product(kernel, x)
        if size == 1:
            # XLA's GPU compiler (jax 0.10, 0.11) ends the process over the product of a network in
            # which its rows are every second pixel.
            return lax.platform_dependent(kernel, x, cpu=product, default=convolution)
        return convolution(kernel, x)


def _product(
    stride: int, kernel: Float[Array, "1 1 C D"], x: Float[Array, "B H W C"]
) -> SmallerMaps:
    x = x[:, ::stride, ::stride]
    # One row a pixel: the gradient of a product over three axes copies transposed maps.
    rows = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel[0, 0])
    return rows.reshape(*x.shape[:-1], rows.shape[-1])


def _convolution(
    stride: int, kernel: Float[Array, "K K C D"], x: Float[Array, "B H W C"]
) -> SmallerMaps:
    padding = len(kernel) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@jax.custom_vjp
def max_pool(x: Maps) -> SmallerMaps:
    """The maximum of 3x3 windows, two pixels apart, around every even row and column.

    The gradient goes to one maximum of a window. Written out, as XLA's own is a scatter: on CPU
    ten times slower.
    """
    return _maxima(_maxima(_even(x), axis=1), axis=2)


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
