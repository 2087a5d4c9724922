"""Heads that say the class of an image, one a task."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.projection import unit


class Head(nn.Module):
    """A linear layer, or scaled cosines of the angles to one vector a class."""

    classes: int
    cosine_scale: float | None

    @nn.compact
    def __call__(self, inputs: Float[Array, "B D"]) -> Float[Array, "B K"]:
        if self.cosine_scale is None:
            return nn.Dense(self.classes, name="linear")(inputs)
        shape = (inputs.shape[1], self.classes)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        return self.cosine_scale * jnp.matmul(unit(inputs), unit(kernel.T).T)


def label_logits(
    heads: Mapping[str, Head], features: Float[Array, "B D"], levels: Float[Array, "B L"]
) -> dict[str, Array]:
    """logits/<task> float32 [B, K] of the heads by task.

    Every head also sees which disc level an image shows, as it is known when an image is read: how
    common a finding is differs by level, and without it the encoder must spend itself on telling
    levels apart. `levels` are one-hot, or blends of these.
    """
    inputs = jnp.concatenate([features, levels], axis=1)
    return {f"logits/{task}": head(inputs) for task, head in heads.items()}
