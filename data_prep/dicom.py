"""One DICOM file, read safely: the header that a series is judged by, and the pixels.

Only the fields named here leave a file. pydicom's warnings, log lines and errors quote the values
that they stumble on, which may be a patient's name, so none is shown: a failure is a `Rejected`
with a reason code.
"""

import contextlib
import dataclasses
import logging
import pathlib
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from data_prep import quarantine
from data_prep.drops import Reason

logging.getLogger("pydicom").disabled = True

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 4096 * 4096
T1_MAX_TR_MS, T1_MAX_TE_MS, T2_MIN_TR_MS, T2_MIN_TE_MS = 1200.0, 35.0, 1500.0, 60.0

HEADER_FIELDS = (
    *quarantine.FIELDS,
    "BitsAllocated",
    "Columns",
    "EchoTime",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "NumberOfFrames",
    "PixelSpacing",
    "RepetitionTime",
    "Rows",
    "SamplesPerPixel",
    "SeriesDescription",
    "SpacingBetweenSlices",
)


class Rejected(Exception):
    """A file that cannot be used, by reason code; `detail` holds nothing of the file's text."""

    def __init__(self, reason: Reason, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclasses.dataclass(frozen=True)
class Header:
    """What a series is judged by.

    `kind` is None for an original image, else the reason to leave it out. `center_mm` [3] is the
    centre of the slice and `normal` [3] its unit normal in patient coordinates (x to the left, y to
    the back, z to the head); both are None without a valid geometry.
    """

    kind: Reason | None
    sequence: str | None
    center_mm: np.ndarray | None
    normal: np.ndarray | None
    slice_gap_mm: float | None

    @property
    def plane(self) -> str | None:
        """The anatomical plane nearest to the slice."""
        if self.normal is None:
            return None
        return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(self.normal)))]


def read_header(path: pathlib.Path) -> Header:
    """Reads the header of a DICOM file and nothing of its pixels.

    Raises:
      Rejected: the file is no DICOM image, is too large, or has a pixel format we do not take.
    """
    with _failures_are_rejections():
        _check_size(path)
        dataset = pydicom.dcmread(
            path, force=True, stop_before_pixels=True, specific_tags=list(HEADER_FIELDS)
        )
        _check_pixel_format(dataset)
        center_mm, normal = _geometry(dataset)
        return Header(
            kind=quarantine.kind(dataset),
            sequence=_sequence(dataset),
            center_mm=center_mm,
            normal=normal,
            slice_gap_mm=float(dataset.get("SpacingBetweenSlices") or 0) or None,
        )


def read_pixels(path: pathlib.Path, frame: int = 0) -> tuple[np.ndarray, tuple[float, float]]:
    """Decodes one slice: frame `frame` of a file of several.

    Returns:
      (float32 [H, W] after the rescale, brighter meaning more signal; pixel spacing in mm as
      (row, column)).

    Raises:
      Rejected: the pixels are too many, of an unsupported kind, or cannot be decoded.
    """
    with _failures_are_rejections():
        _check_size(path)
        dataset = pydicom.dcmread(path, force=True)
        _check_pixel_format(dataset)
        syntax = dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == RLELossless:
            # The other RLE decoder panics past `except Exception` on damaged data.
            dataset.pixel_array_options(decoding_plugin="pydicom")
        pixels = dataset.pixel_array.astype(np.float32)
        if frame:
            raise Rejected(Reason.UNSUPPORTED_PIXELS)
        pixels = pixels * np.float32(dataset.get("RescaleSlope") or 1) + np.float32(
            dataset.get("RescaleIntercept") or 0
        )
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            pixels = -pixels
        if pixels.ndim != 2 or not np.isfinite(pixels).all():
            raise Rejected(Reason.UNSUPPORTED_PIXELS)
        row_mm, column_mm = (float(value) for value in dataset.PixelSpacing)
        if not (0.05 < row_mm < 10 and 0.05 < column_mm < 10):
            raise Rejected(Reason.NO_GEOMETRY, "pixel spacing out of range")
        return pixels, (row_mm, column_mm)


@contextlib.contextmanager
def _failures_are_rejections() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Rejected:
            raise
        except Exception as error:
            raise Rejected(Reason.UNREADABLE_DICOM, type(error).__name__) from None


def _check_size(path: pathlib.Path) -> None:
    """Refuses a file that would not fit, before anything of it is unpacked."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Rejected(Reason.TOO_LARGE)
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        # pydicom inflates a deflated file whole, header or not, and a megabyte can hold a gigabyte.
        file.seek(132 + 12 + meta.FileMetaInformationGroupLength)
        if sum(map(len, _inflated(file.read()))) > MAX_FILE_BYTES:
            raise Rejected(Reason.TOO_LARGE)


def _inflated(data: bytes) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    seen = 0
    while data and seen <= MAX_FILE_BYTES:
        chunk = inflater.decompress(data, 2**20)
        seen += len(chunk)
        yield chunk
        data = inflater.unconsumed_tail


def _check_pixel_format(dataset: pydicom.Dataset) -> None:
    if "Rows" not in dataset or "Columns" not in dataset:
        raise Rejected(Reason.UNREADABLE_DICOM, "no image")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if dataset.Rows * dataset.Columns * frames > MAX_PIXELS:
        raise Rejected(Reason.TOO_LARGE)
    if frames != 1 or dataset.get("SamplesPerPixel", 1) != 1:
        raise Rejected(Reason.UNSUPPORTED_PIXELS)
    if dataset.get("BitsAllocated") not in (8, 16):
        raise Rejected(Reason.UNSUPPORTED_PIXELS)


def _sequence(dataset: pydicom.Dataset) -> str | None:
    """ "T1" or "T2" by the description, else by echo and repetition time, else None."""
    description = str(dataset.get("SeriesDescription", "")).upper()
    named = [name for name in ("T1", "T2") if name in description]
    if len(named) == 1:
        return named[0]
    echo_ms = float(dataset.get("EchoTime") or 0)
    repetition_ms = float(dataset.get("RepetitionTime") or 0)
    if echo_ms >= T2_MIN_TE_MS and repetition_ms >= T2_MIN_TR_MS:
        return "T2"
    if 0 < echo_ms <= T1_MAX_TE_MS and 0 < repetition_ms <= T1_MAX_TR_MS:
        return "T1"
    return None


def _geometry(dataset: pydicom.Dataset) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """(centre in mm, unit normal) of the slice, or Nones (DICOM PS3.3 C.7.6.2.1.1)."""
    try:
        row, column = np.array(dataset.ImageOrientationPatient, np.float64).reshape(2, 3)
        corner = np.array(dataset.ImagePositionPatient, np.float64).reshape(3)
        row_mm, column_mm = (float(value) for value in dataset.PixelSpacing)
    except (AttributeError, TypeError, ValueError):
        return None, None
    normal = np.cross(row, column)
    length = np.linalg.norm(normal)
    # Direction cosines are unit vectors at right angles, so their product has length 1.
    if not (np.isfinite(corner).all() and 0.99 < length < 1.01):
        return None, None
    center = (
        corner
        + row * (column_mm * (dataset.Columns - 1) / 2)
        + column * (row_mm * (dataset.Rows - 1) / 2)
    )
    return center, normal / length
