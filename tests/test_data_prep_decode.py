"""From the bytes of a file to the greys that it means: syntaxes, bits, frames, windows."""

import sys

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from data_prep.images import dicom
from data_prep.images.dicom_pixels import read_pixels
from data_prep.images.headers import read_headers
from data_prep.records.drops import Reason
from tests import dicom_syntaxes
from tests.dicom_syntaxes import saved
from tests.enhanced_files import enhanced

KINDS = {
    # bits stored, type, offset and factor of values between -1000 and 1000
    "8 bits": (8, np.uint8, 1000, 1 / 8),
    "12 bits": (12, np.uint16, 2000, 1),
    "12 bits signed": (12, np.int16, 0, 1),
    "16 bits": (16, np.uint16, 2000, 20),
    "16 bits signed": (16, np.int16, 0, 20),
}


def values(kind: str, shape=(40, 36)) -> np.ndarray:
    _, dtype, offset, factor = KINDS[kind]
    steps = np.random.default_rng(0).integers(-30, 31, shape)
    smooth = np.cumsum(steps, axis=-1).clip(-1000, 1000)
    return ((smooth + offset) * factor).astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", dicom_syntaxes.LOSSLESS, ids=lambda syntax: syntax.keyword)
def test_lossless_syntaxes_give_every_value_back(kind, syntax, tmp_path):
    array = values(kind)
    path = saved(tmp_path, array, syntax, bits=KINDS[kind][0])
    np.testing.assert_array_equal(read_pixels(path).values, array)


@pytest.mark.parametrize(
    ("syntax", "kind", "largest"),
    [
        (JPEGLSNearLossless, "12 bits", dicom_syntaxes.NEAR),
        (JPEGLSNearLossless, "16 bits signed", dicom_syntaxes.NEAR),
        (JPEG2000, "12 bits", 20),
        (JPEG2000, "12 bits signed", 20),
        (JPEGBaseline8Bit, "8 bits", 12),
    ],
)
def test_lossy_syntaxes_stay_within_a_bound(syntax, kind, largest, tmp_path):
    array = values(kind)
    decoded = read_pixels(saved(tmp_path, array, syntax, bits=KINDS[kind][0])).values
    difference = np.abs(decoded - array.astype(np.float32))
    assert 0 < difference.max() <= largest


