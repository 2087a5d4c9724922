"""Series of images: which can be used, their slices, and the best of several."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_prep.drops import Drop, Reason
from data_prep.images.headers import Header
from data_prep.scan import ImageRef

SAME_PLACE_MM = 0.1


@dataclasses.dataclass(frozen=True)
class Slice:
    """One image of a series; `path` is relative to the images folder."""

    path: str
    header: Header


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A series that could be used: the slice of each disc level found; `place` is for people."""

    place: str
    slices: Mapping[str, Slice]

    @property
    def sequence(self) -> str:
        return next(iter(self.slices.values())).header.sequence

    @property
    def contrast(self) -> bool:
        return next(iter(self.slices.values())).header.contrast


def reason_against(header: Header) -> Reason | None:
    """Why an image is no axial T1 or T2 slice of a patient, or None when it is one."""
    if header.kind:
        return header.kind
    if header.plane is None:
        return Reason.NO_GEOMETRY
    if header.plane.view != "axial":
        return Reason.NOT_AXIAL
    if header.sequence is None:
        return Reason.UNKNOWN_SEQUENCE
    return None


def without_repeats(slices: Sequence[Slice]) -> tuple[list[Slice], list[Drop]]:
    """The slices of one series without those that show the place of an earlier one.

    The echoes, water and fat images or second acquisitions that some scanners file in one series
    share place and orientation; the first by instance number is the usual one.
    """
    kept: list[Slice] = []
    places: list[np.ndarray] = []
    drops = []
    for item in sorted(slices, key=lambda s: (s.header.instance, s.header.frame, s.path)):
        plane = item.header.plane
        # The same to a tenth of a millimetre and a twentieth of a degree.
        place = np.concatenate([plane.center_mm, 100 * plane.normal])
        if any(np.abs(place - seen).max() < SAME_PLACE_MM for seen in places):
            drops.append(Drop(item.path, Reason.REPEATED_IMAGE))
        else:
            kept.append(item)
            places.append(place)
    return kept, drops


def best_of_each_sequence(
    candidates: Iterable[Candidate],
) -> tuple[list[Candidate], list[Drop]]:
    """Of several series of one sequence, the one to use.

    The one that shows most discs counts, then one without contrast agent, then the last by place.
    """
    by_sequence: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_sequence.setdefault(candidate.sequence, []).append(candidate)
    chosen, drops = [], []
    for _, rivals in sorted(by_sequence.items()):
        best = max(rivals, key=lambda c: (len(c.slices), not c.contrast, c.place))
        chosen.append(best)
        drops += [Drop(c.place, Reason.SERIES_NOT_CHOSEN) for c in rivals if c is not best]
    return chosen, drops


def identities(slices: Iterable[Slice]) -> frozenset[str]:
    """What the headers of some slices say of persons."""
    return frozenset().union(*(item.header.identities for item in slices))


def image_refs(
    candidate: Candidate, root: pathlib.Path, *, patient: str, study: str
) -> list[ImageRef]:
    """The images of a series; reads each of its files once to hash it."""
    return [
        ImageRef(
            patient=patient,
            study=study,
            level=level,
            plane=item.header.plane.view,
            sequence=item.header.sequence,
            path=item.path,
            sha256=file_sha256(root / item.path),
            series=item.header.series or candidate.place,
            frame=item.header.frame,
        )
        for level, item in candidate.slices.items()
    ]


def file_sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
