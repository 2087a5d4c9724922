"""Pooling by attention: one learned query gathers what the tokens of an image say."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.attention.xla import attend
from lumbarclip_jax.models.layers import MLP, Dense, default_init, layer_norm, partitioned


class AttentionPool(nn.Module):
    """The MAP head of Zhai et al. 2022 (arXiv 2106.04560, section 3.2), as SigLIP has it.

    A learned `probe` attends to all tokens; of what it gathers, x + MLP(norm(x)) comes out.
    """

    heads: int
    mlp_width: int
    norm_epsilon: float
    activation: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens: Float[Array, "B T D"]) -> Float[Array, "B D"]:
        batch, _, width = tokens.shape
        probe = self.param("probe", partitioned(default_init, None, "embed"), (1, width))

        def heads_of(name: str, x: Float[Array, "A S D"]) -> Float[Array, "A N S H"]:
            features = Dense(width, ("embed", "heads"), dtype=self.dtype, name=name)(x)
            return features.reshape(*x.shape[:-1], self.heads, -1).swapaxes(-2, -3)

        query = heads_of("query", probe[None])  # the same for every image
        query = jnp.broadcast_to(query, (batch, *query.shape[1:]))
        key, value = heads_of("key", tokens), heads_of("value", tokens)
        gathered = attend(query, key, value, None, None).reshape(batch, width)
        x = Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")(gathered)
        norm = layer_norm(self.norm_epsilon, dtype=self.dtype, name="norm")
        return x + MLP(self.mlp_width, self.activation, self.dtype, name="mlp")(norm(x))
