"""An image file as the record stores it: 8-bit, square, 0.6875 mm pixels."""

import pathlib

import numpy as np
import PIL.Image

from data_prep import dicom
from data_prep.dicom import Rejected
from data_prep.drops import Reason

# The published axial slices' own spacing; DICOM slices of another one are resampled to it.
SPACING_MM = 0.6875


def read(path: pathlib.Path, size_px: int, frame: int = 0) -> np.ndarray:
    """Reads a .png as it is, or frame `frame` of any other file as DICOM.

    Returns:
      uint8 [S, S, 1]: the centre of the image, with zeros around it where it is too small.

    Raises:
      Rejected: the file cannot be used.
    """
    image = _read_png(path) if path.suffix.lower() == ".png" else _read_dicom(path, frame)
    return fit(image, size_px)[..., None]


def fit(image: np.ndarray, size_px: int) -> np.ndarray:
    """Centre-crops or zero-pads [H, W] to [S, S]."""
    for axis in (0, 1):
        surplus = image.shape[axis] - size_px
        if surplus > 0:
            start = surplus // 2
            image = image.take(range(start, start + size_px), axis)
        elif surplus < 0:
            before = -surplus // 2
            padding = [(0, 0), (0, 0)]
            padding[axis] = (before, -surplus - before)
            image = np.pad(image, padding)
    return image


def to_8_bit(image: np.ndarray) -> np.ndarray:
    """Stretches the whole range of a slice [H, W] to 0..255, as the published slices are."""
    low, high = float(image.min()), float(image.max())
    if high <= low:
        return np.zeros(image.shape, np.uint8)
    return np.round((image - low) * (255.0 / (high - low))).astype(np.uint8)


def _read_dicom(path: pathlib.Path, frame: int) -> np.ndarray:
    image, spacing_mm = dicom.read_pixels(path, frame)
    height, width = (
        max(1, round(length * mm / SPACING_MM))
        for length, mm in zip(image.shape, spacing_mm, strict=True)
    )
    if height * width > dicom.MAX_PIXELS:
        raise Rejected(Reason.TOO_LARGE)
    if (height, width) != image.shape:
        resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR)
        image = np.asarray(resized)
    return to_8_bit(image)


def _read_png(path: pathlib.Path) -> np.ndarray:
    try:
        with PIL.Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > dicom.MAX_PIXELS:
                raise Rejected(Reason.TOO_LARGE)
            if image.mode != "L":
                raise Rejected(Reason.UNSUPPORTED_PIXELS, "not 8-bit grey")
            return np.array(image)
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None
