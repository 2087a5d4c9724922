"""The blocks of parallel slices that an axial series consists of.

A lumbar protocol aims a short block at each disc. Blocks are told apart by orientation and gaps.
Distances are measured: what headers state as SpacingBetweenSlices may be the gap between two
slices, twice the step, negative or absent.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_prep.images.headers import Header
from data_prep.slices.series import SAME_PLACE_MM

MAX_TILT_DEGREES = 2.0
# The slices of one block are evenly spaced; a step this much longer leads to the next block, but
# for one of just twice the usual: a slice was lost there.
MIN_GAP_RATIO, LOST_SLICE_TOLERANCE = 1.6, 0.03
# Lumbar discs follow each other at 28 to 46 mm, from middle to middle; with some inaccuracy of aim.
MIN_DISC_STEP_MM = 24.0


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Parallel slices that follow each other: `slices` are their indices, lowest first."""

    slices: list[int]
    normal: np.ndarray  # [3]
    center_mm: np.ndarray  # [3]
    length_mm: float  # from the first slice to the last

    @property
    def middle(self) -> int:
        """The index of the middle slice; of an even number, of the lower of the middle two."""
        return self.slices[(len(self.slices) - 1) // 2]

    def is_parallel_to(self, other: "Block") -> bool:
        return _parallel(self.normal, other.normal)

    def distance_mm(self, other: "Block") -> float:
        """Along the mean normal, so that the place within the plane does not count."""
        normal = self.normal + other.normal
        return abs(float((self.center_mm - other.center_mm) @ normal / np.linalg.norm(normal)))


def disc_blocks(slices: Sequence[Header]) -> list[Block]:
    """The blocks of one series, lowest first.

    Args:
      slices: headers with a geometry, in any order.
    """
    centers_mm = np.array([header.known_plane.center_mm for header in slices]).reshape(-1, 3)
    groups: list[tuple[np.ndarray, list[int]]] = []
    for index in np.argsort(centers_mm[:, 2], kind="stable").tolist():
        normal = slices[index].known_plane.normal
        for first_normal, group in groups:
            if _parallel(normal, first_normal):
                group.append(index)
                break
        else:
            groups.append((normal, [index]))
    blocks = []
    for normal, group in groups:
        depths_mm = centers_mm[group] @ normal
        order = np.argsort(depths_mm, kind="stable")
        for part in np.split(order, _gaps(depths_mm[order])):
            indices = np.array(group)[part].tolist()
            center_mm = centers_mm[indices].mean(axis=0)
            blocks.append(Block(indices, normal, center_mm, float(np.ptp(depths_mm[part]))))
    return sorted(blocks, key=lambda block: block.center_mm[2])


def _parallel(normal: np.ndarray, other: np.ndarray) -> bool:
    return bool(normal @ other > np.cos(np.radians(MAX_TILT_DEGREES)))


def _gaps(depths_mm: np.ndarray) -> np.ndarray:
    """Where the next block begins in sorted depths."""
    steps = np.diff(depths_mm)
    within = steps[(steps > SAME_PLACE_MM) & (steps < MIN_DISC_STEP_MM)]
    # The lower of the middle two: of two steps, one may be a gap.
    usual = np.quantile(within, 0.5, method="lower") if len(within) else np.inf
    lost_slice = np.abs(steps - 2 * usual) <= LOST_SLICE_TOLERANCE * usual
    gap = (steps > MIN_GAP_RATIO * usual) & ~lost_slice
    return np.flatnonzero(gap | (steps >= MIN_DISC_STEP_MM)) + 1
