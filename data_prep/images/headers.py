"""What an image is judged by before its pixels are read."""

import dataclasses
import pathlib
import re

import pydicom

from data_prep.images import dicom, persons, quarantine
from data_prep.images.fields import number_if_any, numbers, per_frame
from data_prep.images.geometry import Plane, plane
from data_prep.images.persons import Person, person
from data_prep.images.sequence import weighting
from data_prep.records.drops import Reason
from data_prep.text import scrub

FIELDS = (
    *quarantine.FIELDS,
    *persons.FIELDS,
    *scrub.IDENTITY_FIELDS,
    "AcquisitionContrast",
    "ContrastBolusAgent",
    "EchoPlanarPulseSequence",
    "EchoPulseSequence",
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
    date and time in digits. `slice_gap_mm` is what the file states, which may be the step between
    slices, the gap between them or neither: levels are told from measured steps. `identities` are
    the names and numbers to take out of the report.
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

    @property
    def known_plane(self) -> Plane:
        """`plane`, of an image that was taken because it has one."""
        if self.plane is None:
            raise ValueError("an image without a geometry was not left out")
        return self.plane

    @property
    def known_sequence(self) -> str:
        """`sequence`, of an image that was taken because it is T1 or T2."""
        if self.sequence is None:
            raise ValueError("an image that is neither T1 nor T2 was not left out")
        return self.sequence


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
    timing = "MRTimingAndRelatedParametersSequence"
    contrast = per_frame(dataset, frame, "MRImageFrameTypeSequence", "AcquisitionContrast")
    unread: list[dicom.Rejected] = []

    def milliseconds(field: str, groups: str = "") -> float:
        """A time, or 0 where there is none or it is not one number."""
        try:
            times = numbers(dataset, field, frame, groups)
        except dicom.Rejected as rejected:
            unread.append(rejected)
            return 0.0
        return max(times[0], 0.0) if len(times) == 1 else 0.0

    sequence = weighting(
        _text(dataset, "SeriesDescription"),
        techniques=_techniques(dataset),
        contrast=str(contrast or "").strip().upper(),
        echo_ms=milliseconds("EffectiveEchoTime", "MREchoSequence") or milliseconds("EchoTime"),
        repetition_ms=milliseconds("RepetitionTime", timing),
    )
    if sequence is None and unread:
        # Its time might have told.
        raise unread[0]
    return sequence


def _techniques(dataset: pydicom.Dataset) -> set[str]:
    """The values of Scanning Sequence, as which those of an enhanced image count too."""
    value = dataset.get("ScanningSequence") or ()
    values = (value,) if isinstance(value, str) else value
    found = {str(value).strip().upper() for value in values}
    if _text(dataset, "EchoPulseSequence").upper() == "GRADIENT":
        found.add("GR")
    if _text(dataset, "EchoPlanarPulseSequence").upper() == "YES":
        found.add("EP")
    return found
