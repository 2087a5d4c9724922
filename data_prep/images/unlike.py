"""Files that are unlike what a model was trained on, told by their headers."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from data_prep.images import pixels, volume
from data_prep.images.dicom import Rejected
from data_prep.images.headers import Header, read_headers
from data_prep.records import schema
from data_prep.records.drops import Reason

# How many times larger than the data set's pixels a file's may be, and how many times smaller:
# scanners interpolate slices to up to 1024 x 1024, and smaller pixels lose nothing.
LARGER, SMALLER = 2, 4
File = str | os.PathLike


def in_words(files: Sequence[tuple[File, int]], manifest: Mapping[str, Any]) -> str:
    """Which DICOM files are unlike a model's training data, and why; empty when all are like it.

    They are counted by what is unlike, and the first of each is named. Pictures and volumes have no
    such headers, and nothing is said of them. What speaks for text in the pixels alone is no matter
    here.

    Args:
      files: paths, each with the number of the frame that is meant; all are there, with that frame.
      manifest: of that data set, or what a run kept of it.
    """
    known = _views(manifest)
    spacing_mm = pixels.Rendering(**manifest["image"]).spacing_mm
    # The headers of RSNA's files name no sequence: a table does.
    told = not manifest["source"].startswith("rsna")
    read: dict[File, list[Header] | Rejected] = {}
    number, unlike, found = 0, 0, {}
    for path, frame in files:
        if pixels.is_picture(pathlib.Path(path)) or volume.is_volume(pathlib.Path(path)):
            continue
        number += 1
        whys = list(_whys(_header(path, frame, read), known, spacing_mm, told))
        unlike += bool(whys)
        for why in whys:
            found.setdefault(why, []).append(path)
    if not found:
        return ""
    views = " and ".join(f"{plane} {'/'.join(names)}" for plane, names in known.items())
    reasons = "; ".join(
        f"{why} ({len(paths)}, {'first ' * (len(paths) > 1)}{paths[0]})"
        for why, paths in found.items()
    )
    return (
        f"{unlike} of {number} DICOM files are unlike the {views} slices that the model was "
        f"trained on: {reasons}. What it says of them means little"
    )


def _views(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Plane -> sequences of the images."""
    if "views" in manifest:
        return {plane: list(names) for plane, names in manifest["views"].items()}
    # Data sets of earlier versions do not count them.
    sagittal = manifest["source"].startswith("spider")
    return {"sagittal" if sagittal else "axial": list(schema.SEQUENCES)}


def _header(path: File, frame: int, read: dict[File, list[Header] | Rejected]) -> Header | Rejected:
    if path not in read:
        try:
            read[path] = read_headers(pathlib.Path(path), keep_doubtful=True)
        except Rejected as rejected:
            read[path] = rejected
    found = read[path]
    return found if isinstance(found, Rejected) else found[frame]


def _whys(
    header: Header | Rejected, known: Mapping[str, list[str]], spacing_mm: float, told: bool
) -> Iterator[str]:
    if isinstance(header, Rejected):
        yield ": ".join(filter(None, (header.reason.meaning, header.detail)))
        return
    if header.kind:
        yield header.kind.meaning
        return
    sequences: Iterable[str] = schema.SEQUENCES
    if header.plane is None:
        yield Reason.NO_GEOMETRY.meaning
    elif header.plane.view not in known:
        yield header.plane.view
    else:
        sequences = known[header.plane.view]
    if header.sequence is None and told:
        yield Reason.UNKNOWN_SEQUENCE.meaning
    elif header.sequence is not None and header.sequence not in sequences:
        yield header.sequence
    if header.plane is not None and max(header.plane.spacing_mm) > LARGER * spacing_mm:
        yield f"pixels of more than {LARGER * spacing_mm:g} mm"
    elif header.plane is not None and min(header.plane.spacing_mm) < spacing_mm / SMALLER:
        yield f"pixels of less than {spacing_mm / SMALLER:g} mm"
