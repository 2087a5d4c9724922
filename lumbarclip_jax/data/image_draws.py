"""The images of a pair as they are drawn for training: its own, and others of its study.

Several views of one study are the multi-view supervision of CXR-CLIP (arXiv 2310.13292), where a
study of one image is seen twice, each time augmented anew.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from data_prep.records.schema import WHOLE_SPINE
from lumbarclip_jax.data.fields import is_of_level
from lumbarclip_jax.data.tasks import Task

SAME = "same"


class View(NamedTuple):
    """What images of a study show [N], or one of them."""

    level: np.ndarray
    sequence: np.ndarray


def _neighbour(own: View, others: View) -> np.ndarray:
    return (others.level == own.level) & (others.sequence == own.sequence)


def _sequence(own: View, others: View) -> np.ndarray:
    return (others.level == own.level) & (others.sequence != own.sequence)


def _level(own: View, others: View) -> np.ndarray:
    of_one_plane = (others.level != WHOLE_SPINE) & (own.level != WHOLE_SPINE)
    return of_one_plane & (others.level != own.level) & (others.sequence == own.sequence)


def _plane(own: View, others: View) -> np.ndarray:
    return (others.level == WHOLE_SPINE) != (own.level == WHOLE_SPINE)


# Which images of a study are another view of one: an array of truths [N].
KINDS: dict[str, Callable[[View, View], np.ndarray] | None] = {
    SAME: None,  # the image itself, augmented anew
    "neighbour": _neighbour,  # another slice of its level and sequence
    "sequence": _sequence,  # its level in another sequence
    "level": _level,  # another level in its sequence
    "plane": _plane,  # the whole spine of an axial slice, and back
}
# Of these the second image shows another disc than the first, whose level is that of its row.
OF_ANOTHER_LEVEL = ("level", "plane")


@dataclasses.dataclass(frozen=True)
class ImageDraws:
    """How the images of a pair are chosen.

    Attributes:
      views: V, images of a pair; the first is that of its row.
      others: names of `KINDS` that the further ones are drawn from: first a kind, of those that the
        study has, then an image of it. A study without any of them gives the image itself again.
    """

    views: int = 1
    others: tuple[str, ...] = (SAME,)

    @classmethod
    def of(cls, data: ConfigDict) -> "ImageDraws":
        """Those of `config.data`."""
        return cls(data.image_views, tuple(data.other_images))

    def fault(self, level_prefix: bool) -> str:
        """A sentence on settings that cannot be, else "".

        Args:
          level_prefix: whether a text begins with the disc level of its image.
        """
        named = f"data.other_images={self.others}"
        if unknown := [name for name in self.others if name not in KINDS]:
            return f"{named} names {unknown[0]!r}, which is not one of {', '.join(KINDS)}"
        if not self.others:
            return f"{named} names nothing that a second image could be: ('{SAME}',) is the same"
        if self.shows_other_levels and level_prefix:
            return (
                f"{named} with data.level_prefix=True pairs a slice with the name of another disc: "
                "set data.level_prefix=False"
            )
        return ""

    @property
    def shows_other_levels(self) -> bool:
        """Whether a further image may show another disc than the first."""
        return self.views > 1 and bool(set(self.others) & set(OF_ANOTHER_LEVEL))

    def fault_of_fields(self, fields: Sequence[str], tasks: Mapping[str, Task]) -> str:
        """A sentence on a field of a batch that is of the first image's disc alone, else "".

        Args:
          fields: see `data.fields`.
          tasks: those that are known; a field of any other is not looked at.
        """
        of_level = [field for field in fields if is_of_level(field, tasks)]
        if not (self.shows_other_levels and of_level):
            return ""
        return (
            f"the objective reads {of_level[0]!r}, which is of the level of the first image, and "
            f"data.other_images={self.others} shows other levels beside it: leave out "
            f"{' and '.join(OF_ANOTHER_LEVEL)}, or the term that reads it"
        )

    def __call__(self, study: "Study", seed: int) -> list[int]:
        """Rows of the further images [V - 1] of an image; equal for equal seeds."""
        drawn = [study.own]
        for view in range(1, self.views):
            rng = np.random.default_rng((seed, view, 3))
            new = [candidates for kind in self.others if len(candidates := study.rows(kind, drawn))]
            drawn.append(int(rng.choice(new[rng.integers(len(new))])) if new else study.own)
        return drawn[1:]


@dataclasses.dataclass(frozen=True)
class Study:
    """The images of a study around one of them, `own`, by their rows in the split."""

    own: int
    images: np.ndarray  # [N] rows
    shows: View  # of each

    def rows(self, kind: str, drawn: Sequence[int] = ()) -> np.ndarray:
        """Rows that are such another view, but for those that are `drawn` already."""
        is_other = KINDS[kind]
        if is_other is None:
            return np.array([self.own])
        own = View(*(of[self.images == self.own] for of in self.shows))
        found = self.images[is_other(own, self.shows)]
        return found[~np.isin(found, [self.own, *drawn])]


class Studies:
    """Looks up the study of a row.

    Args:
      columns: of the split.
      used: rows of it that are trained on; no other is another view.
    """

    def __init__(self, columns, used: np.ndarray):
        self._shows = View(columns.level, columns.sequence)
        number = np.unique(columns.study[used], return_inverse=True)[1]
        order = np.argsort(number, kind="stable")
        self._rows = used[order]
        self._ends = np.cumsum(np.bincount(number))
        self._of_row = dict(zip(used.tolist(), number.tolist(), strict=True))

    def __call__(self, row: int) -> Study:
        number = self._of_row[row]
        begin = self._ends[number - 1] if number else 0
        rows = self._rows[begin : self._ends[number]]
        return Study(row, rows, View(*(of[rows] for of in self._shows)))

    def alone(self, kinds: Sequence[str]) -> int:
        """How many rows have no other view of these kinds, and are seen again themselves."""
        asked = [kind for kind in kinds if kind != SAME]
        return sum(not any(len(self(row).rows(kind)) for kind in asked) for row in self._of_row)


ONE_IMAGE = ImageDraws()
