"""Which slice of an axial series shows which disc."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_prep import schema
from data_prep.drops import Drop, Reason
from data_prep.slices import blocks, series
from data_prep.slices.series import Candidate, Slice

# A disc is about 10 mm high: a slice farther away than this from a point in it shows bone.
MAX_DISTANCE_MM = 8.0


def by_blocks(place: str, slices: Sequence[Slice], drops: list[Drop]) -> Candidate | None:
    """The slices of a series by its blocks, counted from below: nominal levels.

    Args:
      place: of the series, for what is left out.
      slices: axial slices of one series, each with a geometry, in any order.
      drops: grows by what is left out.

    Returns:
      None where no block can be told.
    """
    kept, repeated = series.without_repeats(slices)
    drops += repeated
    found = blocks.middle_slices([item.header for item in kept])
    return _candidate(place, kept, found, drops)


def by_points(
    place: str,
    slices: Sequence[Slice],
    points_mm: Mapping[str, np.ndarray],
    drops: list[Drop],
) -> Candidate | None:
    """The slices of a series whose planes pass nearest to points marked on a sagittal series.

    Slices of several orientations compete on equal terms, since only distances count. A level whose
    point no slice comes near has none. The points must be in the slices' frame of reference, see
    `in_frame`.

    Args:
      place: of the series, for what is left out.
      slices: axial slices of one series, each with a geometry, in any order.
      points_mm: level -> point [3] in patient coordinates.
      drops: grows by what is left out.
    """
    kept, repeated = series.without_repeats(slices)
    drops += repeated
    found = {}
    for level, point in points_mm.items():
        distances_mm = [item.header.plane.distance_mm(point) for item in kept]
        index = int(np.argmin(distances_mm))
        if distances_mm[index] <= MAX_DISTANCE_MM:
            found[level] = index
    return _candidate(place, kept, found, drops)


def in_frame(slices: Sequence[Slice], frame_of_reference: str) -> bool:
    """Whether coordinates of a frame of reference may be compared with those of the slices.

    Series of one study can be in different frames, after the patient was moved; published lumbar
    studies are. An unnamed frame is no one's.
    """
    frames = {item.header.frame_of_reference for item in slices}
    return bool(frame_of_reference) and frames == {frame_of_reference}


def _candidate(
    place: str, slices: Sequence[Slice], found: Mapping[str, int], drops: list[Drop]
) -> Candidate | None:
    if slices and len(found) < len(schema.LEVELS):
        detail = f"{len(found)} of {len(schema.LEVELS)} discs in {len(slices)} slices"
        drops.append(Drop(place, Reason.NO_DISC_BLOCK, detail))
    if not found:
        return None
    return Candidate(place, {level: slices[index] for level, index in found.items()})
