"""Which slices of the axial series of a study show which disc, counted from below.

Nothing in a file names the disc that a block is aimed at, and the blocks of one study may be spread
over several series, or scanned again in another. So the series in one frame of reference are laid
out together before discs are counted: the lowest is L5-S1, the usual reading when no vertebra is
transitional.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from data_prep.images.headers import Header
from data_prep.records import schema
from data_prep.slices.blocks import MIN_DISC_STEP_MM, Block, disc_blocks

# Nine slices of 4.4 mm about a disc end before its neighbours. Which slice of a longer stack shows
# which disc cannot be told without the sagittal series.
MAX_BLOCK_MM = 36.0
# A disc is about 10 mm high: blocks that lie closer show the same one.
SAME_DISC_MM = 10.0
# Blocks that lie farther apart than neighbours do have a disc without one between them.
MAX_DISC_STEP_MM = 55.0
# One block alone could be any disc's.
MIN_DISCS = 2

Disc = list[tuple[int, Block]]  # the blocks that show it, each with the number of its series


def middle_slices(series: Sequence[Sequence[Header]]) -> list[dict[int, dict[str, int]]]:
    """Lays series out together and tells which of their slices show the three lowest discs.

    Series that show the same discs, or others, are counted together. One whose blocks lie between
    the discs of those, as when the patient moved, begins a further layout. A series in which one of
    the three lowest blocks is a stack across several discs is in none.

    Args:
      series: the headers of axial series in one frame of reference, each with a geometry, in any
        order.

    Returns:
      The layouts, each a dict: number of a series in it -> disc level -> index of the middle slice
      of its block. A series has no level where it shows none of these discs, and all have none
      where the discs cannot be counted.
    """
    blocks = {number: _aimed(disc_blocks(slices)) for number, slices in enumerate(series)}
    layouts: list[list[int]] = []
    # The fullest series are laid out first: the others must fit between their discs.
    for number in sorted(blocks, key=lambda number: -len(blocks[number])):
        if not blocks[number]:
            continue
        for layout in layouts:
            if all(_fit(blocks[number], blocks[other]) for other in layout):
                layout.append(number)
                break
        else:
            layouts.append([number])
    lowest_mm = min((h.known_plane.center_mm[2] for slices in series for h in slices), default=0.0)
    return [
        _levels({number: blocks[number] for number in sorted(layout)}, lowest_mm)
        for layout in layouts
    ]


def _aimed(blocks: list[Block]) -> list[Block]:
    """The blocks that can be one disc's each, or none where one of the three lowest is not."""
    lowest = blocks[: len(schema.LEVELS)]
    if any(block.length_mm > MAX_BLOCK_MM for block in lowest):
        return []
    # Blocks that touch are tilted to a disc each. Parallel ones this close are pieces of a stack.
    if any(
        block.is_parallel_to(other) and block.distance_mm(other) < MIN_DISC_STEP_MM
        for block, other in itertools.pairwise(blocks[: len(lowest) + 1])
    ):
        return []
    return [block for block in blocks if block.length_mm <= MAX_BLOCK_MM]


def _fit(blocks: Iterable[Block], others: Iterable[Block]) -> bool:
    """Whether every block of two series shows the same disc as one of the other, or another."""
    return not any(
        SAME_DISC_MM <= block.distance_mm(other) < MIN_DISC_STEP_MM
        for block, other in itertools.product(blocks, others)
    )


def _levels(blocks: Mapping[int, list[Block]], lowest_mm: float) -> dict[int, dict[str, int]]:
    """The levels of the series of one layout; `lowest_mm` is the height of the lowest slice."""
    found: dict[int, dict[str, int]] = {number: {} for number in blocks}
    counted = _counted(_discs(blocks), lowest_mm)
    for level, disc in zip(reversed(schema.LEVELS), counted, strict=False):
        for number, block in disc:
            found[number].setdefault(level, block.middle)
    return found


def _discs(blocks: Mapping[int, list[Block]]) -> list[Disc]:
    """The discs that some blocks show, lowest first."""
    discs: list[Disc] = []
    numbered = [(number, block) for number, own in blocks.items() for block in own]
    for number, block in sorted(numbered, key=lambda item: item[1].center_mm[2]):
        for disc in discs:
            if block.distance_mm(disc[0][1]) < SAME_DISC_MM:
                disc.append((number, block))
                break
        else:
            discs.append([(number, block)])
    return discs


def _counted(discs: Sequence[Disc], lowest_mm: float) -> list[Disc]:
    """The lowest discs, up to the first gap in which one is missing; none where it is too few."""
    counted = list(discs[:1])
    for (_, lower), (_, upper) in itertools.pairwise(disc[0] for disc in discs):
        if upper.distance_mm(lower) > MAX_DISC_STEP_MM:
            break
        counted.append(discs[len(counted)])
    # A stack may show discs below the lowest block.
    is_lowest = discs and discs[0][0][1].center_mm[2] - lowest_mm <= MAX_DISC_STEP_MM
    return counted if is_lowest and len(counted) >= MIN_DISCS else []
