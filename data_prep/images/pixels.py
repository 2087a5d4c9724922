"""An image file as the record stores it: 8-bit, square, 0.6875 mm pixels."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image

from data_prep.images import dicom, volume
from data_prep.images.dicom import Rejected
from data_prep.images.dicom_pixels import Pixels, read_pixels
from data_prep.records.drops import Reason

# The published axial slices' own spacing; DICOM slices of another one are resampled to it.
SPACING_MM = 0.6875


# Files that say nothing of pixel size and orientation: they are taken for rendered slices.
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Pillow's modes of 16-bit grey files; it has read them as "I" as well.
WIDE = ("I;16", "I;16L", "I;16B", "I")
WINDOWS = ("full", "percentile", "file")
# How pictures whose pixel size nobody knows are stored.
AS_THEY_LIE, FITTED = "as_they_lie", "fitted"
PERCENTILES = (0.5, 99.5)


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How an image becomes the record's: side, pixel size, and which values span black to white.

    `window` is "full": from the smallest value to the largest, as in the published slices;
    "percentile": without the darkest and brightest 0.5 %, for scanners that leave single hot
    pixels; or "file": as the DICOM file asks to be shown, and full where it does not.

    `pictures` whose pixel size is not known are stored "as_they_lie", pixel by pixel, or "fitted":
    scaled, so that the longer side is `size_px`.
    """

    size_px: int = 320
    spacing_mm: float = SPACING_MM
    window: str = "full"
    pictures: str = AS_THEY_LIE

    def stated(self) -> dict[str, Any]:
        """The fields by name; `pictures` only where they are not stored as they lie."""
        fields = dataclasses.asdict(self)
        if self.pictures == AS_THEY_LIE:  # as data sets say that were built before there was more
            del fields["pictures"]
        return fields


def read(path: pathlib.Path, size_px: int, frame: int = 0) -> np.ndarray:
    """`render` with the defaults of the published slices."""
    return render(path, Rendering(size_px), frame)


def render(
    path: pathlib.Path,
    rendering: Rendering,
    frame: int = 0,
    *,
    view: str = "sagittal",
    picture_mm: float = 0.0,
) -> np.ndarray:
    """Reads a picture, DICOM image or slice of a volume; a picture of 8 bits keeps its greys.

    Args:
      path: one of `PICTURES`, a DICOM file or a volume.
      rendering: how it is stored.
      frame: the page of a picture, frame of a DICOM file or slice of a volume.
      view: of the slice of a volume, sagittal or axial.
      picture_mm: the pixel size of a picture, 0 where it is not known.

    Returns:
      uint8 [S, S, 1]: the centre of the image, with zeros around it where it is too small; but for
      a picture, upright as `geometry.UPRIGHT` has it where the file says how it lies.

    Raises:
      Rejected: the file cannot be used.
    """
    if is_picture(path):
        return stored_picture(_read_picture(path, frame), rendering, picture_mm)
    if volume.is_volume(path):
        image = _rendered(Pixels(*volume.read_slice(path, frame, view), False), rendering)
    else:
        pixels = read_pixels(path, frame, display=rendering.window == "file")
        image = _rendered(pixels, rendering)
    return fit(image, rendering.size_px)[..., None]


def stored_picture(values: np.ndarray, rendering: Rendering, picture_mm: float = 0.0) -> np.ndarray:
    """Values [H, W] of a picture as they are stored, uint8 [S, S, 1].

    Args:
      values: uint8, or wider integers, which are stretched in the window.
      rendering: how it is stored; pixels of `picture_mm` are resampled to its spacing.
      picture_mm: 0 where it is not known.

    Raises:
      Rejected: it would be too large.
    """
    image = windowed(values, rendering.window)
    scale = 1.0
    if picture_mm:
        scale = picture_mm / rendering.spacing_mm
    elif rendering.pictures == FITTED:
        scale = rendering.size_px / max(image.shape)
    height, width = (max(1, round(side * scale)) for side in image.shape)
    if (height, width) != image.shape:
        if height * width > dicom.MAX_PIXELS:
            raise Rejected(Reason.TOO_LARGE)
        image = _resampled(image, height, width)
    return fit(image, rendering.size_px)[..., None]


def is_picture(path: pathlib.Path) -> bool:
    """Whether a file is called like one of `PICTURES`."""
    return path.suffix.lower() in PICTURES


