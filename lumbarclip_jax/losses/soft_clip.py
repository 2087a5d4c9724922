"""Soft CLIP: contrastive learning whose targets are softened by how alike the pairs are.

LumbarCLIP (arXiv 2509.20813) trains with a "soft CLIP loss" and does not define it. This module
defines one. With texts T and images I of a batch of B pairs,

    L = exp(logit_scale) T Iᵀ                              logits; rows are texts
    A = target_scale / 2 (I Iᵀ + T Tᵀ)                     likeness of the pairs; symmetric
    P = hard_weight H + (1 - hard_weight) softmax_row(A)   targets
    loss = 1 / 2B Σ_i [ CE(P_i, L_i) + CE(Q_i, (Lᵀ)_i) ]   CE(p, l) = -Σ_k p_k log_softmax(l)_k

H is the identity, or, where `groups` say which pairs have one report, H_ik = [g_i = g_k] / n_i with
the n_i pairs of group g_i: equal reports are each other's positives, and not pushed apart.

`targets="transposed"` takes Q = Pᵀ: the reading of moein-shariatnia/OpenAI-CLIP, from which most
code named soft CLIP descends; the rows of Pᵀ do not sum to one. `targets="row"` takes Q = P: A is
symmetric, so the same distribution serves both directions and every row sums to one.

A `likeness` takes constant features f of the images and t of the texts in place of the embeddings,
such as label vectors, embeddings of another model, or those of a graph: with A = target_scale t fᵀ
of the texts, and Aᵀ, normalised by its own rows, of the images. It may be a weighted sum of several
kinds, see `losses.likeness`; today's A is that of [I, T] / √2 on both sides. Two one-hot classes
differ by `target_scale` at most, a ratio of e to the power of it.

`extra_texts` X, N for every image, are more negatives of it: (Lᵀ)_i is followed by the N logits
e_in = exp(logit_scale) I_i·X_in, and Q_i by N zeros. Texts still choose among the B images alone,
and an extra text is never compared with the image of another pair. In both readings of the targets
and with `groups` or a `likeness` the rest stays as it is.

The scale of the targets is a parameter of its own. That code multiplies the likeness by the
temperature it divides the logits by; with unit embeddings and a CLIP temperature this leaves A
nearly constant and P uniform: no signal. A target_scale of about 10 gives soft targets.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lumbarclip_jax.losses import TARGETS, Method, Targets
from lumbarclip_jax.losses.block_logits import Scales
from lumbarclip_jax.losses.blockwise import Constants, streamed
from lumbarclip_jax.losses.extra_texts import check_extra_texts, similarity_to_extras
from lumbarclip_jax.losses.forms import BLOCK_SIZE, choose_exchange
from lumbarclip_jax.losses.likeness import Likeness, blend_of, of_texts
from lumbarclip_jax.losses.similarity import similarity
from lumbarclip_jax.losses.soft_clip_blockwise import SoftClip


def soft_clip_loss(
    image_embeds: Float[Array, "B E"],
    text_embeds: Float[Array, "B E"],
    logit_scale: float | Float[Array, ""],
    *,
    target_scale: float | Float[Array, ""],
    targets: Targets = "row",
    detach_targets: bool = True,
    hard_weight: float = 0.0,
    likeness: tuple[Float[Array, "B F"], Float[Array, "B F"]] | Sequence[Likeness] | None = None,
    groups: Int[Array, "B"] | None = None,
    extra_texts: Float[Array, "B N E"] | None = None,
    method: Method = "auto",
    mesh: Mesh | None = None,
    block_size: int = BLOCK_SIZE,
) -> Float[Array, ""]:
    """Soft CLIP loss of a batch of pairs; the formula is at the top of this module.

    Args:
      image_embeds: one image a row; unit length by convention, not required.
      text_embeds: the text of the same pair on the same row.
      logit_scale: log of 1 / temperature.
      target_scale: sharpness of the targets; 0 makes them uniform.
      targets: which reading of the targets the images use.
      detach_targets: True lets no gradient through the targets, nor to `target_scale`.
      hard_weight: share of hard targets, 0 to 1; 1 is plain CLIP.
      likeness: (image_features, text_features), or several `Likeness`, of which A is made instead
        of the embeddings. They are constants: `targets` is "row" and `detach_targets` True.
      groups: pairs of one number have equal reports. None: every pair is alone.
      extra_texts: N texts of every row that its image is to be told from, such as its report with
        findings negated; on a mesh sharded as the rows are. None: there are none.
      method: "dense" holds ten B×B matrices; the other forms compute the same numbers in blocks.
        "blockwise" is for one device, "gather" and "ring" for a mesh. "auto" chooses by bytes; see
        `forms.choose_exchange`.
      mesh: the devices over all axes of which the rows are sharded. None: one device, or leave it
        to the compiler to partition the dense form.
      block_size: rows and keys of the squares the other forms compute at a time.

    Returns:
      The mean over the batch and the two directions, float32.

    Raises:
      ValueError: for an unknown `targets` or `method`, a `hard_weight` outside 0 to 1, embeddings
        of different shapes, extra texts of another shape than [B, N, E], a mesh that is missing or
        does not fit the method or the batch, or a `likeness` of other targets than detached ones
        by row.
    """
    if targets not in TARGETS:
        raise ValueError(f'targets must be "row" or "transposed", not {targets!r}.')
    if not 0.0 <= hard_weight <= 1.0:
        raise ValueError(f"hard_weight must lie between 0 and 1, not {hard_weight}.")
    if likeness is not None and (targets != "row" or not detach_targets):
        raise ValueError('a likeness of features has targets="row" and detach_targets=True.')
    exchange = choose_exchange(method, mesh, block_size, image_embeds, text_embeds)
    check_extra_texts(image_embeds, extra_texts)
    scales = Scales(jnp.float32(logit_scale), jnp.float32(target_scale))
    objective = SoftClip(targets, detach_targets, float(hard_weight))
    blend = None if likeness is None else blend_of(likeness, len(image_embeds))
    constants = Constants(groups, blend)
    embeds = (image_embeds, text_embeds, extra_texts)
    if exchange is None:
        return _dense(*embeds, scales, objective, constants)
    summed = streamed(objective, exchange, *embeds, scales, constants)
    return summed / (2 * len(image_embeds))


def _dense(image_embeds, text_embeds, extra_texts, scales: Scales, options: SoftClip, constants):
    logits_per_text = jnp.exp(scales.logit_scale) * similarity(text_embeds, image_embeds)
    text_targets = image_targets = hard_targets(len(image_embeds), constants.groups)
    if options.hard_weight < 1.0:
        soft = _soft_targets(image_embeds, text_embeds, scales, options, constants)
        text_targets, image_targets = (
            options.hard_weight * hard + (1.0 - options.hard_weight) * part
            for hard, part in zip((text_targets, image_targets), soft, strict=True)
        )
    text_loss = -jnp.sum(text_targets * jax.nn.log_softmax(logits_per_text, axis=1), axis=1)
    logits_per_image = logits_per_text.T
    if extra_texts is not None:
        extras = jnp.exp(scales.logit_scale) * similarity_to_extras(image_embeds, extra_texts)
        logits_per_image = jnp.concatenate([logits_per_image, extras], axis=1)
        image_targets = jnp.concatenate([image_targets, jnp.zeros_like(extras)], axis=1)
    image_loss = -jnp.sum(image_targets * jax.nn.log_softmax(logits_per_image, axis=1), axis=1)
    return jnp.mean(text_loss + image_loss) / 2


def hard_targets(batch: int, groups: Int[Array, "B"] | None) -> Float[Array, "B B"]:
    """H of the module's formula, for `groups` of `batch` pairs."""
    if groups is None:
        return jnp.eye(batch, dtype=jnp.float32)
    equal = (groups[:, None] == groups[None, :]).astype(jnp.float32)
    return equal / jnp.sum(equal, axis=1, keepdims=True)


def _soft_targets(image_embeds, text_embeds, scales: Scales, options: SoftClip, constants):
    """The soft part of P for the texts and of Q for the images, before they are weighted."""
    if constants.likeness is not None:
        alike = of_texts(constants.likeness, constants.likeness)
        return tuple(
            jax.lax.stop_gradient(jax.nn.softmax(scales.target_scale * rows, axis=1))
            for rows in (alike, alike.T)
        )
    likeness = similarity(image_embeds, image_embeds) + similarity(text_embeds, text_embeds)
    # A constant of the row changes no softmax, but the gradient of a sharp one's scale is a
    # sum that cancels: counted from the pair's own likeness it keeps two more digits.
    own = jax.lax.stop_gradient(jnp.diagonal(likeness))
    soft = jax.nn.softmax(scales.target_scale / 2 * (likeness - own[:, None]), axis=1)
    if options.detach_targets:
        soft = jax.lax.stop_gradient(soft)
    return soft, soft if options.targets == "row" else soft.T
