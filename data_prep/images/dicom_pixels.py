"""The pixels of one DICOM image, in the units and the greys that its file means."""

import dataclasses
import pathlib

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, apply_voi, pixel_array

from data_prep.images import dicom, geometry, lossless_jpeg, padding
from data_prep.images.codestream import jpeg_2000_shape, jpeg_shape, rle_exceeds
from data_prep.images.dicom import Rejected
from data_prep.images.fields import number, number_if_any, numbers, per_frame
from data_prep.records.drops import Reason

FIELDS = (
    *padding.FIELDS,
    "ImageOrientationPatient",
    "ModalityLUTSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelRepresentation",
    "PixelSpacing",
    "PlanarConfiguration",
    "RescaleIntercept",
    "RescaleSlope",
    "SharedFunctionalGroupsSequence",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
)
# One decoder a syntax, always the same, so that the same file gives the same pixels everywhere.
# RLE is pydicom's own: the other decoder panics past `except Exception` on damaged data.
DECODERS = {
    uid.RLELossless: "pydicom",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
    uid.JPEGBaseline8Bit: "pillow",
}
LOSSLESS_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
# 64 MB when it unpacks to 64 times as much.
MAX_UNCOUNTED_RLE_BYTES = 10**6


@dataclasses.dataclass(frozen=True)
class Pixels:
    """One decoded image, brighter meaning more signal.

    `values` is float32 [H, W] after the rescale, or in [0, 1] when `displayed`; `spacing_mm` is
    that of (rows, columns). `padded`, bool [H, W], marks values that are no part of the picture;
    it is None where all are. Arrays lie as in the file, and `upright` turns them as radiologists
    look at them.
    """

    values: np.ndarray
    spacing_mm: tuple[float, float]
    displayed: bool
    padded: np.ndarray | None = None
    upright: geometry.Turn = geometry.AS_IT_LIES


def read_pixels(path: pathlib.Path, frame: int = 0, *, display: bool = False) -> Pixels:
    """Decodes one image.

    Args:
      path: a DICOM file.
      frame: which image of a file of several.
      display: whether the file's own window or lookup table (VOI LUT) is applied, where it has
        one, as a viewer does when it opens the file.

    Raises:
      Rejected: the pixels are too many, of an unsupported kind, or cannot be decoded.
    """
    with dicom.failures_are_rejections():
        dataset = dicom.read(path, FIELDS, with_pixels=True)
        if frame >= dicom.frames(dataset):
            raise Rejected(Reason.UNREADABLE_DICOM, "no such frame")
        spacing_mm = numbers(dataset, "PixelSpacing", frame, "PixelMeasuresSequence")
        if len(spacing_mm) != 2 or not all(0.05 < mm < 10 for mm in spacing_mm):
            raise Rejected(Reason.NO_GEOMETRY, "pixel spacing missing or out of range")
        stored = _decoded(dataset, frame)
        values = _rescaled(dataset, frame, stored)
        if values.ndim != 2 or not np.isfinite(values).all():
            raise Rejected(Reason.UNSUPPORTED_PIXELS)
        shown = _displayed(dataset, frame, values) if display else None
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            values, shown = -values, None if shown is None else 1 - shown
        displayed = shown is not None
        values = shown if displayed else values
        padded = padding.padded(dataset, stored, values, displayed=displayed)
        return Pixels(values, spacing_mm, displayed, padded, _upright(dataset, frame))


def _upright(dataset: pydicom.Dataset, frame: int) -> geometry.Turn:
    """How a frame is turned upright: not at all where it does not say how it lies."""
    group = "PlaneOrientationSequence"
    along = geometry.directions(numbers(dataset, "ImageOrientationPatient", frame, group))
    return geometry.AS_IT_LIES if along is None else geometry.upright(along)


