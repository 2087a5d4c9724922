"""Batch normalisation with PyTorch's running statistics."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import partitioned
from lumbarclip_jax.xla_cpu.normalisation import batch_norm, normalise

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
        out, mean, var = batch_norm(EPSILON, x, scale, offset)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count = x.size // x.shape[-1]
            unbiased = var * (count / max(count - 1, 1))  # the count alone can pass 2³¹
            running_mean.value += MOMENTUM * (mean - running_mean.value)
            running_var.value += MOMENTUM * (unbiased - running_var.value)
        return out.astype(self.dtype)
