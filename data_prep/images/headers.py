"""What an image is judged by before its pixels are read."""

import dataclasses
import pathlib
import re

import pydicom

from data_prep.drops import Reason
from data_prep.images import dicom, persons, quarantine
from data_prep.images.fields import number, number_if_any, numbers
from data_prep.images.geometry import Plane, plane
from data_prep.images.persons import Person, person
from data_prep.text import scrub

T1_MAX_TR_MS, T1_MAX_TE_MS, T2_MIN_TR_MS, T2_MIN_TE_MS = 1200.0, 35.0, 1500.0, 60.0

FIELDS = (
    *quarantine.FIELDS,
    *persons.FIELDS,
    *scrub.IDENTITY_FIELDS,
    "ContrastBolusAgent",
    "EchoTime",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "InstanceNumber",
    "PerFrameFunctionalGroupsSequence",
    "PixelSpacing",
    "RepetitionTime",
    "ScanningSequence",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SharedFunctionalGroupsSequence",
    "SOPInstanceUID",
    "SpacingBetweenSlices",
    "StudyDate",
    "StudyInstanceUID",
    "StudyTime",
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Header:
    """One image: a file, or frame `frame` of a file of several.

    `kind` is None for an original MR image, else the reason to leave it out. `plane` is None
    without a valid geometry, and `sequence` for what is neither T1 nor T2. `patient`, `accession`
    and the UIDs are as the file has them: they leave as keyed pseudonyms alone. `study_start` is
    date and time in digits. `identities` are the names and numbers to take out of the report.
    """

    kind: Reason | None
    sequence: str | None
    plane: Plane | None
    slice_gap_mm: float | None = None
    frame: int = 0
    instance: int = 0
    contrast: bool = False
    patient: str = ""
    study: str = ""
    accession: str = ""
    series: str = ""
    image: str = ""
    study_start: str = ""
    person: Person = dataclasses.field(default_factory=Person)
    frame_of_reference: str = ""
    identities: frozenset[str] = dataclasses.field(default=frozenset(), repr=False)


def read_headers(path: pathlib.Path, *, keep_doubtful: bool = False) -> list[Header]:
    """Reads a DICOM file up to its pixels; one header a frame.

    Args:
      path: the file.
      keep_doubtful: whether an image that `quarantine` only doubts counts as an original one.

    Raises:
      Rejected: the file is no DICOM image, is too large, or has a pixel format we do not take.
    """
    with dicom.failures_are_rejections():
        dataset = dicom.read(path, FIELDS, with_pixels=False)
        kinds = [quarantine.kind(dataset, frame) for frame in range(dicom.frames(dataset))]
        if keep_doubtful:
            kinds = [None if kind in quarantine.DOUBTFUL else kind for kind in kinds]
        return [_header(dataset, kind, frame) for frame, kind in enumerate(kinds)]


def _header(dataset: pydicom.Dataset, kind: Reason | None, frame: int) -> Header:
    position = numbers(dataset, "ImagePositionPatient", frame, "PlanePositionSequence")
    if dicom.frames(dataset) > 1 and "PerFrameFunctionalGroupsSequence" not in dataset:
        # The position is that of the first frame; nothing says how the others follow.
        position = ()
    orientation = numbers(dataset, "ImageOrientationPatient", frame, "PlaneOrientationSequence")
    spacing = numbers(dataset, "PixelSpacing", frame, "PixelMeasuresSequence")
    gap_mm = number_if_any(dataset, "SpacingBetweenSlices", frame, "PixelMeasuresSequence")
    return Header(
        kind=kind,
        sequence=_sequence(dataset, frame),
        plane=plane(position, orientation, spacing, (dataset.Rows, dataset.Columns)),
        slice_gap_mm=abs(gap_mm or 0) or None,
        frame=frame,
        instance=int(number_if_any(dataset, "InstanceNumber") or 0),
        contrast=bool(dataset.get("ContrastBolusAgent")),
        patient=_text(dataset, "PatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        accession=_text(dataset, "AccessionNumber"),
        series=_text(dataset, "SeriesInstanceUID"),
        image=_text(dataset, "SOPInstanceUID"),
        study_start=_start(dataset),
        person=person(dataset),
        frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
        identities=scrub.identities(dataset),
    )


def _start(dataset: pydicom.Dataset) -> str:
    """Date and time of the study, in digits that sort; old files write 2020.01.31 and 10:30:00."""
    date, time = (re.sub(r"\D", "", _text(dataset, f"Study{part}")) for part in ("Date", "Time"))
    return date and date + time


def _text(dataset: pydicom.Dataset, field: str) -> str:
    return str(dataset.get(field) or "").strip()


def _sequence(dataset: pydicom.Dataset, frame: int) -> str | None:
    """ "T1" or "T2" by the description, else by echo and repetition time, else None.

    A gradient echo called T2 is a T2*, and an echo-planar image (diffusion, perfusion) has the
    times of a T2 without being one.
    """
    scanning = dataset.get("ScanningSequence") or ()
    techniques = {scanning} if isinstance(scanning, str) else set(scanning)
    if "EP" in techniques:
        return None
    description = str(dataset.get("SeriesDescription", "")).upper()
    named = [name for name in ("T1", "T2") if name in description]
    if "T2*" in description or (named == ["T2"] and techniques == {"GR"}):
        return None
    if len(named) == 1:
        return named[0]
    timing = "MRTimingAndRelatedParametersSequence"
    echo_ms = number(dataset, "EffectiveEchoTime", frame, "MREchoSequence")
    echo_ms = echo_ms or number(dataset, "EchoTime") or 0
    repetition_ms = number(dataset, "RepetitionTime", frame, timing) or 0
    if echo_ms >= T2_MIN_TE_MS and repetition_ms >= T2_MIN_TR_MS:
        return "T2"
    if 0 < echo_ms <= T1_MAX_TE_MS and 0 < repetition_ms <= T1_MAX_TR_MS:
        return "T1"
    return None
