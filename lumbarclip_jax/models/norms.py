"""Layer normalisation as ViT, Swin and BERT have it."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.xla_cpu.normalisation import layer_norm
from lumbarclip_jax.xla_cpu.sums import on_rows


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, computed in float32, with a scale and an offset."""

    epsilon: float
    scale_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        width = x.shape[-1]
        scale = self.param("scale", self.scale_init, (width,))
        bias = self.param("bias", self.bias_init, (width,))
        return on_rows(
            lambda rows: layer_norm(self.epsilon, rows, scale, bias).astype(self.dtype),
            x.astype(jnp.float32),
        )
