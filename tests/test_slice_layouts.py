"""Discs counted from below: gaps, tilts, holes and stacks; several series laid out together."""

import itertools

import numpy as np
import pytest

from data_prep.images.geometry import plane
from data_prep.images.headers import Header
from data_prep.slices import layouts

THREE_DISCS = (0.0, 35.0, 70.0)


def header(z_mm: float, *, tilt_degrees: float = 0.0, sequence: str = "T2") -> Header:
    tilt = np.radians(tilt_degrees)
    orientation = [1, 0, 0, 0, np.cos(tilt), np.sin(tilt)]
    return Header(
        kind=None, sequence=sequence, plane=plane([0, 0, z_mm], orientation, [1, 1], (1, 1))
    )


def block(bottom_mm: float, slices: int = 5, step_mm: float = 4.4, **options) -> list[Header]:
    return [header(bottom_mm + step_mm * n, **options) for n in range(slices)]


def spine(discs=THREE_DISCS, **options) -> list[Header]:
    return [h for bottom_mm in discs for h in block(bottom_mm, **options)]


def told(slices) -> dict[str, int]:
    """Disc level -> index of the slice, of one series alone."""
    found = layouts.middle_slices([slices])
    return found[0][0] if found else {}


def test_blocks_of_one_orientation_are_split_at_gaps():
    heights = [0, 4, 8, 30, 34, 38, 60, 64, 68]
    slices = [header(z) for z in heights]
    assert told(slices) == {"L5-S1": 1, "L4-L5": 4, "L3-L4": 7}
    assert told(slices[::-1]) == {"L5-S1": 7, "L4-L5": 4, "L3-L4": 1}
    order = [0, 2, 4, 6, 8, 1, 3, 5, 7]
    assert told([slices[n] for n in order]) == {"L5-S1": 5, "L4-L5": 2, "L3-L4": 8}


