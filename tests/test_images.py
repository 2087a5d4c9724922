"""Cutting, resizing and augmenting on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax.images import (
    augment_images,
    prepare_images,
    resample,
    standardise,
    turn,
)


@pytest.fixture
def config():
    data = base.get_config().data
    data.image_size_px = 8
    data.crop_px = 8
    return data


def still(config):
    config.augment.update(scale=0.0, translate=0.0, gamma=0.0, noise=0.0, mirror=False)
    return config


def slices(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (4, 12, 12, 1), np.uint8)


def test_the_centre_is_cut_and_standardised(config):
    images = slices()
    centre = images[:, 2:10, 2:10].astype(np.float64) / 255
    mean = centre.mean(axis=(1, 2, 3), keepdims=True)
    expected = (centre - mean) / np.sqrt(centre.var(axis=(1, 2, 3), keepdims=True) + 1e-4)
    np.testing.assert_allclose(prepare_images(jnp.array(images), config), expected, atol=1e-5)


def test_halving_the_size_averages(config):
    config.image_size_px, config.crop_px = 4, 8
    flat = np.zeros((1, 12, 12, 1), np.uint8)
    flat[:, :, 6:] = 255
    pixels = prepare_images(jnp.array(flat), config)[0, :, :, 0]
    assert (np.asarray(pixels[:, 0]) < -0.9).all()
    assert (np.asarray(pixels[:, -1]) > 0.9).all()


def test_augmentation_without_strength_changes_nothing(config):
    images = jnp.array(slices())
    augmented = augment_images(jax.random.key(1), images, still(config))
    np.testing.assert_allclose(augmented, prepare_images(images, config), atol=1e-4)


def test_augmentation_follows_its_key_and_differs_by_row(config):
    images = jnp.array(np.repeat(slices()[:1], 4, axis=0))
    first, again = (augment_images(jax.random.key(1), images, config) for _ in range(2))
    other = augment_images(jax.random.key(2), images, config)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first[0] - first[1]).max() > 0.1


def test_left_and_right_change_places_only_when_asked(config):
    images = jnp.array(np.repeat(slices()[:1], 64, axis=0))
    config = still(config)
    straight = np.asarray(prepare_images(images, config))[0]

    def mirrored(enabled):
        config.augment.mirror = enabled
        rows = np.asarray(augment_images(jax.random.key(0), images, config))
        return [np.abs(row - straight[:, ::-1]).max() < 1e-3 for row in rows]

    assert sum(mirrored(False)) == 0
    assert 16 < sum(mirrored(True)) < 48


def test_what_is_off_draws_nothing_and_changes_no_bit(config):
    """The five draws of every run so far, one after another, as they have been from the first."""
    images, key, augment = jnp.array(slices()), jax.random.key(3), config.augment
    augment.mirror = True
    keys = jax.random.split(key, 5)

    def uniform(number, shape, middle, strength):
        low, high = middle - strength, middle + strength
        return jax.random.uniform(keys[number], shape, minval=low, maxval=high)

    zoom = uniform(0, (4,), 1, augment.scale)
    pixels = resample(images, zoom, uniform(1, (4, 2), 0, augment.translate), config)
    pixels = jnp.clip(pixels, 1e-6, 1.0) ** uniform(2, (4, 1, 1, 1), 1, augment.gamma)
    pixels = pixels + augment.noise * jax.random.normal(keys[3], pixels.shape)
    mirrored = jax.random.bernoulli(keys[4], shape=(4, 1, 1, 1))
    expected = standardise(jnp.where(mirrored, pixels[:, :, ::-1], pixels))
    np.testing.assert_array_equal(augment_images(key, images, config), expected)


def test_the_upper_end_of_the_zoom_may_be_another(config):
    config = still(config)
    images = jnp.array(slices())
    config.augment.update(scale=0.5, scale_up=0.5)
    same = augment_images(jax.random.key(0), images, config)
    config.augment.scale_up = None
    np.testing.assert_array_equal(augment_images(jax.random.key(0), images, config), same)
    config.augment.scale_up = 0.0
    # A white square on black fills more of the cut where the zoom is larger.
    square = np.zeros((64, 12, 12, 1), np.uint8)
    square[:, 4:8, 4:8] = 255
    bright = [
        float((row > 0).mean())
        for row in augment_images(jax.random.key(0), jnp.array(square), config)
    ]
    whole = float((prepare_images(jnp.array(square[:1]), config) > 0).mean())
    assert max(bright) <= whole
    assert min(bright) < whole


def test_images_turn_about_their_centre_by_at_most_the_angle(config):
    config = still(config)
    turned = turn(jnp.array(slices()), jnp.array([jnp.pi / 2, 0.0, -jnp.pi / 2, jnp.pi]))
    for row, image, times in zip(turned, slices(), (1, 0, -1, 2), strict=True):
        np.testing.assert_allclose(row, np.rot90(image, times), atol=1e-2)
    # A bright column becomes wider by no more than the tangent says.
    column = np.zeros((32, 12, 12, 1), np.uint8)
    column[:, :, 6] = 255
    straight = np.asarray(prepare_images(jnp.array(column), config))
    config.augment.rotate_deg = 10.0
    rows = np.asarray(augment_images(jax.random.key(0), jnp.array(column), config))
    assert (rows[:, :, [0, 1, 6, 7]] < 0).all()  # 6 px of radius times tan 10° is 1.1 px
    assert np.mean([np.abs(row - straight[0]).max() > 0.3 for row in rows]) > 0.2


def test_brightness_and_contrast_are_what_they_clip(config):
    images = jnp.array(np.stack([slices()[0] // 2 + 50, slices()[0]]))
    config = still(config)
    plain = np.asarray(prepare_images(images, config))
    for name in ("brightness", "contrast"):
        config = still(config)
        config.augment.update(brightness=0.0, contrast=0.0)
        config.augment[name] = 0.2
        keys = map(jax.random.key, range(8))
        changed = np.stack([augment_images(key, images, config) for key in keys])
        # Nothing of middle greys is clipped, and a change of scale alone is standardised away.
        np.testing.assert_allclose(changed[:, 0], np.repeat(plain[:1], 8, 0), atol=0.02)
        assert np.abs(changed[:, 1] - plain[1]).max() > 0.1, name
