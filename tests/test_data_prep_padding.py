"""Padding is no part of a picture: it sets no window, reaches no neighbour and is black."""

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

from data_prep.images import dicom, pixels
from data_prep.images.dicom_pixels import read_pixels
from data_prep.images.pixels import Rendering
from data_prep.records.drops import Reason
from tests import dicom_syntaxes

SIDE = 16
CORNER = np.s_[:4, :4]


def anatomy(dtype=np.int16, low=100, high=900) -> np.ndarray:
    """Values from low to high, both outside the corner."""
    array = np.linspace(low, high, SIDE * SIDE).round().reshape(SIDE, SIDE)
    array[CORNER] = array[8, 8]
    array[8, 0] = low
    return array.astype(dtype)


def padded(array: np.ndarray, value: int) -> np.ndarray:
    array = array.copy()
    array[CORNER] = value
    return array


def saved(tmp_path, array, padding=None, limit=None, *, vr=None, syntax=None, **fields):
    """The path of a slice; `vr` is that of its padding, whatever its pixels are."""
    dataset = dicom_syntaxes.slice_dataset(
        [0, 0, 0], array, orientation=dicom_syntaxes.ORIENTATIONS["axial"]
    )
    dataset.BitsStored = 8 * array.itemsize
    for name, value in fields.items():
        setattr(dataset, name, value)
    dicom_syntaxes.set_pixels(dataset, array, syntax or ExplicitVRLittleEndian)
    for name, value in (("PixelPaddingValue", padding), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            usual = "SS" if array.dtype.kind == "i" else "US"
            dataset.add_new(tag_for_keyword(name), vr or usual, value)
    dicom_syntaxes.save(dataset, tmp_path / "slice.dcm")
    return tmp_path / "slice.dcm"


def rendered(path, window="full", spacing_mm=0.6875, size_px=SIDE):
    return pixels.render(path, Rendering(size_px, spacing_mm, window))[..., 0]


def expected(array: np.ndarray, window="full") -> np.ndarray:
    """The greys of the anatomy alone, and a black corner."""
    mask = np.ones(array.shape, bool)
    mask[CORNER] = False
    inside = array[mask].astype(np.float64)
    low, high = (
        np.percentile(inside, (0.5, 99.5))
        if window == "percentile"
        else (inside.min(), inside.max())
    )
    greys = (array.clip(low, high) - low) * 255 / (high - low)
    return np.where(mask, greys.round(), 0)


@pytest.mark.parametrize("window", ["full", "percentile"])
@pytest.mark.parametrize(
    ("dtype", "in_pixels", "stated", "vr"),
    [
        (np.int16, -32768, -32768, "SS"),
        (np.int16, -2000, -2000, "SS"),
        (np.int16, -2000, 63536, "US"),
        (np.int16, -2000, "-2000", "DS"),
        (np.uint16, 32768, -32768, "SS"),
        (np.uint16, 65535, 65535, "US"),
        (np.uint16, 65535, -1, "SS"),
        (np.uint16, 500, 500, "US"),
    ],
)
def test_padding_sets_no_window_and_is_black(dtype, in_pixels, stated, vr, window, tmp_path):
    array = anatomy(dtype)
    array[array == in_pixels] += 1  # which is no anatomy
    path = saved(tmp_path, padded(array, in_pixels), stated, vr=vr)
    np.testing.assert_allclose(rendered(path, window), expected(array, window), atol=1)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEGLosslessSV1])
def test_padding_of_every_syntax(syntax, tmp_path):
    path = saved(tmp_path, padded(anatomy(), -2000), -2000, syntax=syntax)
    np.testing.assert_allclose(rendered(path), expected(anatomy()), atol=1)


@pytest.mark.parametrize(
    ("dtype", "ends", "vr"),
    [
        (np.int16, (-2003, -1997), "SS"),
        (np.int16, (-1997, -2003), "SS"),
        (np.int16, (63533, 63539), "US"),
        (np.uint16, (63533, 63539), "US"),
        (np.uint16, (63539, 63533), "US"),
        (np.uint16, (-2003, 0), "SS"),
    ],
)
def test_a_range_of_padding_in_either_order(dtype, ends, vr, tmp_path):
    array = padded(anatomy(np.int16), -2000)
    array[0, :4] = -2003, -1997, -1999, -2001
    path = saved(tmp_path, array.astype(dtype), *ends, vr=vr)
    np.testing.assert_allclose(rendered(path), expected(anatomy()), atol=1)