def frames(path: pathlib.Path, view: str = "sagittal") -> int:
    """How many images a file holds: pages, frames of a DICOM file, slices of a volume.

    Args:
      path: of the file.
      view: of the slices of a volume.

    Raises:
      Rejected: the file cannot be used.
    """
    if is_picture(path):
        with _opened(path) as image:
            return getattr(image, "n_frames", 1)
    if volume.is_volume(path):
        return volume.read_volume(path).slices(view)
    with dicom.failures_are_rejections():
        return dicom.frames(dicom.read(path, (), with_pixels=False))


def grey(image: PIL.Image.Image) -> np.ndarray:
    """The values of a Pillow image, [H, W]: uint8, or wider integers of one of mode `WIDE`.

    Raises:
      Rejected: it is too large, cannot be decoded, or has colours.
    """
    if image.width * image.height > dicom.MAX_PIXELS:
        raise Rejected(Reason.TOO_LARGE)
    try:
        values = np.array(image)
    except AssertionError:  # Pillow's, of an image that was opened and never loaded
        raise Rejected(Reason.UNREADABLE_IMAGE, "its file is closed") from None
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None
    if image.mode == "RGB" and (values == values[..., :1]).all():
        return values[..., 0]
    if image.mode != "L" and image.mode not in WIDE:
        raise Rejected(Reason.UNSUPPORTED_PIXELS, "not grey of 8 or 16 bits")
    return values


def windowed(values: np.ndarray, window: str) -> np.ndarray:
    """Values [H, W] in 8 bits: such as they are, wider ones stretched as those of a DICOM file.

    The window "file" is the full one, as for a file that does not say how it is to be shown.
    """
    return values if values.dtype == np.uint8 else to_8_bit(values, *_span(values, window))


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


def to_8_bit(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Stretches the values of [H, W] from low to high to 0..255; what lies outside is clipped."""
    if high <= low:
        return np.zeros(image.shape, np.uint8)
    return np.round((image.clip(low, high) - low) * (255.0 / (high - low))).astype(np.uint8)


def _rendered(pixels: Pixels, rendering: Rendering) -> np.ndarray:
    """Turned upright, resampled to the spacing (smoothed first where that shrinks it), windowed.

    Padding has no part in these, and is black.
    """
    image = pixels.upright(pixels.values)
    padded = None if pixels.padded is None else pixels.upright(pixels.padded)
    row_mm, column_mm = pixels.upright.spacing_mm(pixels.spacing_mm)
    height = max(1, round(image.shape[0] * row_mm / rendering.spacing_mm))
    width = max(1, round(image.shape[1] * column_mm / rendering.spacing_mm))
    if height * width > dicom.MAX_PIXELS:
        raise Rejected(Reason.TOO_LARGE)
    if (height, width) != image.shape:
        if padded is None:
            image = _resampled(image, height, width)
        else:
            # Each value is the mean of its neighbours that are no padding.
            weights = _resampled((~padded).astype(np.float32), height, width)
            image = _resampled(np.where(padded, np.float32(0), image), height, width)
            image, padded = image / np.maximum(weights, 0.5), weights < 0.5
    inside = image if padded is None else image[~padded]
    if not inside.size:
        raise Rejected(Reason.NO_IMAGE, "all of it is padding")
    low, high = (0.0, 1.0) if pixels.displayed else _span(inside, rendering.window)
    shown = to_8_bit(image, low, high)
    return shown if padded is None else np.where(padded, np.uint8(0), shown)


def _span(values: np.ndarray, window: str) -> tuple[float, float]:
    """The values that become black and white."""
    if window == "percentile":
        low, high = np.percentile(values, PERCENTILES)
    else:
        low, high = values.min(), values.max()
    return float(low), float(high)


def _resampled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    # Pillow widens its kernel by the factor that it shrinks by, so nothing is aliased.
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _read_picture(path: pathlib.Path, page: int) -> np.ndarray:
    with _opened(path) as image:
        if page:
            image.seek(page)
        return grey(image)


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[PIL.Image.Image]:
    try:
        with PIL.Image.open(path, formats=["PNG", "JPEG", "TIFF"]) as image:
            yield image
    except PIL.Image.DecompressionBombError:
        raise Rejected(Reason.TOO_LARGE) from None
    except EOFError:
        raise Rejected(Reason.UNREADABLE_IMAGE, "no such page") from None
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None
