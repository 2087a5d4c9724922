"""Prepares slices for the image encoder of this folder, for AutoImageProcessor of `transformers`.

Needs numpy alone beside `transformers`. Every image is scaled by its own mean and variance, which
no image processor of `transformers` does: a fixed mean would give other features.
"""

import numpy as np
import PIL.Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature


class SliceProcessor(BaseImageProcessor):
    """From 8-bit grey slices of the training data's pixel size to `pixel_values`.

    Args:
      slice_size_px: side to which a slice is cut or padded with zeros around its centre.
      crop_px: side of the central square that the encoder sees.
      image_size_px: side to which that is resized (linear, antialiased).
      num_channels: how often the grey image is repeated.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012, as its parent has it

    def __init__(
        self, *, slice_size_px: int, crop_px: int, image_size_px: int, num_channels: int, **kwargs
    ):
        super().__init__(**kwargs)
        self.slice_size_px = slice_size_px
        self.crop_px = crop_px
        self.image_size_px = image_size_px
        self.num_channels = num_channels

    def preprocess(self, images, return_tensors: str | None = None, **kwargs) -> BatchFeature:
        """`pixel_values`, float32 [B, C, H, W], of one slice or a list of them.

        Args:
          images: Pillow images of mode L, or RGB with three equal channels, or uint8 arrays [H, W].
          return_tensors: "pt" or "np", for all that `transformers` makes a batch of.

        Raises:
          ValueError: an image is not 8-bit grey.
        """
        slices = images if isinstance(images, list | tuple) else [images]
        pixels = np.stack([self._prepared(_grey(image)) for image in slices])
        repeated = np.repeat(pixels[:, None], self.num_channels, axis=1)
        return BatchFeature({"pixel_values": repeated}, tensor_type=return_tensors)

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        image = _fitted(image, self.slice_size_px) / 255
        weights = _weights(self.slice_size_px, self.crop_px, self.image_size_px)
        image = weights @ image @ weights.T
        return ((image - image.mean()) / np.sqrt(image.var() + 1e-4)).astype(np.float32)


def _grey(image) -> np.ndarray:
    array = np.asarray(image)
    known = not isinstance(image, PIL.Image.Image) or image.mode in ("L", "RGB")
    if array.ndim == 3 and (array == array[..., :1]).all():
        array = array[..., 0]
    if not known or array.ndim != 2 or array.dtype != np.uint8:
        raise ValueError("an image is not 8-bit grey: render it as the training data was")
    return array


def _fitted(image: np.ndarray, size_px: int) -> np.ndarray:
    """[H, W] cut or padded with zeros to [S, S], around the centre."""
    for axis in (0, 1):
        surplus = image.shape[axis] - size_px
        if surplus > 0:
            image = image.take(range(surplus // 2, surplus // 2 + size_px), axis)
        elif surplus < 0:
            before = -surplus // 2
            padding = [(0, 0), (0, 0)]
            padding[axis] = (before, -surplus - before)
            image = np.pad(image, padding)
    return image


def _weights(size: int, crop: int, out: int) -> np.ndarray:
    """The matrix [out, size] that resizes the central `crop` pixels of `size` along one axis."""
    step = crop / out
    places = size / 2 + (np.arange(out) + 0.5 - out / 2) * step - 0.5
    distances = np.abs(places[:, None] - np.arange(size))
    weights = np.maximum(0, 1 - distances / max(step, 1))
    sums = weights.sum(axis=1, keepdims=True)
    inside = (places >= -0.5) & (places <= size - 0.5)
    return np.where(inside[:, None], weights / np.where(sums > 0, sums, 1), 0)
