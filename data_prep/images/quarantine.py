"""Which DICOM images may not be used at all, whatever they show.

Pixels cannot be searched for text reliably, so an image is judged by how it came to be: only what
the scanner made itself, with nothing drawn into it, is used.
"""

import re

import pydicom
from pydicom.multival import MultiValue

from data_prep.images.fields import per_frame
from data_prep.records.drops import Reason

# An overlay is a group of its own, 6000, 6002 ... 601E (PS3.3 C.9.2).
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
OVERLAY_ROWS, OVERLAY_BITS, OVERLAY_BIT, OVERLAY_DATA = 0x0010, 0x0100, 0x0102, 0x3000

# What `kind` looks at: a reader of headers that skips other fields must read these.
FIELDS = (
    "BurnedInAnnotation",
    "ConversionType",
    "DateOfSecondaryCapture",
    "ImageType",
    "Modality",
    "PerFrameFunctionalGroupsSequence",
    "SeriesDescription",
    "SharedFunctionalGroupsSequence",
    "SOPClassUID",
    *(
        group << 16 | element
        for group in OVERLAY_GROUPS
        for element in (OVERLAY_ROWS, OVERLAY_BITS, OVERLAY_BIT, OVERLAY_DATA)
    ),
)

# Left out by default; `--keep_doubtful` takes these, and none of the sure ones.
DOUBTFUL = frozenset({Reason.DOUBTFUL_OVERLAY, Reason.DOUBTFUL_ORIGIN})

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_MR = {f"{_STORAGE}4", f"{_STORAGE}4.1", f"{_STORAGE}4.4"}
_SECONDARY_CAPTURE = f"{_STORAGE}7"
# Presentation states, waveforms, raw data, structured and dose reports, encapsulated documents.
_NO_IMAGE = tuple(f"{_STORAGE}{number}." for number in ("9", "11", "66", "88", "104"))
_SCREEN_TYPE = re.compile(r"SCREEN|CAPTURE|SAVE|REPORT|PASTE|PRINT|ANNOT|POSDISP|DISPLAY|SCANNED")
_SCREEN_DESCRIPTION = re.compile(
    r"screen ?(save|shot|cap|dump)|secondary cap|snapshot|pos ?disp|\bdose\b|\breport\b|phoenix"
    r"|(patient|exam\w*) protocol|key ?(image|object)|\bscanned\b|document|\bprint"
)
_LOCALIZER_DESCRIPTION = re.compile(r"locali[sz]er|survey|scout")


def kind(dataset: pydicom.Dataset, frame: int = 0) -> Reason | None:
    """None for an original image, else the reason to leave it out; one that is sure comes first.

    The frames of an enhanced image may differ, and say so themselves.
    """
    frame_types = _types(per_frame(dataset, frame, "MRImageFrameTypeSequence", "FrameType"))
    types = {*_types(dataset.get("ImageType")), *frame_types}
    description = " ".join(_values(dataset, "SeriesDescription")).lower()
    if _burned_in(dataset).startswith("Y"):
        return Reason.BURNED_IN
    if "".join(_values(dataset, "SOPClassUID")).startswith(_NO_IMAGE):
        return Reason.NO_IMAGE
    if (
        "".join(_values(dataset, "SOPClassUID")).startswith(_SECONDARY_CAPTURE)
        or _values(dataset, "ConversionType")
        or _values(dataset, "DateOfSecondaryCapture")
        or types & {"DERIVED", "SECONDARY"}
        or any(map(_SCREEN_TYPE.search, types))
        or _SCREEN_DESCRIPTION.search(description)
    ):
        return Reason.DERIVED_OR_SECONDARY
    if _values(dataset, "Modality") not in ([], ["MR"]):
        return Reason.NOT_MR
    if "LOCALIZER" in types or _LOCALIZER_DESCRIPTION.search(description):
        return Reason.LOCALIZER
    overlays = [group for group in OVERLAY_GROUPS if _has_overlay(dataset, group)]
    if any(_lies_in_pixels(dataset, group) for group in overlays):
        return Reason.OVERLAY
    if overlays:
        return Reason.DOUBTFUL_OVERLAY
    if _burned_in(dataset) != "NO" and _is_unusual(dataset, frame_types):
        return Reason.DOUBTFUL_ORIGIN
    return None


def _values(dataset: pydicom.Dataset, field: str) -> list[str]:
    return _texts(dataset.get(field))


def _types(value: object) -> list[str]:
    return [text.upper() for text in _texts(value)]


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [str(value).strip() for value in values if value is not None and str(value).strip()]


def _burned_in(dataset: pydicom.Dataset) -> str:
    return "".join(_values(dataset, "BurnedInAnnotation")).upper()


def _has_overlay(dataset: pydicom.Dataset, group: int) -> bool:
    elements = (OVERLAY_ROWS, OVERLAY_BIT, OVERLAY_DATA)
    return any((group, element) in dataset for element in elements)


def _lies_in_pixels(dataset: pydicom.Dataset, group: int) -> bool:
    """Whether an overlay takes bits of the pixels, as older files have it (PS3.3 C.9.2.1.3)."""

    def number(element: int) -> int:
        return int(dataset[group, element].value or 0) if (group, element) in dataset else 0

    return (
        number(OVERLAY_BIT) > 0 or number(OVERLAY_BITS) > 1 or (group, OVERLAY_DATA) not in dataset
    )


def _is_unusual(dataset: pydicom.Dataset, frame_types: list[str]) -> bool:
    """Whether what the file says of its making is not what a scanner says, or is nothing."""
    classes, types = _values(dataset, "SOPClassUID"), _types(dataset.get("ImageType"))
    if not (classes or types or _values(dataset, "Modality")):
        return True
    if types[:1] == ["MIXED"]:  # of a file whose frames differ (PS3.3 C.8.13.3.1.1)
        types = frame_types or types
    original = types[:2] == ["ORIGINAL", "PRIMARY"]
    return bool(classes and classes[0] not in _MR) or bool(types and not original)
