"""Values of a DICOM header: those of one frame, and numbers as people's software writes them."""

import re

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from data_prep.images.dicom import Rejected
from data_prep.records.drops import Reason

GEOMETRY = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
# A decimal or integer string (PS3.5 6.2), or one with the decimal comma of many countries.
_NUMBER = re.compile(r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]{1,2})?")
_TEXT = frozenset({"CS", "DS", "IS", "LO", "LT", "SH", "ST", "UC", "UT"})


def per_frame(
    dataset: pydicom.Dataset, frame: int, groups: str, field: str, default: object = None
) -> object:
    """A value of one frame.

    An enhanced image holds it in a functional group, of the frame or shared by all (PS3.3
    C.7.6.16); any other image holds it at its top.
    """
    return _place(dataset, frame, groups, field).get(field, default)


def numbers(
    dataset: pydicom.Dataset, field: str, frame: int = 0, groups: str = ""
) -> tuple[float, ...]:
    """All numbers of a field, of one frame as `per_frame` has it; none where it is empty.

    Raises:
      Rejected: one of them is no number; the detail names the field.
    """
    texts = _texts(_place(dataset, frame, groups, field), field)
    return tuple(_number(text, field) for text in texts) if any(texts) else ()


def number(dataset: pydicom.Dataset, field: str, frame: int = 0, groups: str = "") -> float | None:
    """The first number of a field, of one frame as `per_frame` has it; None where it is empty.

    Raises:
      Rejected: it is no number; the detail names the field.
    """
    text = _texts(_place(dataset, frame, groups, field), field)[0]
    return _number(text, field) if text else None


def number_if_any(
    dataset: pydicom.Dataset, field: str, frame: int = 0, groups: str = ""
) -> float | None:
    """`number`, for a field that an image can do without: None also where it is no number."""
    try:
        return number(dataset, field, frame, groups)
    except Rejected:
        return None


def _place(dataset: pydicom.Dataset, frame: int, groups: str, field: str) -> pydicom.Dataset:
    """Where a value of one frame stands."""
    per_frame_groups = dataset.get("PerFrameFunctionalGroupsSequence") or () if groups else ()
    shared_groups = dataset.get("SharedFunctionalGroupsSequence") or () if groups else ()
    for place in (*per_frame_groups[frame : frame + 1], *shared_groups):
        for group in place.get(groups) or ():
            if field in group:
                return group
    return dataset


def _texts(dataset: pydicom.Dataset, field: str) -> list[str]:
    """The values of a field as they are written, one empty one where there is none."""
    element = dataset.get_item(field)
    if isinstance(element, RawDataElement) and element.value is not None:
        said = element.VR
        vr = dictionary_VR(element.tag) if said in (None, "UN") else said
        if vr in _TEXT:
            # pydicom makes of what it cannot read what it can, or gives up on the whole file.
            return [part.strip(" \0") for part in element.value.decode("latin-1").split("\\")]
    value = dataset.get(field)
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return ["" if part is None else str(part).strip() for part in values] or [""]


def _number(text: str, field: str) -> float:
    if not _NUMBER.fullmatch(text):
        reason = Reason.NO_GEOMETRY if field in GEOMETRY else Reason.UNREADABLE_DICOM
        raise Rejected(reason, f"{field} is no number")
    return float(text.replace(",", "."))
