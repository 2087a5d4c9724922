"""Series of images: which can be used, their slices, and the best of several."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_prep.images.headers import Header
from data_prep.records.drops import Drop, Reason
from data_prep.records.scan import ImageRef

SAME_PLACE_MM = 0.1


@dataclasses.dataclass(frozen=True)
class Slice:
    """One image of a series; `path` is relative to the images folder."""

    path: str
    header: Header


@dataclasses.dataclass(frozen=True)
class Series:
    """Axial slices of one series and one sequence, each with a geometry; `place` is for people."""

    place: str
    slices: Sequence[Slice]

    @property
    def sequence(self) -> str:
        return self.slices[0].header.known_sequence


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What could be used of a sequence: the slice of each disc level found, at least one.

    `places` are those of the series which the slices are of, by level.
    """

    slices: Mapping[str, Slice]
    places: Mapping[str, str]

    @classmethod
    def of(cls, place: str, slices: Mapping[str, Slice]) -> "Candidate":
        """From one series alone."""
        return cls(slices, dict.fromkeys(slices, place))

    @property
    def sequence(self) -> str:
        return next(iter(self.slices.values())).header.known_sequence

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Orders rivals: most discs count, then no contrast agent, then the last place."""
        contrast = any(item.header.contrast for item in self.slices.values())
        return len(self.slices), not contrast, max(self.places.values())


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
        plane = item.header.known_plane
        # The same to a tenth of a millimetre and a twentieth of a degree.
        place = np.concatenate([plane.center_mm, 100 * plane.normal])
        if any(np.abs(place - seen).max() < SAME_PLACE_MM for seen in places):
            drops.append(Drop(item.path, Reason.REPEATED_IMAGE))
        else:
            kept.append(item)
            places.append(place)
    return kept, drops


def by_frame(series: Iterable[Series]) -> list[tuple[str, list[Series]]]:
    """Series by the frame of reference that their coordinates are in, told apart by sequence too.

    Series of one study can be in different frames, after the patient was moved; published lumbar
    studies are. Their coordinates cannot be compared. An unnamed frame is its series' own.
    """
    frames: dict[tuple[str, str], dict[tuple[str, str], list[Slice]]] = {}
    for one in series:
        for item in one.slices:
            frame = item.header.frame_of_reference
            parts = frames.setdefault((frame, "" if frame else one.place), {})
            parts.setdefault((one.place, item.header.known_sequence), []).append(item)
    return [
        (frame, [Series(place, slices) for (place, _), slices in parts.items()])
        for (frame, _), parts in frames.items()
    ]


def joined(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Drop]]:
    """Series whose levels were told together as one candidate a sequence.

    Where several show a disc, the one of the highest rank does.
    """
    whole, drops = [], []
    for rivals in _by_sequence(candidates):
        slices: dict[str, Slice] = {}
        places: dict[str, str] = {}
        for candidate in sorted(rivals, key=lambda c: c.rank):
            slices |= candidate.slices
            places |= candidate.places
        whole.append(Candidate(slices, places))
        drops += _not_chosen(rivals, places.values())
    return whole, drops


def best_of_each_sequence(
    candidates: Iterable[Candidate],
) -> tuple[list[Candidate], list[Drop]]:
    """Of several candidates of one sequence, the one of the highest rank."""
    chosen, drops = [], []
    for rivals in _by_sequence(candidates):
        best = max(rivals, key=lambda c: c.rank)
        chosen.append(best)
        drops += _not_chosen(rivals, best.places.values())
    return chosen, drops


def _by_sequence(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    by_sequence: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_sequence.setdefault(candidate.sequence, []).append(candidate)
    return [rivals for _, rivals in sorted(by_sequence.items())]


def _not_chosen(candidates: Iterable[Candidate], used: Iterable[str]) -> list[Drop]:
    """One drop a series of which no slice is used."""
    places = {place for candidate in candidates for place in candidate.places.values()}
    return [Drop(place, Reason.SERIES_NOT_CHOSEN) for place in sorted(places - set(used))]


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
            plane=item.header.known_plane.view,
            sequence=item.header.known_sequence,
            path=item.path,
            sha256=file_sha256(root / item.path),
            series=item.header.series or candidate.places[level],
            frame=item.header.frame,
        )
        for level, item in candidate.slices.items()
    ]


def file_sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
