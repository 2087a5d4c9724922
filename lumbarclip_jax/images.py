"""From stored uint8 slices to what the image encoder sees, on the device.

Slices travel to the device as one-channel bytes, a twelfth of three float32 channels; cutting,
resizing, augmentation and standardisation run inside the compiled step.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Shaped, UInt8
from ml_collections import ConfigDict

Slices = UInt8[Array, "B S S 1"]
Images = Float[Array, "B H W 1"]


def prepare_images(images: Slices, config: ConfigDict) -> Images:
    """The central `config.crop_px` square, resized to `config.image_size_px` and standardised."""
    batch = images.shape[0]
    zoom, shift = jnp.ones(batch), jnp.zeros((batch, 2))
    return standardise(resample(images, zoom, shift, config))


def augment_images(key: jax.Array, images: Slices, config: ConfigDict) -> Images:
    """`prepare_images` under random changes of place and of grey values, see `configs/base.py`.

    In the order turn, zoom and shift, gamma, brightness, contrast, noise, mirror. A turn,
    brightness, contrast and a mirror are computed only where they are asked for.

    Draws are keyed by an image's place in the global batch, so they do not depend on how the batch
    is split over devices.
    """
    augment, batch = config.augment, images.shape[0]
    keys = jax.random.split(key, 5)
    scale_up = augment.scale if augment.scale_up is None else augment.scale_up
    zoom = jax.random.uniform(keys[0], (batch,), minval=1 - augment.scale, maxval=1 + scale_up)
    shift = jax.random.uniform(
        keys[1], (batch, 2), minval=-augment.translate, maxval=augment.translate
    )
    if augment.rotate_deg:
        limit = math.radians(augment.rotate_deg)
        # Folded in: a longer split could change the first five keys, and so every earlier run.
        angle = jax.random.uniform(
            jax.random.fold_in(key, 5), (batch,), minval=-limit, maxval=limit
        )
        images = turn(images, angle)
    pixels = resample(images, zoom, shift, config)
    gamma = jax.random.uniform(
        keys[2], (batch, 1, 1, 1), minval=1 - augment.gamma, maxval=1 + augment.gamma
    )
    pixels = jnp.clip(pixels, 1e-6, 1.0) ** gamma
    if augment.brightness:
        factor = _factors(jax.random.fold_in(key, 6), batch, augment.brightness)
        pixels = jnp.clip(pixels * factor, 0.0, 1.0)
    if augment.contrast:
        mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
        factor = _factors(jax.random.fold_in(key, 7), batch, augment.contrast)
        pixels = jnp.clip(mean + factor * (pixels - mean), 0.0, 1.0)
    pixels = pixels + augment.noise * jax.random.normal(keys[3], pixels.shape)
    if augment.mirror:
        mirrored = jax.random.bernoulli(keys[4], shape=(batch, 1, 1, 1))
        pixels = jnp.where(mirrored, pixels[:, :, ::-1], pixels)
    return standardise(pixels)


def _factors(key: jax.Array, batch: int, strength: float) -> Float[Array, "B 1 1 1"]:
    return jax.random.uniform(key, (batch, 1, 1, 1), minval=1 - strength, maxval=1 + strength)


def turn(images: Slices, angle: Float[Array, "B"]) -> Float[Array, "B S S 1"]:
    """Each image about its centre by `angle` radians counter-clockwise, black where none was."""
    middle = (images.shape[1] - 1) / 2
    rows, columns = jnp.meshgrid(*(2 * [jnp.arange(images.shape[1]) - middle]), indexing="ij")

    def one(image, angle):
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        places = [middle + cos * rows + sin * columns, middle - sin * rows + cos * columns]
        return map_coordinates(image[..., 0], places, order=1)[..., None]

    return jax.vmap(one)(images.astype(jnp.float32), angle)


def resample(
    images: Shaped[Array, "B S S 1"],
    zoom: Float[Array, "B"],
    shift: Float[Array, "B 2"],
    config: ConfigDict,
) -> Images:
    """Cuts a square of `crop_px / zoom`, moved by `shift` crop sides, into [0, 1] pixels."""
    size, crop = config.image_size_px, config.crop_px
    centre = jnp.array(images.shape[1:3]) / 2
    scale = (zoom * size / crop)[:, None] * jnp.ones((1, 2))
    translation = size / 2 - scale * (centre[None] + shift * crop)

    def one(image, scale, translation):
        # Separable, so XLA runs it as two small matrix products instead of a gather.
        return jax.image.scale_and_translate(
            image, (size, size, 1), (0, 1), scale, translation, method="linear", antialias=True
        )

    return jax.vmap(one)(images.astype(jnp.float32) / 255, scale, translation)


def standardise(pixels: Images) -> Images:
    """Zero mean and unit variance for each image: MRI grey values have no absolute scale."""
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    variance = pixels.var(axis=(1, 2, 3), keepdims=True)
    return (pixels - mean) / jnp.sqrt(variance + 1e-4)
