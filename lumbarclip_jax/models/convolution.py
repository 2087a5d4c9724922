"""Convolution as ResNets have it."""

import functools

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import partitioned
from lumbarclip_jax.models.patches import match_channels
from lumbarclip_jax.xla_cpu.convolution import convolution, pointwise

kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Conv(nn.Module):
    """A convolution without bias, padded by half its kernel on every side."""

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
        if size == 1 and stride == 1:
            return pointwise(stride, kernel, x)
        if size == 1:
            # XLA's GPU compiler (jax 0.10, 0.11) ends the process over the product of a network in
            # which its rows are every second pixel.
            on_cpu, elsewhere = (functools.partial(f, stride) for f in (pointwise, convolution))
            return lax.platform_dependent(kernel, x, cpu=on_cpu, default=elsewhere)
        return convolution(stride, kernel, x)
