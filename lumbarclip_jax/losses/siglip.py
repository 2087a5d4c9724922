"""SigLIP (arXiv 2303.15343, equation 1): every text-image pairing is a yes-or-no question.

    loss = -1/B Σ_ij log sigmoid( z_ij (exp(logit_scale) T_i·I_j + logit_bias) ),

z = 1 on the diagonal and -1 elsewhere. The sum over B² pairings is divided by B, as in the paper.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.similarity import similarity


def siglip_loss(
    image_embeds: Float[Array, "B E"],
    text_embeds: Float[Array, "B E"],
    logit_scale: float | Float[Array, ""],
    logit_bias: float | Float[Array, ""],
    *,
    method: str = "dense",
) -> Float[Array, ""]:
    """Sigmoid loss of a batch of pairs; the formula is at the top of this module.

    Args:
      image_embeds: one image a row; unit length by convention, not required.
      text_embeds: the text of the same pair on the same row.
      logit_scale: log of 1 / temperature; the paper starts at log 10.
      logit_bias: added to every logit; the paper starts at -10, since most pairings are negative.
      method: "dense" holds every B×B matrix.

    Returns:
      The loss summed over pairings and divided by the batch, float32.

    Raises:
      ValueError: for an unknown `method` or embeddings of different shapes.
    """
    if image_embeds.shape != text_embeds.shape:
        raise ValueError(
            f"image_embeds {image_embeds.shape} and text_embeds {text_embeds.shape} must have the "
            "same shape: row i of both is pair i."
        )
    if method != "dense":
        raise ValueError(f'method must be "dense", not {method!r}.')
    logits = jnp.exp(logit_scale) * similarity(text_embeds, image_embeds) + logit_bias
    signs = 2 * jnp.eye(len(logits), dtype=jnp.float32) - 1
    return -jnp.sum(jax.nn.log_sigmoid(signs * logits)) / len(logits)