def _decoded(dataset: pydicom.Dataset, frame: int) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in (*NATIVE, *DECODERS, *LOSSLESS_JPEG, uid.JPEGExtended12Bit):
        raise Rejected(Reason.UNSUPPORTED_SYNTAX, "no decoder is known")
    if syntax.is_encapsulated:
        data = get_frame(dataset.PixelData, frame, number_of_frames=dicom.frames(dataset))
        _check_codestream(dataset, data, syntax)
    if syntax in LOSSLESS_JPEG:
        return _with_sign(dataset, lossless_jpeg.decode(data))
    if syntax == uid.JPEGExtended12Bit:
        return _with_sign(dataset, _extended_jpeg(data))
    return pixel_array(dataset, index=frame, decoding_plugin=DECODERS.get(syntax, ""))


def _extended_jpeg(data: bytes) -> np.ndarray:
    """Of 12 bits or 8, uint16 [H, W]. pydicom knows no decoder of 12 bits that is not GPL."""
    try:
        import imagecodecs
    except ImportError:
        raise Rejected(Reason.UNSUPPORTED_SYNTAX, "install lumbarclip_jax[jpeg]") from None
    return imagecodecs.jpeg_decode(data).astype(np.uint16)


def _with_sign(dataset: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray:
    """The codestream knows no sign: signed pixels are in it as their bits (two's complement)."""
    unused = 16 - dataset.get("BitsStored", dataset.BitsAllocated)
    signed = np.int16 if dataset.get("PixelRepresentation") else np.uint16
    return (pixels << unused).view(signed) >> unused


def _check_codestream(dataset: pydicom.Dataset, data: bytes, syntax: uid.UID) -> None:
    """Refuses a frame that would unpack to more, or less, than the header says."""
    shape = (dataset.Rows, dataset.Columns)
    if syntax == uid.RLELossless:
        # Runs of one pixel each take a hundredth more than the pixels themselves, and 64 bytes
        # begin the frame; more is there to be unpacked to up to 64 times as much.
        pixels = dataset.Rows * dataset.Columns
        pixel_bytes = pixels * dataset.BitsAllocated // 8
        fits = len(data) <= 1.05 * pixel_bytes + 4 * dataset.Rows + 128
        # Counting takes as long as decoding; a frame of usual size cannot unpack to much.
        if len(data) > MAX_UNCOUNTED_RLE_BYTES:
            fits = fits and not rle_exceeds(data, pixels)
    elif syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        fits = jpeg_2000_shape(data) == shape
    else:
        fits = jpeg_shape(data) == shape
    if not fits:
        raise Rejected(Reason.UNREADABLE_DICOM, "frame of another size than the header's")


def _rescaled(dataset: pydicom.Dataset, frame: int, stored: np.ndarray) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, dataset).astype(np.float32)
    group = "PixelValueTransformationSequence"
    slope = number(dataset, "RescaleSlope", frame, group) or 1
    intercept = number(dataset, "RescaleIntercept", frame, group) or 0
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _displayed(dataset: pydicom.Dataset, frame: int, values: np.ndarray) -> np.ndarray | None:
    """The values as shown, in [0, 1] (PS3.3 C.11.2.1), or None when the file does not say how."""
    table = dataset.get("VOILUTSequence")
    if table:
        steps = 2.0 ** table[0].LUTDescriptor[2] - 1
        return (apply_voi(np.round(values).astype(np.int32), dataset) / steps).astype(np.float32)
    group = "FrameVOILUTSequence"
    # The first of several windows is the one that a viewer opens with.
    center = number_if_any(dataset, "WindowCenter", frame, group)
    width = number_if_any(dataset, "WindowWidth", frame, group)
    function = str(per_frame(dataset, frame, group, "VOILUTFunction") or "LINEAR")
    if center is None or width is None or width <= 0:
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR" and width > 1:
        # A window of 256 greys has its ends 255 apart, half a step around its centre.
        center, width = center - 0.5, width - 1
    return np.clip((values - center) / width + 0.5, 0, 1)
