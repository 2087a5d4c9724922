"""Supervised contrast (Khosla et al., arXiv 2004.11362, equation 2): a class is drawn together.

Of unit vectors z with classes, and the positives P(i) of a row i, which are the other rows of its
class,

    loss_i = -1/|P(i)| Σ_{p ∈ P(i)} log [ exp(z_i·z_p / τ) / Σ_{a ≠ i} exp(z_i·z_a / τ) ]

and the loss is the mean over the rows that have a positive. A row without a class is no row at all:
nothing is known of whether it is a negative of another.
"""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lumbarclip_jax.losses import Method
from lumbarclip_jax.losses.block_logits import MASKED
from lumbarclip_jax.losses.blockwise import Constants, streamed
from lumbarclip_jax.losses.forms import BLOCK_SIZE, choose_exchange
from lumbarclip_jax.losses.similarity import similarity
from lumbarclip_jax.losses.sup_con_blockwise import SupCon


def sup_con_loss(
    embeds: Float[Array, "N E"],
    classes: Int[Array, "N"],
    temperature: float,
    *,
    method: Method = "auto",
    mesh: Mesh | None = None,
    block_size: int = BLOCK_SIZE,
) -> Float[Array, ""]:
    """Supervised contrast of N vectors; the formula is at the top of this module.

    Args:
      embeds: unit length by convention, not required.
      classes: equal for rows that belong together; below 0 where none is known.
      temperature: τ, above 0.
      method: as for `soft_clip_loss`, here of four N×N matrices.
      mesh: as for `soft_clip_loss`.
      block_size: as for `soft_clip_loss`.

    Returns:
      The mean over the rows that have a positive, float32; 0 where no row has one.

    Raises:
      ValueError: a `temperature` that is not above 0, or as `forms.choose_exchange`.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}.")
    exchange = choose_exchange(method, mesh, block_size, embeds, embeds)
    anchors = jnp.maximum(jnp.sum(has_positive(classes)), 1)
    if exchange is None:
        return jnp.sum(_dense(embeds, classes, temperature)) / anchors
    scales = (jnp.float32(1 / temperature),)
    constants = Constants(groups=classes)
    # Every vector is a row and a key: of the pair that it makes with itself, one side each.
    summed = streamed(SupCon(), exchange, embeds, embeds, None, scales, constants)
    return summed / anchors


def has_positive(classes: Int[Array, "N"]) -> Array:
    """[N], in the order of the classes: whether a row has a class and is not alone in it."""
    ordered = jnp.sort(classes)
    is_next = jnp.pad(ordered[1:] == ordered[:-1], 1)
    return (is_next[1:] | is_next[:-1]) & (ordered >= 0)


def _dense(embeds, classes, temperature: float) -> Float[Array, "N"]:
    others = ~jnp.eye(len(embeds), dtype=bool) & (classes >= 0)[None, :]
    positives = others & (classes[:, None] == classes[None, :])
    logits = jnp.where(others, similarity(embeds, embeds) / temperature, MASKED)
    log_shares = jax.nn.log_softmax(logits, axis=1)
    count = jnp.sum(positives, axis=1)
    return -jnp.sum(jnp.where(positives, log_shares, 0.0), axis=1) / jnp.maximum(count, 1)
