"""The images of a study as one: pooling of their features, learnt or not."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from lumbarclip_jax.models.layers import Dense, partitioned

HIDDEN = 128  # L of Ilse et al.


class MeanPool(nn.Module):
    """The mean over the images of a study."""

    def __call__(
        self, features: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """In float32; `mask` is true of images, one a study or more, and false of padding."""
        return _weighted(features, mask / mask.sum(axis=1, keepdims=True))


class GatedAttentionPool(nn.Module):
    """Gated attention of multiple-instance learning (Ilse et al., arXiv 1802.04712, eq. 7 and 9).

    sum_k a_k h_k over the images, with a = softmax_k(w (tanh(V h_k) * sigmoid(U h_k))). The weights
    w are 0 at first, so that it begins as the mean; the gradient of w is not 0 there.
    """

    hidden: int = HIDDEN

    @nn.compact
    def __call__(
        self, features: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> Float[Array, "B D"]:
        """As `MeanPool`."""
        features = features.astype(jnp.float32)
        attended, gate = (
            Dense(self.hidden, ("embed", None), use_bias=False, name=name)(features)
            for name in ("attended", "gate")
        )
        scores = self.param("scores", partitioned(nn.initializers.zeros, None), (self.hidden,))
        logits = jnp.matmul(jnp.tanh(attended) * nn.sigmoid(gate), scores)
        return _weighted(features, jax.nn.softmax(logits, axis=1, where=mask))


POOLS: dict[str, type[nn.Module]] = {"mean": MeanPool, "attention": GatedAttentionPool}


def study_pool(kind: str) -> nn.Module | None:
    """The pool of `config.model.study_pooling`; "" is none.

    Raises:
      ValueError: there is none of this kind.
    """
    if not kind:
        return None
    if kind not in POOLS:
        raise ValueError(f"model.study_pooling={kind!r} is not one of '', {', '.join(POOLS)}")
    return POOLS[kind]()


def _weighted(features: Float[Array, "B N D"], weights: Float[Array, "B N"]) -> Float[Array, "B D"]:
    return jnp.einsum("bn,bnd->bd", weights, features.astype(jnp.float32))
