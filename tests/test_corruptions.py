"""Corruptions: their amounts are what they say, in numbers that can be worked out by hand."""

import numpy as np
import pytest

from lumbarclip_jax.evaluators.corruptions import CORRUPTIONS, corrupt

KEYS = [7, 8]


def scans(size: int = 40) -> np.ndarray:
    greys = np.random.default_rng(0).integers(20, 220, size=(2, size, size, 1))
    return greys.astype(np.uint8)


def flat(grey: int, size: int = 200) -> np.ndarray:
    return np.full((1, size, size, 1), grey, np.uint8)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_every_corruption_keeps_its_contract(name):
    images = scans()
    before = images.copy()
    np.testing.assert_array_equal(corrupt(images, name, 0, KEYS), before)
    severities = range(1, len(CORRUPTIONS[name].amounts) + 1)
    harm = [0.0]
    for severity in severities:
        changed = corrupt(images, name, severity, KEYS)
        assert changed.dtype == np.uint8
        assert changed.shape == images.shape
        np.testing.assert_array_equal(changed, corrupt(images, name, severity, KEYS))
        # An image's accident depends on its key alone, not on its place in the batch.
        np.testing.assert_array_equal(changed[1:], corrupt(images[1:], name, severity, KEYS[1:]))
        harm.append(np.abs(changed.astype(float) - images).mean())
    assert np.all(np.diff(harm) > 0)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(("severity", "patches"), [(1, 40), (2, 120), (3, 200), (4, 280), (5, 360)])
def test_occlusion_blackens_its_share_of_400_patches(severity, patches):
    image = corrupt(flat(90, 320), "occlusion", severity, [0])[0, :, :, 0]
    blocks = image.reshape(20, 16, 20, 16).transpose(0, 2, 1, 3).reshape(400, 256)
    assert set(np.unique(blocks)) == {0, 90}
    np.testing.assert_array_equal(blocks.min(axis=1), blocks.max(axis=1))  # whole patches
    assert np.count_nonzero(blocks[:, 0] == 0) == patches
    lighter = corrupt(flat(90, 320), "occlusion", severity - 1, [0])[0, :, :, 0]
    assert not np.any((lighter == 0) & (image != 0))
    other = corrupt(flat(90, 320), "occlusion", severity, [1])[0, :, :, 0]
    assert np.any(other != image)


def test_rician_noise_in_air_and_in_tissue():
    air = corrupt(flat(0), "rician_noise", 3, [0]).astype(float)
    # sigma = 20: the mean of a Rayleigh variable, and its second moment 2 sigma^2.
    assert air.mean() == pytest.approx(20 * np.sqrt(np.pi / 2), rel=0.01)
    assert (air**2).mean() == pytest.approx(2 * 20**2, rel=0.02)
    tissue = corrupt(flat(120), "rician_noise", 1, [0]).astype(float)
    assert tissue.std() == pytest.approx(5, rel=0.03)
    assert (tissue**2).mean() == pytest.approx(120**2 + 2 * 5**2, rel=0.005)


def test_blur_spreads_a_line_by_its_width():
    image = flat(0, 41)
    image[0, :, 20] = 200
    profile = corrupt(image, "blur", 4, [0])[0, 20, :, 0].astype(float)
    assert profile[20] == pytest.approx(200 / (2.5 * np.sqrt(2 * np.pi)), abs=1)
    spread = np.sqrt(np.average((np.arange(41) - 20) ** 2, weights=profile))
    assert spread == pytest.approx(2.5, rel=0.05)


def test_a_bias_field_spans_its_ratio_where_the_spine_is():
    for severity, ratio in ((1, 1.5), (3, 3.0)):
        image = corrupt(flat(60), "bias_field", severity, [2])[0, :, :, 0].astype(float)
        centre = image[50:150, 50:150]
        assert centre.max() / centre.min() == pytest.approx(ratio, rel=0.04)
        assert np.abs(np.diff(centre, axis=0)).max() <= 4  # smooth
    mild = corrupt(flat(60), "bias_field", 1, [2]).astype(float)
    assert mild.mean() == pytest.approx(60, abs=0.5)


def test_ghosts_of_a_point_lie_a_fifth_apart_and_hold_the_energy():
    image = flat(0, 50)
    image[0, 22, 30] = 200
    ghosts = corrupt(image, "ghosting", 3, [0])[0, :, :, 0].astype(float)
    expected = np.zeros((50, 50))
    expected[22, 30], expected[12, 30], expected[32, 30] = 200, 40, 40  # depth 0.4, half a side
    np.testing.assert_array_equal(ghosts, expected)
    assert (ghosts**2).sum() == 200**2 * (1 + 0.4**2 / 2)


def test_down_sampling_removes_what_a_coarser_matrix_cannot_show():
    x = np.arange(48)
    slow = 100 + 50 * np.cos(2 * np.pi * 4 * x / 48)
    fast = 40 * np.cos(2 * np.pi * 12 * x / 48)
    image = np.rint(np.tile(slow + fast, (48, 1))).astype(np.uint8)[None, :, :, None]
    # A third of the matrix keeps 7 periods a side, 1.5 times coarser keeps 15.
    kept = corrupt(image, "down_sampling", 1, [0])[0, :, :, 0]
    np.testing.assert_allclose(kept.astype(float), image[0, :, :, 0], atol=2)
    lost = corrupt(image, "down_sampling", 3, [0])[0, :, :, 0]
    np.testing.assert_allclose(lost.astype(float), np.tile(slow, (48, 1)), atol=2)
    for severity in range(6):
        np.testing.assert_array_equal(corrupt(flat(77, 48), "down_sampling", severity, [0]), 77)


def test_gamma_keeps_black_and_white_and_bends_what_is_between():
    image = np.zeros((1, 1, 3, 1), np.uint8)
    image[0, 0, :, 0] = (0, 128, 255)
    found = {tuple(corrupt(image, "gamma", 3, [key])[0, 0, :, 0].tolist()) for key in range(20)}
    # 255 (128/255)^2 = 64.25 and 255 (128/255)^0.5 = 180.67.
    assert found == {(0, 64, 255), (0, 181, 255)}


def test_a_flip_is_left_right_and_undoes_itself():
    images = scans()
    flipped = corrupt(images, "left_right_flip", 1, KEYS)
    np.testing.assert_array_equal(flipped[:, :, 0], images[:, :, -1])
    np.testing.assert_array_equal(corrupt(flipped, "left_right_flip", 1, KEYS), images)


@pytest.mark.parametrize(
    ("name", "severity", "sentence"),
    [
        ("fog", 1, "there is no corruption 'fog': choose from occlusion, "),
        ("blur", 6, "blur has no severity 6: choose from 0 to 5"),
        ("left_right_flip", 2, "left_right_flip has no severity 2: choose from 0 to 1"),
        ("blur", -1, "blur has no severity -1"),
    ],
)
def test_what_there_is_not(name, severity, sentence):
    with pytest.raises(ValueError, match=sentence):
        corrupt(scans(), name, severity, KEYS)
