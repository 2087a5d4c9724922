"""The loss of a sample, [B], given logits [B, K], a label [B] and the counts of the classes [K]."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

MAX_MARGIN = 0.5
COSINE_SCALE = 30.0
FOCUS = 2.0


def cross_entropy(
    logits: Float[Array, "B K"], labels: Int[Array, "B"], counts: Float[Array, "K"]
) -> Float[Array, "B"]:
    """-log p of the label; `counts` are not needed."""
    return -_at(jax.nn.log_softmax(logits), labels)


def focal(
    logits: Float[Array, "B K"], labels: Int[Array, "B"], counts: Float[Array, "K"]
) -> Float[Array, "B"]:
    """-(1 - p)^2 log p: Lin et al. 2017 (arXiv 1708.02002), equation 4, with gamma = 2."""
    log_p = _at(jax.nn.log_softmax(logits), labels)
    return -((1 - jnp.exp(log_p)) ** FOCUS) * log_p


def ldam(
    logits: Float[Array, "B K"], labels: Int[Array, "B"], counts: Float[Array, "K"]
) -> Float[Array, "B"]:
    """Cross entropy after the label's logit was lowered by a margin, larger for rarer classes.

    Cao et al. 2019 (arXiv 1906.07413), equation 13. Logits must be cosines times `COSINE_SCALE`,
    so that a margin means an angle: margins are multiplied by that scale, too.
    """
    margins = COSINE_SCALE * ldam_margins(counts)[labels]
    own = jax.nn.one_hot(labels, logits.shape[1])
    return cross_entropy(logits - margins[:, None] * own, labels, counts)


def ldam_margins(counts: Float[Array, "K"]) -> Float[Array, "K"]:
    """n_c^-1/4, scaled to 0.5 for the rarest class that occurs."""
    margins = jnp.where(counts > 0, jnp.maximum(counts, 1) ** -0.25, 0.0)
    return MAX_MARGIN * margins / margins.max()


def _at(rows: Float[Array, "B K"], labels: Int[Array, "B"]) -> Float[Array, "B"]:
    return jnp.take_along_axis(rows, labels[:, None], axis=1)[:, 0]
