"""Which slice of an axial series shows which disc, from the series alone.

A lumbar protocol aims a short block of parallel slices at each disc. Nothing in the file names the
disc, so the blocks are told apart by orientation and gaps and counted from below: the lowest is
L5-S1, the usual reading when no vertebra is transitional.
"""

from collections.abc import Sequence

import numpy as np

from data_prep import schema
from data_prep.images.headers import Header

MAX_TILT_DEGREES = 2.0
# The slices of one block are evenly spaced; a step this much longer leads to the next block.
MIN_GAP_RATIO = 1.6
# Five slices of 4.4 mm cover a disc. Twice as many in one piece cover more than one disc, and
# which slice shows which disc cannot be told without the sagittal series.
MAX_BLOCK_SLICES = 9


def middle_slices(slices: Sequence[Header]) -> dict[str, int]:
    """Maps each disc level that has a block to the index of its block's middle slice.

    Of an even number of slices the lower of the middle two is taken. Returns nothing when any of
    the three lowest blocks is too long to be one disc's.

    Args:
      slices: the headers of one axial series, each with a geometry, in any order.
    """
    blocks = disc_blocks(slices)[: len(schema.LEVELS)]
    if any(len(block) > MAX_BLOCK_SLICES for block in blocks):
        return {}
    lowest_first = reversed(schema.LEVELS)
    return {
        level: block[(len(block) - 1) // 2]
        for level, block in zip(lowest_first, blocks, strict=False)
    }


def disc_blocks(slices: Sequence[Header]) -> list[list[int]]:
    """Indices of the slices by block, lowest block first and, within it, lowest slice first."""
    heights = np.array([header.plane.center_mm[2] for header in slices])
    groups: list[tuple[np.ndarray, list[int]]] = []
    for index in np.argsort(heights, kind="stable"):
        normal = slices[index].plane.normal
        for first_normal, group in groups:
            if normal @ first_normal > np.cos(np.radians(MAX_TILT_DEGREES)):
                group.append(int(index))
                break
        else:
            groups.append((normal, [int(index)]))
    blocks = [block for normal, group in groups for block in _split(slices, normal, group)]
    return sorted(blocks, key=lambda block: np.mean(heights[block]))


def _split(slices: Sequence[Header], normal: np.ndarray, group: list[int]) -> list[list[int]]:
    """Sorts parallel slices along their normal and splits them where the step is too long."""
    depths_mm = np.array([slices[index].plane.center_mm @ normal for index in group])
    order = np.argsort(depths_mm, kind="stable")
    steps = np.diff(depths_mm[order])
    stated = [slices[index].slice_gap_mm for index in group if slices[index].slice_gap_mm]
    usual = np.median(stated) if stated else np.median(steps) if len(steps) else 0.0
    cuts = np.flatnonzero(steps > MIN_GAP_RATIO * usual) + 1
    return [part.tolist() for part in np.split(np.array(group)[order], cuts)]
