"""A classifier of images: an encoder, and a linear head a task on what it pools."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.label_head import Head, label_logits


class ImageClassifier(nn.Module):
    """Logits of several tasks from one encoder, see `label_head`.

    Parameters lie under `encoder` and `head_<task>`.
    """

    encoder: nn.Module
    heads: tuple[tuple[str, int], ...]  # (task, number of classes)
    dropout: float = 0.0  # of pooled features
    cosine_scale: float | None = None  # logits are this times cosines, as LDAM asks for

    takes = ("images", "level")  # fields of a batch, see `data.fields`
    pools_studies = False

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
        heads = {
            task: Head(classes, self.cosine_scale, name=f"head_{task}")
            for task, classes in self.heads
        }
        return label_logits(heads, features, levels)
