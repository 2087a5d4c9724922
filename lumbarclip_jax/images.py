"""From stored uint8 slices to what the image encoder sees, on the device.

Slices travel to the device as one-channel bytes, a twelfth of three float32 channels; cutting,
resizing, augmentation and standardisation run inside the compiled step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

Slices = UInt8[Array, "B S S 1"]
Images = Float[Array, "B H W 1"]


def prepare_images(images: Slices, config: ConfigDict) -> Images:
    """The central `config.crop_px` square, resized to `config.image_size_px` and standardised."""
    batch = images.shape[0]
    zoom, shift = jnp.ones(batch), jnp.zeros((batch, 2))
    return _standardise(_resample(images, zoom, shift, config))


def augment_images(key: jax.Array, images: Slices, config: ConfigDict) -> Images:
    """`prepare_images` under a random zoom, shift, gamma, noise and, only if asked, mirroring.

    Draws are keyed by an image's place in the global batch, so they do not depend on how the batch
    is split over devices.
    """
    augment, batch = config.augment, images.shape[0]
    keys = jax.random.split(key, 5)
    zoom = jax.random.uniform(keys[0], (batch,), minval=1 - augment.scale, maxval=1 + augment.scale)
    shift = jax.random.uniform(
        keys[1], (batch, 2), minval=-augment.translate, maxval=augment.translate
    )
    pixels = _resample(images, zoom, shift, config)
    gamma = jax.random.uniform(
        keys[2], (batch, 1, 1, 1), minval=1 - augment.gamma, maxval=1 + augment.gamma
    )
    pixels = jnp.clip(pixels, 1e-6, 1.0) ** gamma
    pixels = pixels + augment.noise * jax.random.normal(keys[3], pixels.shape)
    if augment.mirror:
        mirrored = jax.random.bernoulli(keys[4], shape=(batch, 1, 1, 1))
        pixels = jnp.where(mirrored, pixels[:, :, ::-1], pixels)
    return _standardise(pixels)


def _resample(
    images: Slices, zoom: Float[Array, "B"], shift: Float[Array, "B 2"], config: ConfigDict
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


def _standardise(pixels: Images) -> Images:
    """Zero mean and unit variance for each image: MRI grey values have no absolute scale."""
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    variance = pixels.var(axis=(1, 2, 3), keepdims=True)
    return (pixels - mean) / jnp.sqrt(variance + 1e-4)
