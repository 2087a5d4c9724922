"""A classifier of images: an encoder, and a linear head a task on what it pools."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.lumbarclip import unit


class ImageClassifier(nn.Module):
    """Logits of several tasks from one encoder.

    Every head also sees which disc level an image shows, as it is known when an image is read: how
    common a finding is differs by level, and without it the encoder must spend itself on telling
    levels apart. Parameters lie under `encoder` and `head_<task>`.
    """

    encoder: nn.Module
    heads: tuple[tuple[str, int], ...]  # (task, number of classes)
    dropout: float = 0.0  # of pooled features
    cosine_scale: float | None = None  # logits are this times cosines, as LDAM asks for

    takes = ("images", "level")  # fields of a batch, see `data.fields`

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "B H W C"],
        levels: Float[Array, "B L"],
        *,
        train: bool = False,
    ) -> dict[str, Array]:
        """Returns logits/<task> float32 [B, K]; `levels` are one-hot, or blends of these."""
        features = self.encoder(images, train=train)["pooled"].astype(jnp.float32)
        features = nn.Dropout(self.dropout, deterministic=not train)(features)
        inputs = jnp.concatenate([features, levels], axis=1)
        return {
            f"logits/{task}": Head(classes, self.cosine_scale, name=f"head_{task}")(inputs)
            for task, classes in self.heads
        }


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
