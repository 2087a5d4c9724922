"""Batch normalisation with PyTorch's running statistics and its gradient written out.

Differentiating the forward pass costs two to three times as much on CPU, see `norms.py`.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import partitioned
from lumbarclip_jax.models.norms import column_sums

Channels = Float[Array, "D"]
Maps = Float[Array, "B H W D"]

EPSILON = 1e-5
MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) with PyTorch's running statistics.

    Training normalises by the biased variance of the batch and moves the running variance towards
    the unbiased one, which linen's own layer does not. The batch is the global one: under `jit`
    with a sharded batch the means are taken over every device.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Maps, *, train: bool) -> Maps:
        shape = (x.shape[-1],)
        scale = self.param("scale", partitioned(nn.initializers.ones, "norm"), shape)
        offset = self.param("bias", partitioned(nn.initializers.zeros, "norm"), shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)

        if not train:
            mean, var = running_mean.value, running_var.value
            return normalise(x, mean, scale * lax.rsqrt(var + EPSILON), offset).astype(self.dtype)
        out, mean, var = normalise_by_batch(x, scale, offset)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count = x.size // x.shape[-1]
            unbiased = var * (count / max(count - 1, 1))  # the count alone can pass 2³¹
            running_mean.value += MOMENTUM * (mean - running_mean.value)
            running_var.value += MOMENTUM * (unbiased - running_var.value)
        return out.astype(self.dtype)


def normalise(x: Maps, mean: Channels, factor: Channels, offset: Channels) -> Maps:
    """(x - mean) · factor + offset in float32."""
    # One row a pixel: XLA's CPU gradient of a broadcast over three axes is 20 times slower.
    rows = x.astype(jnp.float32).reshape(-1, x.shape[-1])
    return ((rows - mean[None]) * factor[None] + offset[None]).reshape(x.shape)


@jax.custom_vjp
def normalise_by_batch(
    x: Maps, scale: Channels, offset: Channels
) -> tuple[Maps, Channels, Channels]:
    """`normalise` with the batch's own mean and deviation, and that mean and biased variance.

    The statistics that are returned have no gradient: they are for the running ones.
    """
    return _forward(x, scale, offset)[0]


def _forward(x, scale, offset):
    mean, var = batch_statistics(x)
    inverse_deviation = lax.rsqrt(var + EPSILON)
    out = normalise(x, mean, scale * inverse_deviation, offset)
    return (out, mean, var), (x, mean, inverse_deviation, scale)


def _backward(residuals, cotangents):
    x, mean, inverse_deviation, scale = residuals
    rows = x.astype(jnp.float32).reshape(-1, x.shape[-1])
    by_out = cotangents[0].reshape(rows.shape)
    centred = rows - mean[None]
    by_offset = column_sums(by_out)
    by_scale = column_sums(by_out * centred) * inverse_deviation
    mean_by_out = by_offset / len(rows)
    mean_by_scale = by_scale * inverse_deviation / len(rows)
    factor = scale * inverse_deviation
    by_rows = factor[None] * (by_out - mean_by_out[None] - centred * mean_by_scale[None])
    return by_rows.reshape(x.shape).astype(x.dtype), by_scale, by_offset


normalise_by_batch.defvjp(_forward, _backward)


def batch_statistics(
    x: Float[Array, "B H W D"],
) -> tuple[Float[Array, "D"], Float[Array, "D"]]:
    """Mean and biased variance over batch and space in float32, reading x once.

    E[x²] - E[x]² would cancel where a channel's mean is far from 0. Each image is therefore shifted
    by one of its own pixels, and the images' statistics are combined (Chan et al. 1979).
    """
    pixels = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
    shift = lax.stop_gradient(pixels[:, :1])
    shifted = pixels - shift
    shifted_mean = shifted.mean(axis=1)
    within = jnp.square(shifted).mean(axis=1) - jnp.square(shifted_mean)
    image_mean = shift[:, 0] + shifted_mean
    mean = image_mean.mean(axis=0)
    between = jnp.square(image_mean - mean[None])
    return mean, (within + between).mean(axis=0)
