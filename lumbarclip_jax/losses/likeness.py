"""How alike images and texts are by constant features: what soft targets may be made of.

The likeness of a text and an image is a weighted sum over kinds, w · k(t, f), of features t of the
text and f of the image, and each kind one of

    inner     k(t, f) = t·f: embeddings of another model, label vectors of -1, 0 and 1, graphs
    jaccard   k(t, f) = |t ∧ f| / |t ∨ f| of sets, written as vectors of 0 and 1; two empty ones
              are alike, k = 1

The features of the two sides may differ, such as findings of the report and grades of the image.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.similarity import similarity, similarity_of_pairs

Kind = Literal["inner", "jaccard"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["image_features", "text_features"],
    meta_fields=["weight", "kind"],
)
@dataclasses.dataclass(frozen=True)
class Likeness:
    """One kind of likeness in its weight; no gradient is taken of the features."""

    image_features: Any  # [B, F]; as a tree that is mapped, whatever that comes to
    text_features: Any  # [B, F]
    weight: float = 1.0
    kind: Kind = "inner"


Blend = tuple[Likeness, ...]


def blend_of(
    likeness: tuple[Float[Array, "B F"], Float[Array, "B F"]] | Sequence[Likeness], batch: int
) -> Blend:
    """The kinds of a likeness; a pair (image_features, text_features) is one inner product.

    Raises:
      ValueError: features are not [B, F] of the batch, a weight is below 0, a kind is unknown, or
        there is nothing to blend.
    """
    given: tuple[Any, ...] = tuple(likeness)
    if len(given) == 2 and not any(isinstance(each, Likeness) for each in given):
        given = (Likeness(*given),)
    if not given:
        raise ValueError("a likeness of no kind says nothing of targets: leave it out.")
    for each in given:
        shapes = each.image_features.shape, each.text_features.shape
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != batch:
            raise ValueError(
                f"the features of a likeness, {shapes[0]} of images and {shapes[1]} of texts, "
                f"must both be [{batch}, F]."
            )
        if each.kind not in KINDS:
            raise ValueError(f"a likeness is one of {', '.join(KINDS)}, not {each.kind!r}.")
        if not each.weight >= 0.0:
            raise ValueError(f"the weight of a likeness must be at least 0, not {each.weight}.")
    return given


def of_texts(rows: Blend, keys: Blend) -> Float[Array, "R K"]:
    """The likeness of every text of the rows and every image of the keys."""
    return _weighted(
        (row.weight, _between(row.kind, row.text_features, key.image_features))
        for row, key in zip(rows, keys, strict=True)
    )


def of_images(rows: Blend, keys: Blend) -> Float[Array, "R K"]:
    """The likeness of every image of the rows and every text of the keys: the transpose."""
    return _weighted(
        (row.weight, _between(row.kind, row.image_features, key.text_features))
        for row, key in zip(rows, keys, strict=True)
    )


def of_pairs(blend: Blend) -> Float[Array, "B"]:
    """The likeness of the image and the text of each row."""
    return _weighted(
        (each.weight, _of_each(each.kind, each.text_features, each.image_features))
        for each in blend
    )


def _weighted(parts: Iterable[tuple[float, Array]]) -> Array:
    first, *others = (weight * part for weight, part in parts)
    return sum(others, start=first)


def _between(kind: Kind, rows: Float[Array, "R F"], keys: Float[Array, "K F"]) -> Array:
    shared = similarity(rows, keys)
    if kind == "inner":
        return shared
    return _share(shared, _size(rows)[:, None] + _size(keys)[None, :] - shared)


def _of_each(kind: Kind, left: Float[Array, "B F"], right: Float[Array, "B F"]) -> Array:
    shared = similarity_of_pairs(left, right)
    return shared if kind == "inner" else _share(shared, _size(left) + _size(right) - shared)


def _size(sets: Float[Array, "B F"]) -> Float[Array, "B"]:
    return jnp.sum(sets.astype(jnp.float32), axis=1)


def _share(shared: Array, union: Array) -> Array:
    return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1.0), 1.0)
