"""SigLIP (arXiv 2303.15343, equation 1): every text-image pairing is a yes-or-no question.

    loss = 1/B Σ_ij softplus(-z_ij L_ij),   L_ij = exp(logit_scale) T_i·I_j + logit_bias,

z = 1 on the diagonal, and where `groups` say that two pairs have one report, and -1 elsewhere. The
sum over B² pairings is divided by B, as in the paper.
The gradient with respect to a logit is that pairing's alone, gL_ij = -z_ij sigmoid(-z_ij L_ij), so
the blockwise form needs no statistics of rows.

`extra_texts` X_in are questions to image i alone, and the answer to each is no: they add

    1/B Σ_in softplus(e_in),   e_in = exp(logit_scale) I_i·X_in + logit_bias,

and ge_in = sigmoid(e_in): what follows from it is a sum at the row.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lumbarclip_jax.losses import Method
from lumbarclip_jax.losses.blockwise import Constants, Pairs, map_blocks, streamed
from lumbarclip_jax.losses.extra_texts import (
    check_extra_texts,
    gradient_of_extras,
    gradient_of_images,
    similarity_to_extras,
)
from lumbarclip_jax.losses.forms import BLOCK_SIZE, choose_exchange
from lumbarclip_jax.losses.similarity import product, similarity


def siglip_loss(
    image_embeds: Float[Array, "B E"],
    text_embeds: Float[Array, "B E"],
    logit_scale: float | Float[Array, ""],
    logit_bias: float | Float[Array, ""],
    *,
    groups: Int[Array, "B"] | None = None,
    extra_texts: Float[Array, "B N E"] | None = None,
    method: Method = "auto",
    mesh: Mesh | None = None,
    block_size: int = BLOCK_SIZE,
) -> Float[Array, ""]:
    """Sigmoid loss of a batch of pairs; the formula is at the top of this module.

    Args:
      image_embeds: one image a row; unit length by convention, not required.
      text_embeds: the text of the same pair on the same row.
      logit_scale: log of 1 / temperature; the paper starts at log 10.
      logit_bias: added to every logit; the paper starts at -10, since most pairings are negative.
      groups: as in `soft_clip_loss`.
      extra_texts: as in `soft_clip_loss`.
      method: as in `soft_clip_loss`.
      mesh: as in `soft_clip_loss`.
      block_size: as in `soft_clip_loss`.

    Returns:
      The loss summed over pairings and divided by the batch, float32.

    Raises:
      ValueError: for an unknown `method`, embeddings of different shapes, extra texts of another
        shape than [B, N, E], or a mesh that is missing or does not fit the method or the batch.
    """
    exchange = choose_exchange(method, mesh, block_size, image_embeds, text_embeds)
    check_extra_texts(image_embeds, extra_texts)
    scalars = Scalars(jnp.float32(logit_scale), jnp.float32(logit_bias))
    embeds = (image_embeds, text_embeds, extra_texts)
    if exchange is None:
        return _dense(*embeds, scalars, groups)
    return streamed(SigLip(), exchange, *embeds, scalars, Constants(groups)) / len(image_embeds)


class Scalars(NamedTuple):
    """The scalars of the loss that have gradients."""

    logit_scale: Float[Array, ""]
    logit_bias: Float[Array, ""]


def _dense(image_embeds, text_embeds, extra_texts, scalars: Scalars, groups):
    similarities = similarity(text_embeds, image_embeds)
    logits = jnp.exp(scalars.logit_scale) * similarities + scalars.logit_bias
    equal = jnp.eye(len(logits)) if groups is None else groups[:, None] == groups[None, :]
    signs = 2 * equal.astype(jnp.float32) - 1
    cost = jnp.sum(jax.nn.softplus(-signs * logits))
    if extra_texts is not None:
        cost += jnp.sum(jax.nn.softplus(_extra_logits(image_embeds, extra_texts, scalars)))
    return cost / len(logits)


def _extra_logits(image_embeds, extra_texts, scalars: Scalars) -> Float[Array, "B N"]:
    scaled = jnp.exp(scalars.logit_scale) * similarity_to_extras(image_embeds, extra_texts)
    return scaled + scalars.logit_bias


@dataclasses.dataclass(frozen=True)
class SigLip:
    """B times the loss, an objective for `blockwise.streamed`; its scalars are `Scalars`."""

    def forward(self, exchange, pairs: Pairs, extra_texts, scalars: Scalars):
        def fold(loss, rows: Pairs, keys: Pairs):
            signs = jnp.where(rows.are_equal(keys), 1.0, -1.0)
            logits = jnp.exp(scalars.logit_scale) * similarity(rows.text_embeds, keys.image_embeds)
            costs = jax.nn.softplus(-signs * (logits + scalars.logit_bias))
            return loss + jnp.sum(jnp.where(keys.is_real(), costs, 0.0), axis=1)

        def of_extras(image_embeds, extras):
            logits = _extra_logits(image_embeds, extras, scalars)
            return jnp.sum(jax.nn.softplus(logits), axis=1)

        keys = exchange.share(pairs)
        loss = jnp.zeros(len(pairs.number), jnp.float32)
        if extra_texts is not None:
            loss = map_blocks(of_extras, (pairs.image_embeds, extra_texts), exchange.block_size)
        loss = exchange.sweep(fold, loss, pairs, keys)
        return exchange.total(jnp.sum(loss)), keys, None

    def backward(
        self, exchange, pairs: Pairs, extra_texts, keys, statistics, scalars: Scalars, cotangent
    ):
        del statistics
        alpha = jnp.exp(scalars.logit_scale)

        def logit_gradient(signs, scaled):
            return -signs * jax.nn.sigmoid(-signs * (scaled + scalars.logit_bias))

        def fold(gradients, rows: Pairs, keys: Pairs):
            dI, dT, dlogit_scale, dlogit_bias = gradients
            signs = jnp.where(rows.are_equal(keys), 1.0, -1.0)
            scaled = alpha * similarity(rows.text_embeds, keys.image_embeds)
            gL = jnp.where(keys.is_real(), logit_gradient(signs, scaled), 0.0)
            scaled_back = alpha * similarity(rows.image_embeds, keys.text_embeds)
            # Padded keys are zeros, and so is what they add here.
            gM = logit_gradient(signs, scaled_back)
            dT += product(cotangent * alpha * gL, keys.image_embeds)
            dI += product(cotangent * alpha * gM, keys.text_embeds)
            dlogit_scale += jnp.sum(gL * scaled, axis=1)
            dlogit_bias += jnp.sum(gL, axis=1)
            return dI, dT, dlogit_scale, dlogit_bias

        def of_extras(image_embeds, extras):
            scaled = alpha * similarity_to_extras(image_embeds, extras)
            ge = logit_gradient(-1.0, scaled)
            weights = cotangent * alpha * ge
            scalar_gradients = jnp.sum(ge * scaled, axis=1), jnp.sum(ge, axis=1)
            return gradient_of_images(weights, extras), *scalar_gradients, weights

        no_gradient = jnp.zeros(pairs.image_embeds.shape, jnp.float32)
        zeros = no_gradient[:, 0]
        dI, dX, dlogit_scale, dlogit_bias = no_gradient, None, zeros, zeros
        if extra_texts is not None:
            dI, dlogit_scale, dlogit_bias, weights = map_blocks(
                of_extras, (pairs.image_embeds, extra_texts), exchange.block_size
            )
            dX = gradient_of_extras(weights, pairs.image_embeds)
        dI, dT, *scalar_gradients = exchange.sweep(
            fold, (dI, no_gradient, dlogit_scale, dlogit_bias), pairs, keys
        )
        scalar_gradients = Scalars(*(cotangent * jnp.sum(leaf) for leaf in scalar_gradients))
        return dI, dT, dX, exchange.total(scalar_gradients)
