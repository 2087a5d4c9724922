"""A DICOM file, opened safely.

Only the fields that a reader names leave a file. pydicom's warnings, log lines and errors quote the
values that they stumble on, which may be a patient's name, so none is shown: a failure is a
`Rejected` with a reason code.
"""

import contextlib
import functools
import logging
import pathlib
import warnings
import zlib
from collections.abc import Iterator, Sequence

import pydicom
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from data_prep.records.drops import Reason

logging.getLogger("pydicom").disabled = True

MAX_FILE_BYTES = 256 * 2**20
# pydicom holds what it inflates twice, and zeros shrink a thousandfold where images halve.
MAX_INFLATED_BYTES = 64 * 2**20
MAX_INFLATE_RATIO = 100
# Of one frame. Scanners store lumbar slices of up to 1024 x 1024.
MAX_PIXELS = 2048 * 2048
MAX_FRAMES = 4096
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
FORMAT_FIELDS = (
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "RedPaletteColorLookupTableDescriptor",
    "Rows",
    "SamplesPerPixel",
    "SOPClassUID",
)


class Rejected(Exception):
    """A file that cannot be used, by reason code; `detail` holds nothing of the file's text."""

    def __init__(self, reason: Reason, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def read(path: pathlib.Path, fields: Sequence[str | int], *, with_pixels: bool) -> pydicom.Dataset:
    """Reads the named fields of a file of grey images; use it inside `failures_are_rejections`.

    Raises:
      Rejected: the file is no DICOM image, is too large, or has a pixel format we do not take.
    """
    with path.open("rb") as file:
        _check_size(path, file)
        dataset = pydicom.dcmread(
            file,
            force=True,
            stop_before_pixels=not with_pixels,
            specific_tags=_tags(tuple(fields), with_pixels),
        )
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    _check_pixel_format(dataset)
    _check_frames(dataset, path.stat().st_size)
    return dataset


@functools.cache
def _tags(fields: tuple[str | int, ...], with_pixels: bool) -> list[BaseTag]:
    """The tags of names; looking them up anew for each file takes as long as reading some."""
    return [Tag(name) for name in (*FORMAT_FIELDS, *fields, *["PixelData"] * with_pixels)]


def frames(dataset: pydicom.Dataset) -> int:
    """The number of images in a file."""
    try:
        return int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        raise Rejected(Reason.UNREADABLE_DICOM, "NumberOfFrames is no number") from None


@contextlib.contextmanager
def failures_are_rejections() -> Iterator[None]:
    """Turns every error of a reader, whose words may hold an identity, into a `Rejected`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Rejected:
            raise
        except Exception as error:
            raise Rejected(Reason.UNREADABLE_DICOM, type(error).__name__) from None


def _check_size(path: pathlib.Path, file) -> None:
    """Refuses a file that would not fit, before anything of it is unpacked."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Rejected(Reason.TOO_LARGE)
    has_meta = file.read(132)[128:] == b"DICM"
    file.seek(0)
    if not has_meta:
        return
    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        # pydicom inflates a deflated file whole, header or not, and a megabyte can hold a gigabyte.
        file.seek(132 + 12 + meta.FileMetaInformationGroupLength)
        data = file.read()
        limit = min(MAX_INFLATED_BYTES, MAX_INFLATE_RATIO * len(data) + 2**20)
        if sum(map(len, _inflated(data, limit))) > limit:
            raise Rejected(Reason.TOO_LARGE)
        file.seek(0)


def _inflated(data: bytes, limit: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    seen = 0
    while data and seen <= limit:
        chunk = inflater.decompress(data, 2**20)
        seen += len(chunk)
        yield chunk
        data = inflater.unconsumed_tail


def _check_pixel_format(dataset: pydicom.Dataset) -> None:
    if "Rows" not in dataset or "Columns" not in dataset:
        if "SOPClassUID" in dataset or "MediaStorageSOPClassUID" in dataset.file_meta:
            raise Rejected(Reason.NO_IMAGE)
        raise Rejected(Reason.UNREADABLE_DICOM, "no image")
    if dataset.Rows * dataset.Columns > MAX_PIXELS or frames(dataset) > MAX_FRAMES:
        raise Rejected(Reason.TOO_LARGE)
    if dataset.get("SamplesPerPixel", 1) != 1 or dataset.get("BitsAllocated") not in (8, 16):
        raise Rejected(Reason.UNSUPPORTED_PIXELS)
    # PS3.3 C.7.6.3.1.2. A file that does not say, and brings no palette, is taken for a grey one.
    said = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    if not said and "RedPaletteColorLookupTableDescriptor" not in dataset:
        said = "MONOCHROME2"
    if said not in ("MONOCHROME1", "MONOCHROME2"):
        raise Rejected(Reason.UNSUPPORTED_PIXELS, "not grey")
    dataset.PhotometricInterpretation = said
    bits = dataset.get("BitsStored") or dataset.BitsAllocated
    if (dataset.get("HighBit") or bits - 1) != bits - 1:
        raise Rejected(Reason.UNSUPPORTED_PIXELS, "bits stored high")


def _check_frames(dataset: pydicom.Dataset, file_bytes: int) -> None:
    """Refuses frames that are not there before a header is made of each."""
    frame_bytes = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    native = dataset.file_meta.TransferSyntaxUID in NATIVE
    if native and frames(dataset) > 1 and frames(dataset) * frame_bytes > file_bytes:
        raise Rejected(Reason.UNREADABLE_DICOM, "frames missing")
