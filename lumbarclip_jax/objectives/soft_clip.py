"""Soft CLIP, the loss of LumbarCLIP: targets softened by how alike the pairs are."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.data.fields import CLASSES, OF_TEXT, SIGNS
from lumbarclip_jax.losses import TARGETS, Targets
from lumbarclip_jax.losses.likeness import Kind, Likeness
from lumbarclip_jax.losses.soft_clip import soft_clip_loss
from lumbarclip_jax.objectives.contrast import ImageText, Pairs
from lumbarclip_jax.objectives.term import Batch, Params, between, one_of

# Forms of a likeness by labels: the field of a task that it is made of, and its kind.
LIKENESSES: dict[str, tuple[str, Kind]] = {
    "classes": (CLASSES, "inner"),
    "signs": (SIGNS, "inner"),
    "jaccard": (SIGNS, "jaccard"),
}


@dataclasses.dataclass(frozen=True)
class SoftClip(ImageText):
    """`losses.soft_clip`, which says what the settings do.

    With a `likeness` by labels, targets say how alike an image and a text are by what is known of
    both, and not by their embeddings (MedCLIP, arXiv 2210.10163, equations 3 to 5). It is a sum of
    kinds, each (form, tasks, weight), where the forms are

        classes   how many tasks of two rows have the same class: the inner product of one-hot
                  vectors, 0 where a label is missing
        signs     of tasks of two classes: the inner product of vectors of 1 (positive), -1
                  (negative) and 0 (unknown or uncertain), those of MedCLIP
        jaccard   of tasks of two classes: the share of the positive ones of two rows that both have

    A text has the labels of its own where the data set has some, else those of its image. With
    `target_scale` 1 and `hard_weight` 0 this is MedCLIP's loss. Of a single task of two classes
    the targets ask for a ratio of e to 1 between rows of the same class and of the other, and for
    nothing within a class: at equal numbers no loss is below log(B / 2) + log(e + 1) - e / (e + 1).
    """

    target_scale: float = 10.0
    targets: Targets = "row"
    detach_targets: bool = True
    hard_weight: float = 0.9
    likeness: tuple[Any, ...] = ()  # of (form, tasks, weight)

    @property
    def reads(self) -> tuple[str, ...]:
        fields = [name for form, tasks, _ in self.likeness for name in _fields(form, tasks)]
        of_texts = [f"{OF_TEXT}{name}" for name in fields]
        return tuple(dict.fromkeys((*super().reads, *fields, *of_texts)))

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from one_of("targets", self.targets, TARGETS)
        yield from between("target_scale", self.target_scale, 0)
        yield from between("hard_weight", self.hard_weight, 0, 1)
        yield from self._faults_of_likeness()

    def _faults_of_likeness(self) -> Iterator[str]:
        if self.likeness and (self.targets != "row" or not self.detach_targets):
            yield "likeness of labels is constant: set targets='row' and detach_targets=True"
        for kind in self.likeness:
            if not (
                isinstance(kind, tuple)
                and len(kind) == 3
                and kind[0] in LIKENESSES
                and isinstance(kind[1], tuple)
                and kind[1]
                and isinstance(kind[2], int | float)
                and kind[2] >= 0
            ):
                yield (
                    f"likeness names {kind!r}, where each is (form, tasks, weight), such as "
                    f"('classes', ('pfirrmann',), 1.0), with a form of {', '.join(LIKENESSES)}"
                )

    def of_pairs(
        self, params: Params, pairs: Pairs, batch: Batch, form: dict[str, Any]
    ) -> Float[Array, ""]:
        return soft_clip_loss(
            *pairs,
            params["logit_scale"],
            target_scale=self.target_scale,
            targets=self.targets,
            detach_targets=self.detach_targets,
            hard_weight=self.hard_weight,
            likeness=[_likeness(way, tasks, weight, batch) for way, tasks, weight in self.likeness]
            or None,
            **form,
        )

    @property
    def units(self) -> float:
        """Of the loss in blocks, as `losses/soft_clip_blockwise.py` counts them.

        Targets by labels have features of a few numbers: their products count nothing.
        """
        if self.hard_weight == 1.0 or self.likeness:
            return 4 + 8
        return (8 if self.targets == "row" else 12) + (12 if self.detach_targets else 16)


def _fields(form: str, tasks: tuple[str, ...]) -> list[str]:
    return [f"{LIKENESSES[form][0]}{task}" for task in tasks]


def _likeness(form: str, tasks: tuple[str, ...], weight: float, batch: Batch) -> Likeness:
    def features(prefix: str) -> Array:
        vectors = [batch[f"{prefix}{name}"] for name in _fields(form, tasks)]
        joined = jnp.concatenate(vectors, axis=-1)
        return jnp.maximum(joined, 0.0) if form == "jaccard" else joined

    return Likeness(features(""), features(OF_TEXT), float(weight), LIKENESSES[form][1])