def test_blocks_that_touch_are_split_by_tilt():
    slices = [header(4.0 * n, tilt_degrees=25 - 10 * (n // 3)) for n in range(9)]
    assert told(slices) == {"L5-S1": 1, "L4-L5": 4, "L3-L4": 7}


def test_the_three_lowest_blocks_count_and_even_ones_take_the_lower_middle():
    slices = [header(30.0 * block + 4.4 * n) for block in range(4) for n in range(4)]
    assert told(slices) == {"L5-S1": 1, "L4-L5": 5, "L3-L4": 9}


def test_two_blocks_name_two_discs():
    slices = [header(z) for z in (0, 4.4, 40)]
    assert told(slices) == {"L5-S1": 0, "L4-L5": 2}
    # Of the two steps one is a gap, although a disc's distance is not reached by it.
    assert told([header(z) for z in (0, 4.4, 27)]) == {"L5-S1": 0, "L4-L5": 2}


@pytest.mark.parametrize(
    ("slices", "step_mm", "discs"),
    [
        (1, 4.4, THREE_DISCS),
        (2, 4.4, THREE_DISCS),
        (2, 4.4, (0.0, 27.0, 54.0)),
        (3, 4.4, (0.0, 27.0, 54.0)),
        (5, 4.4, (0.0, 27.0, 54.0)),  # 9.4 mm from block to block
        (9, 3.0, (0.0, 33.0, 66.0)),
        (20, 1.0, THREE_DISCS),
        (5, 4.4, (0.0, 30.0, 74.0)),
    ],
)
@pytest.mark.parametrize("tilt_degrees", [0.0, 25.0])
def test_blocks_of_few_or_many_slices(slices, step_mm, discs, tilt_degrees):
    found = told(spine(discs, slices=slices, step_mm=step_mm, tilt_degrees=tilt_degrees))
    middles = [slices * n + (slices - 1) // 2 for n in range(3)]
    assert found == dict(zip(("L5-S1", "L4-L5", "L3-L4"), middles, strict=True))


@pytest.mark.parametrize("lost", range(15))
def test_a_block_that_lost_a_slice_is_one(lost):
    slices = spine()
    left = [h for n, h in enumerate(slices) if n != lost]
    found = {level: slices.index(left[index]) for level, index in told(left).items()}
    for (_, index), first in zip(found.items(), (0, 5, 10), strict=True):
        assert index in (first + 1, first + 2, first + 3)
    assert list(found) == ["L5-S1", "L4-L5", "L3-L4"]


@pytest.mark.parametrize(
    "slices",
    [
        block(0, 15),
        block(0, 30, 4.0),
        block(0, 9, 4.4),
        block(0, 9, 3.0),
        block(0, 5),  # alone, it could be any disc's
        [header(0)],
        # Stacks with slices lost, here and there and at equal distances.
        [h for n, h in enumerate(block(0, 30)) if n not in (10, 20)],
        [h for n, h in enumerate(block(0, 15)) if n not in (5, 10)],
        [h for n, h in enumerate(block(0, 14)) if n != 7],
        [h for n, h in enumerate(block(0, 30)) if n % 4],
        # A stack over the two lowest discs, or with a block below it.
        [*block(0, 12), *block(75)],
        [*block(-35), *block(0, 12), *block(75)],
        # Pieces closer than discs, of slices lost in pairs or of a spine that is no adult's.
        [h for n, h in enumerate(block(0, 30)) if n % 4 < 2],
        [h for n, h in enumerate(spine()) if n not in (1, 2)],
        spine((0.0, 23.0, 46.0), slices=3),
        # The second disc, or the second and third, have no block.
        spine((0.0, 70.0)),
        spine((0.0, 70.0, 105.0)),
        spine((0.0, 105.0)),
    ],
)
def test_what_cannot_be_counted_names_no_disc(slices):
    assert told(slices) == {}


def test_one_long_stack_names_no_disc():
    assert told([header(4.4 * n) for n in range(15)]) == {}


def test_above_a_missing_block_no_disc_is_named():
    assert told(spine((0.0, 35.0, 105.0))) == {"L5-S1": 2, "L4-L5": 7}


def test_a_stack_above_the_three_lowest_discs_does_no_harm():
    slices = [*spine(), *block(105, 20)]
    assert told(slices) == {"L5-S1": 2, "L4-L5": 7, "L3-L4": 12}


L5, L4, L3 = ({level: 2} for level in ("L5-S1", "L4-L5", "L3-L4"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_series_a_disc(order):
    series = [block(THREE_DISCS[n], tilt_degrees=25 - 10 * n) for n in order]
    expected = {place: (L5, L4, L3)[n] for place, n in enumerate(order)}
    assert layouts.middle_slices(series) == [expected]


def test_upper_and_lower_discs_in_two_series():
    upper, lower = spine((70.0, 105.0, 140.0)), spine((0.0, 35.0))
    both = {0: L3, 1: {"L5-S1": 2, "L4-L5": 7}}
    assert layouts.middle_slices([upper, lower]) == [both]
    # With a disc in both.
    upper = spine((36.0, 71.0))
    both = {0: {"L4-L5": 2, "L3-L4": 7}, 1: {"L5-S1": 2, "L4-L5": 7}}
    assert layouts.middle_slices([upper, lower]) == [both]


def test_a_series_of_one_disc_scanned_again_is_no_other_disc():
    complete = {"L5-S1": 2, "L4-L5": 7, "L3-L4": 12}
    for shift_mm, tilt_degrees in ((0.0, 0.0), (2.0, 8.0), (-3.0, -8.0), (35.0, 0.0)):
        again = block(shift_mm, tilt_degrees=tilt_degrees)
        (layout,) = layouts.middle_slices([again, spine()])
        assert layout[1] == complete
        assert layout[0] == (L4 if shift_mm == 35 else L5)


def test_two_complete_series_are_not_interleaved():
    complete = {"L5-S1": 2, "L4-L5": 7, "L3-L4": 12}
    for shift_mm in (0.0, 3.0, -6.0):
        moved = spine([z + shift_mm for z in THREE_DISCS])
        assert layouts.middle_slices([spine(), moved]) == [{0: complete, 1: complete}]
    for shift_mm in (12.0, 17.5, -20.0):
        moved = spine([z + shift_mm for z in THREE_DISCS])
        assert layouts.middle_slices([spine(), moved]) == [{0: complete}, {1: complete}]


def test_a_stack_beside_blocks_is_in_no_layout():
    complete = {"L5-S1": 2, "L4-L5": 7, "L3-L4": 12}
    assert layouts.middle_slices([block(-20, 30), spine()]) == [{1: complete}]
    # Blocks that begin above what a stack shows may not begin with the lowest disc.
    assert layouts.middle_slices([block(-80, 15), spine()]) == [{1: {}}]


def test_a_gap_between_series_ends_the_count():
    lower, upper = block(0.0), spine((70.0, 105.0))
    assert layouts.middle_slices([lower, upper]) == [{0: {}, 1: {}}]


def test_places_within_the_plane_do_not_count():
    """A smaller field of view about another middle shows the same discs."""
    tilts = (30, 15, 0)
    wide = [h for z, t in zip(THREE_DISCS, tilts, strict=True) for h in block(z, tilt_degrees=t)]
    shifted = []
    for item in wide:
        corner = item.plane.corner_mm + 30 * item.plane.along_column
        orientation = [*item.plane.along_row, *item.plane.along_column]
        moved = plane(corner, orientation, [1, 1], (1, 1))
        shifted.append(Header(kind=None, sequence="T1", plane=moved))
    complete = {"L5-S1": 2, "L4-L5": 7, "L3-L4": 12}
    assert layouts.middle_slices([wide, shifted]) == [{0: complete, 1: complete}]
