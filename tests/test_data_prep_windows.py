"""Which values become black and white, and pixels of which size are stored."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from data_prep.images import pixels
from data_prep.images.pixels import Rendering
from lumbarclip_jax import inference
from tests.dicom_syntaxes import saved

RAMP = np.arange(0, 1001, dtype=np.uint16)[None]


def rendered(path, window):
    # One row, with zeros above and below.
    return pixels.render(path, Rendering(1001, window=window))[500, :, 0]


def test_the_full_window_spans_the_slice(tmp_path):
    path = saved(tmp_path, RAMP, ExplicitVRLittleEndian, WindowCenter=9, WindowWidth=3)
    np.testing.assert_array_equal(rendered(path, "full"), np.round(RAMP[0] * 0.255))


def test_a_hot_pixel_does_not_darken_the_percentile_window(tmp_path):
    hot = RAMP.copy()
    hot[0, 700] = 60000
    path = saved(tmp_path, hot, ExplicitVRLittleEndian)
    assert rendered(path, "full")[990] < 5
    shown = rendered(path, "percentile")
    # Half a percent of 1001 pixels is 5 of them at either end.
    assert shown[5] == 0
    assert shown[500] == pytest.approx(127, abs=1)
    assert shown[996] == shown[700] == 255


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        # value -> grey, worked out by hand from PS3.3 C.11.2.1
        ({"WindowCenter": 500.5, "WindowWidth": 101}, {450: 0, 500: 128, 550: 255, 475: 64}),
        (
            {"WindowCenter": 500, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"},
            {450: 0, 475: 64, 500: 128, 550: 255},
        ),
        (
            {"WindowCenter": 500, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"},
            {500: 128, 600: 250, 0: 0},
        ),
        ({"WindowCenter": [500.5, 0], "WindowWidth": [101, 9]}, {450: 0, 500: 128}),
        ({"WindowCenter": 500, "WindowWidth": 0}, {0: 0, 500: 128, 1000: 255}),
        ({}, {0: 0, 500: 128, 1000: 255}),
    ],
)
def test_the_files_own_window(fields, shown, tmp_path):
    path = saved(tmp_path, RAMP, ExplicitVRLittleEndian, **fields)
    greys = rendered(path, "file")
    assert {value: int(greys[value]) for value in shown} == pytest.approx(shown, abs=1)


def test_the_window_is_of_rescaled_values_and_inverted_last(tmp_path):
    fields = {"WindowCenter": 5000.5, "WindowWidth": 1001, "RescaleSlope": 10}
    path = saved(
        tmp_path,
        RAMP,
        ExplicitVRLittleEndian,
        PhotometricInterpretation="MONOCHROME1",
        **fields,
    )
    greys = rendered(path, "file")
    assert greys[[0, 449, 551, 1000]].tolist() == [255, 255, 0, 0]
    assert greys[500] in (127, 128)


def test_a_lookup_table_of_the_file(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, 100, 8]
    table.add_new("LUTData", "US", [0, 10, 200, 255])
    path = saved(tmp_path, RAMP, ExplicitVRLittleEndian, VOILUTSequence=[table])
    greys = rendered(path, "file")
    assert greys[[0, 100, 101, 102, 103, 999]].tolist() == [0, 0, 10, 200, 255, 255]


def test_shrinking_does_not_alias(tmp_path):
    # Stripes of one pixel: taking every fourth would show black or white, not their mean.
    stripes = np.tile(np.array([0, 100], np.uint16), (64, 32))
    path = saved(
        tmp_path,
        stripes,
        ExplicitVRLittleEndian,
        PixelSpacing=[0.6875 / 4, 0.6875 / 4],
        WindowCenter=50.5,
        WindowWidth=101,
    )
    shown = pixels.render(path, Rendering(16, window="file"))[1:-1, 1:-1]
    assert shown.min() > 115
    assert shown.max() < 140


@pytest.mark.parametrize(("spacing_mm", "extent"), [(0.6875, 8), (1.375, 4), (0.34375, 16)])
def test_the_stored_spacing_is_an_option(spacing_mm, extent, tmp_path):
    array = np.full((8, 8), 50, np.uint16)
    array[0, 0] = 0
    path = saved(tmp_path, array, ExplicitVRLittleEndian)
    image = pixels.render(path, Rendering(16, spacing_mm))
    rows = np.flatnonzero(image[..., 0].max(1))
    assert rows[-1] - rows[0] + 1 == extent


def test_a_model_sees_files_as_its_training_data_were_stored(tmp_path):
    array = np.random.default_rng(0).integers(0, 4096, (24, 24), np.uint16)
    path = saved(tmp_path, array, ExplicitVRLittleEndian, WindowCenter=500, WindowWidth=100)
    stored = Rendering(16, 1.375, "file")
    shown = inference.stored_slice(path, stored)
    np.testing.assert_array_equal(shown, pixels.render(path, stored))
    assert not np.array_equal(shown, pixels.read(path, 16))
