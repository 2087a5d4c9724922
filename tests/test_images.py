"""Cutting, resizing and augmenting on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax.images import augment_images, prepare_images


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
