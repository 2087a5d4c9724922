"""The logits of soft CLIP in one block, in the letters of `soft_clip_blockwise.py`."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses import likeness
from lumbarclip_jax.losses.blockwise import Pairs
from lumbarclip_jax.losses.extra_texts import similarity_to_extras
from lumbarclip_jax.losses.similarity import similarity, similarity_of_pairs

# Stands for minus infinity at padded keys: its exp is exactly 0, and 0 times it is 0, not NaN.
MASKED = -1e30


class Scales(NamedTuple):
    """The scalars of the loss that have gradients."""

    logit_scale: Float[Array, ""]
    target_scale: Float[Array, ""]


class Logits(NamedTuple):
    """One kind of logits in a block, counted from the row's own logit and from the key's."""

    similarity: Float[Array, "R K"]
    excess: Float[Array, "R K"]  # similarity over the row's own: not scaled, not masked
    from_row: Float[Array, "R K"]
    from_key: Float[Array, "R K"]


def pair_logits(rows: Pairs, keys: Pairs, scales: Scales) -> tuple[Logits, Logits]:
    """L and M."""
    own_of_rows, own_of_keys = (
        similarity_of_pairs(pairs.text_embeds, pairs.image_embeds) for pairs in (rows, keys)
    )
    L, M = (
        _scale_and_mask(
            jnp.exp(scales.logit_scale), similarities, own_of_rows, own_of_keys, rows, keys
        )
        for similarities in (
            similarity(rows.text_embeds, keys.image_embeds),
            similarity(rows.image_embeds, keys.text_embeds),
        )
    )
    return L, M


def target_logits(rows: Pairs, keys: Pairs, scales: Scales) -> tuple[Logits, ...]:
    """A, and of a likeness of constant features B as well."""
    of_rows, of_keys = rows.constants.likeness, keys.constants.likeness
    if of_rows is None or of_keys is None:
        own_of_rows, own_of_keys = (
            similarity_of_pairs(pairs.image_embeds, pairs.image_embeds)
            + similarity_of_pairs(pairs.text_embeds, pairs.text_embeds)
            for pairs in (rows, keys)
        )
        alike = similarity(rows.image_embeds, keys.image_embeds)
        alike += similarity(rows.text_embeds, keys.text_embeds)
        scale = scales.target_scale / 2
        return (_scale_and_mask(scale, alike, own_of_rows, own_of_keys, rows, keys),)
    own_of_rows, own_of_keys = likeness.of_pairs(of_rows), likeness.of_pairs(of_keys)
    return tuple(
        _scale_and_mask(scales.target_scale, alike, own_of_rows, own_of_keys, rows, keys)
        for alike in (likeness.of_texts(of_rows, of_keys), likeness.of_images(of_rows, of_keys))
    )


def extra_logits(
    rows: Pairs, extra_texts: Float[Array, "R N E"], scales: Scales
) -> tuple[Float[Array, "R N"], Float[Array, "R N"]]:
    """Similarities of the extra texts, and e counted from the row's own logit."""
    similarities = similarity_to_extras(rows.image_embeds, extra_texts)
    own = similarity_of_pairs(rows.text_embeds, rows.image_embeds)
    return similarities, jnp.exp(scales.logit_scale) * (similarities - own[:, None])


def _scale_and_mask(scale, similarities, own_of_rows, own_of_keys, rows, keys) -> Logits:
    def logits(excess):
        # A pair's own logit is its reference: exactly 0, whatever the matrix product rounded to.
        logits = jnp.where(rows.matches(keys), 0.0, scale * excess)
        return jnp.where(keys.is_real(), logits, MASKED)

    excess = similarities - own_of_rows[:, None]
    return Logits(similarities, excess, logits(excess), logits(similarities - own_of_keys[None, :]))
