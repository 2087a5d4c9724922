"""Stored slices to encoder inputs, on the device: the arithmetic of `lumbarclip_jax.images`."""

import torch
from ml_collections import ConfigDict
from torch import Tensor


def augment_images(images: Tensor, config: ConfigDict) -> Tensor:
    """Cuts, resizes, augments and standardises; the draws are from PyTorch's own generator.

    Args:
      images: stored slices, uint8 [B, 1, S, S].
      config: `config.data`. With `augment` at zero nothing is left to chance.

    Returns:
      float32 [B, 1, H, W].
    """
    augment, batch = config.augment, len(images)

    def draw(*shape: int, low: float, high: float) -> Tensor:
        return torch.empty(shape, device=images.device).uniform_(low, high)

    zoom = draw(batch, low=1 - augment.scale, high=1 + augment.scale)
    shift = draw(batch, 2, low=-augment.translate, high=augment.translate)
    gamma = draw(batch, 1, 1, 1, low=1 - augment.gamma, high=1 + augment.gamma)
    pixels = resample(images, zoom, shift, config.image_size_px, config.crop_px)
    pixels = pixels.clamp(1e-6, 1.0) ** gamma
    pixels = pixels + augment.noise * torch.randn_like(pixels)
    if augment.mirror:
        mirrored = draw(batch, 1, 1, 1, low=0.0, high=1.0) < 0.5
        pixels = torch.where(mirrored, pixels.flip(-1), pixels)
    variance, mean = torch.var_mean(pixels, dim=(1, 2, 3), correction=0, keepdim=True)
    return (pixels - mean) / torch.sqrt(variance + 1e-4)


def resample(images: Tensor, zoom: Tensor, shift: Tensor, size_px: int, crop_px: int) -> Tensor:
    """Squares of `crop_px / zoom`, moved by `shift` crop sides, as [0, 1] pixels of `size_px`.

    Separable, so two batched matrix products do it.
    """
    rows, columns = (
        interpolation(images.shape[-1], size_px, zoom * size_px / crop_px, shift[:, axis] * crop_px)
        for axis in (0, 1)
    )
    return (rows @ (images[:, 0].float() / 255) @ columns.mT)[:, None]


def interpolation(size_in: int, size_out: int, scale: Tensor, shift_px: Tensor) -> Tensor:
    """[B, size_out, size_in] weights of linear interpolation about the centre, antialiased.

    `jax.image.scale_and_translate`: a triangle as wide as the larger of the two pixels, weights
    that sum to one, nothing from outside the image.
    """
    places = torch.arange(size_out, device=scale.device) + 0.5 - size_out / 2
    places = places / scale[:, None] + size_in / 2 + shift_px[:, None] - 0.5
    distance = (places[:, :, None] - torch.arange(size_in, device=scale.device)).abs()
    weights = (1 - distance * scale.clamp(max=1.0)[:, None, None]).clamp(min=0)
    total = weights.sum(-1, keepdim=True)
    inside = (places >= -0.5) & (places <= size_in - 0.5)
    return torch.where(inside[:, :, None] & (total > 1e-4), weights / total, 0.0)