def test_inverted_padding_is_black_as_it_is_shown(tmp_path):
    for value in (0, 4095):
        array = padded(anatomy(np.uint16), value)
        path = saved(tmp_path, array, value, PhotometricInterpretation="MONOCHROME1")
        greys = expected(1000 - anatomy(np.float64))
        np.testing.assert_allclose(rendered(path), greys, atol=1)


def test_padding_is_black_in_the_files_own_window(tmp_path):
    # 0 is grey in it, and white when inverted.
    fields = {"WindowCenter": 500, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}
    for value in (0, 3000):
        for photometric, sign in (("MONOCHROME2", 1), ("MONOCHROME1", -1)):
            fields["PhotometricInterpretation"] = photometric
            greys = rendered(saved(tmp_path, padded(anatomy(), value), value, **fields), "file")
            assert not greys[CORNER].any()
            shown = 127.5 + sign * (anatomy()[4:] - 500.0) / 2000 * 255
            np.testing.assert_allclose(greys[4:], shown, atol=1)


@pytest.mark.parametrize("window", ["full", "percentile", "file"])
@pytest.mark.parametrize("spacing_mm", [0.6875, 0.5, 1.375])
def test_ordinary_zeros_stay_what_they_were(spacing_mm, window, tmp_path):
    array = padded(anatomy(np.uint16, low=20), 0)
    array[12, 3:9] = 0  # air
    window_fields = {"WindowCenter": 500, "WindowWidth": 1000}
    plain = rendered(saved(tmp_path, array, **window_fields), window, spacing_mm)
    stated = rendered(saved(tmp_path, array, 0, **window_fields), window, spacing_mm)
    np.testing.assert_array_equal(stated, plain)
    assert stated.any()


def test_zeros_far_below_the_anatomy_are_padding(tmp_path):
    array = anatomy(np.uint16, low=3000, high=3500)
    path = saved(tmp_path, padded(array, 0), 0)
    np.testing.assert_allclose(rendered(path), expected(array), atol=1)


def test_a_value_that_no_pixel_has_changes_nothing(tmp_path):
    plain = rendered(saved(tmp_path, anatomy()))
    np.testing.assert_array_equal(rendered(saved(tmp_path, anatomy(), -2000)), plain)
    np.testing.assert_array_equal(rendered(saved(tmp_path, anatomy(), limit=400)), plain)


@pytest.mark.parametrize("spacing_mm", [0.34375, 0.5, 1.2])
def test_resampling_mixes_no_padding_into_its_neighbours(spacing_mm, tmp_path):
    array = np.full((SIDE, SIDE), 500, np.int16)
    array[10, 10], array[12, 12] = 400, 600
    size = round(SIDE * 0.6875 / spacing_mm)
    plain = rendered(saved(tmp_path, array), spacing_mm=spacing_mm, size_px=size)
    path = saved(tmp_path, padded(array, -32768), -32768)
    found = rendered(path, spacing_mm=spacing_mm, size_px=size)
    black = found == 0
    assert 0.7 < black[: size // 2, : size // 2].sum() / (size / 4) ** 2 < 1.3
    black[size // 2 - 1 :] = False
    np.testing.assert_array_equal(found[~black], plain[~black])
    fields = {"WindowCenter": 500, "WindowWidth": 400}
    path = saved(tmp_path, padded(array, -32768), -32768, **fields)
    shown = rendered(path, "file", spacing_mm, size)
    assert set(np.unique(shown[: size // 2, : size // 2]).tolist()) == {0, 128}


def test_a_picture_of_padding_alone_is_left_out(tmp_path):
    path = saved(tmp_path, np.full((8, 8), -2000, np.int16), -2000)
    assert read_pixels(path).padded.all()
    with pytest.raises(dicom.Rejected) as caught:
        rendered(path)
    assert caught.value.reason == Reason.NO_IMAGE
    assert caught.value.detail == "all of it is padding"
