"""Which slice of the axial series of a study shows which disc: by blocks, or by marked points."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.records import schema
from data_prep.records.drops import Drop, Reason
from data_prep.slices import layouts
from data_prep.slices.series import Candidate, Series, joined, without_repeats

# A disc is about 10 mm high: a slice farther away than this from a point in it shows bone.
MAX_DISTANCE_MM = 8.0
# Half a step of thick slices: a series that runs through a point has a slice this close to it.
MAX_FARTHER_MM = 2.5

# Series with the index of the slice of each level.
Told = Sequence[tuple[Series, Mapping[str, int]]]


def by_blocks(series: Sequence[Series], drops: list[Drop]) -> list[Candidate]:
    """The slices of series by their blocks, counted from below: nominal levels.

    Args:
      series: all axial series of a study in one frame of reference.
      drops: grows by what is left out.

    Returns:
      At most one candidate a sequence, or several where the series could not be laid out together.
    """
    series = _without_repeats(series, drops)
    untold = dict(enumerate(series))
    candidates = []
    for layout in layouts.middle_slices([[item.header for item in s.slices] for s in series]):
        told = [(untold.pop(number), levels) for number, levels in layout.items()]
        candidates += _candidates(told, drops)
    for stack in untold.values():
        _candidates([(stack, {})], drops)
    return candidates


def by_points(
    series: Sequence[Series], points_mm: Mapping[str, np.ndarray], drops: list[Drop]
) -> list[Candidate]:
    """The slices of series whose planes pass nearest to points marked on a sagittal series.

    Slices of several orientations compete on equal terms, since only distances count. A level whose
    point no slice comes near has none. Of several series of a sequence those show a disc that run
    through its point, not those that end beside it.

    Args:
      series: all axial series of a study in the frame of reference of the points.
      points_mm: level -> point [3] in patient coordinates.
      drops: grows by what is left out.

    Returns:
      At most one candidate a sequence.
    """
    series = _without_repeats(series, drops)
    told: list[tuple[Series, dict[str, int]]] = [(one, {}) for one in series]
    for level, point in points_mm.items():
        distances_mm = [
            np.array([item.header.known_plane.distance_mm(point) for item in one.slices])
            for one in series
        ]
        for (one, found), own_mm in zip(told, distances_mm, strict=True):
            nearest_mm = min(
                other_mm.min()
                for other, other_mm in zip(series, distances_mm, strict=True)
                if other.sequence == one.sequence
            )
            if own_mm.min() <= min(MAX_DISTANCE_MM, nearest_mm + MAX_FARTHER_MM):
                found[level] = int(np.argmin(own_mm))
    return _candidates(told, drops)


def _without_repeats(series: Sequence[Series], drops: list[Drop]) -> list[Series]:
    cleared = []
    for one in series:
        kept, repeated = without_repeats(one.slices)
        drops += repeated
        cleared.append(Series(one.place, kept))
    return cleared


def _candidates(told: Told, drops: list[Drop]) -> list[Candidate]:
    """One candidate a sequence from series whose levels were told together."""
    candidates = []
    for sequence in sorted({one.sequence for one, _ in told}):
        own = [(one, levels) for one, levels in told if one.sequence == sequence]
        showing = [(one, levels) for one, levels in own if levels]
        found = {level for _, levels in showing for level in levels}
        if len(found) < len(schema.LEVELS):
            # Discs that are missing among several series are one entry.
            for group in [own] if showing else [[part] for part in own]:
                count = sum(len(one.slices) for one, _ in group)
                detail = f"{len(found)} of {len(schema.LEVELS)} discs in {count} slices"
                drops.append(Drop(group[0][0].place, Reason.NO_DISC_BLOCK, detail))
        if showing:  # the others show other discs
            others = [one.place for one, levels in own if not levels]
            drops += [Drop(place, Reason.SERIES_NOT_CHOSEN) for place in others]
        candidates += [
            Candidate.of(one.place, {level: one.slices[i] for level, i in levels.items()})
            for one, levels in showing
        ]
    whole, not_chosen = joined(candidates)
    drops += not_chosen
    return whole