@pytest.mark.parametrize("kind", ["8 bits", "12 bits", "12 bits signed"])
def test_extended_jpeg_stays_within_a_bound(kind, tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs", reason="needs lumbarclip_jax[jpeg]")
    array, bits = values(kind), KINDS[kind][0]
    as_bits = array.view(np.uint16) & 0xFFF if array.dtype == np.int16 else array
    coded = imagecodecs.jpeg_encode(as_bits, level=98, bitspersample=bits)
    path = saved(tmp_path, array, dicom_syntaxes.ExplicitVRLittleEndian, bits=bits)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    dataset.PixelData = encapsulate([coded])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    difference = np.abs(read_pixels(path).values - array)
    if array.dtype == np.int16:  # a sign that is lost in a jump between 0 and 4095
        difference = difference[(np.abs(array) > 100)]
    assert 0 < difference.max() <= 20


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    path = saved(tmp_path, values("8 bits"), JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    dataset.save_as(path)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(dicom.Rejected) as caught:
        read_pixels(path)
    assert caught.value.reason == Reason.UNSUPPORTED_SYNTAX
    assert caught.value.detail == "install lumbarclip_jax[jpeg]"


def test_a_video_is_refused(tmp_path):
    path = saved(tmp_path, values("8 bits"), JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.save_as(path)
    with pytest.raises(dicom.Rejected) as caught:
        read_pixels(path)
    assert caught.value.reason == Reason.UNSUPPORTED_SYNTAX


@pytest.mark.parametrize(
    "syntax", [*dicom_syntaxes.LOSSLESS[4:], JPEGLSNearLossless, JPEGBaseline8Bit]
)
def test_a_frame_of_another_size_is_refused_before_it_is_unpacked(syntax, tmp_path, monkeypatch):
    path = saved(tmp_path, values("8 bits", (96, 96)), syntax)
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 8
    dataset.save_as(path)
    monkeypatch.setattr(
        "data_prep.images.dicom_pixels.pixel_array", lambda *_, **__: pytest.fail("unpacked")
    )
    with pytest.raises(dicom.Rejected) as caught:
        read_pixels(path)
    assert caught.value.reason == Reason.UNREADABLE_DICOM
    assert caught.value.detail == "frame of another size than the header's"


def test_unused_high_bits_are_not_pixels(tmp_path):
    # Old files keep overlays there.
    array = np.array([[0x7001, 0x0FFF]], np.uint16)
    path = saved(tmp_path, array, dicom_syntaxes.ExplicitVRLittleEndian, bits=12)
    assert read_pixels(path).values.tolist() == [[1, 4095]]


def test_a_table_stands_in_for_slope_and_intercept(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor = [3, 1, 16]
    table.add_new("LUTData", "US", [70, 500, 9])
    path = saved(
        tmp_path,
        np.array([[1, 2], [3, 4]], np.uint16),
        dicom_syntaxes.ExplicitVRLittleEndian,
        ModalityLUTSequence=[table],
    )
    # PS3.3 C.11.1: from the first value mapped, 1; what lies beyond has the last entry.
    assert read_pixels(path).values.tolist() == [[70, 500], [9, 9]]


def test_an_enhanced_image_is_judged_frame_by_frame(tmp_path):
    path, _ = enhanced(tmp_path)
    headers = read_headers(path)
    assert [header.frame for header in headers] == [0, 1, 2]
    assert [header.plane.corner_mm[2] for header in headers] == [0, 10, 20]
    assert {header.plane.view for header in headers} == {"axial"}
    assert {header.plane.spacing_mm for header in headers} == {(1.5, 0.5)}
    assert {(h.sequence, h.kind) for h in headers} == {("T2", None)}


def test_each_frame_has_its_own_rescale(tmp_path):
    path, array = enhanced(tmp_path)
    for frame in range(3):
        expected = array[frame] * (frame + 1) + frame
        decoded = read_pixels(path, frame)
        np.testing.assert_array_equal(decoded.values, expected)
        assert decoded.spacing_mm == (1.5, 0.5)
    with pytest.raises(dicom.Rejected):
        read_pixels(path, 3)


def test_each_frame_has_its_own_window(tmp_path):
    path, array = enhanced(tmp_path)
    value = array[1][1, 0] * 2 + 1  # 51
    assert value == 51
    shown = read_pixels(path, 1, display=True)
    assert shown.displayed
    # PS3.3 C.11.2.1.2.1 with centre 30 and width 20: ((51 - 29.5) / 19 + 0.5), clipped.
    assert shown.values[1, 0] == 1
    first = read_pixels(path, 0, display=True).values[0, 4]
    assert first == 0


def test_a_multi_frame_file_without_functional_groups_has_no_geometry(tmp_path):
    path = saved(tmp_path, np.stack([values("12 bits")] * 2), dicom_syntaxes.ExplicitVRLittleEndian)
    assert [header.plane for header in read_headers(path)] == [None, None]
    np.testing.assert_array_equal(read_pixels(path, 1).values, values("12 bits"))


@pytest.mark.parametrize("syntax", dicom_syntaxes.LOSSLESS[4:], ids=lambda syntax: syntax.keyword)
def test_one_frame_of_many_is_decoded(syntax, tmp_path):
    array = np.stack([values("12 bits") + np.uint16(n) for n in range(3)])
    path = saved(tmp_path, array, syntax, bits=12)
    np.testing.assert_array_equal(read_pixels(path, 2).values, array[2])
