"""Lossless JPEG: every predictor, restarts, all 16 bits; and what is damaged raises."""

import contextlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLossless

from data_prep.images import lossless_jpeg
from data_prep.images.dicom_pixels import read_pixels
from tests import dicom_syntaxes

SHAPE = (12, 10)


def smooth(bits: int) -> np.ndarray:
    steps = np.random.default_rng(bits).integers(-9, 10, SHAPE)
    return (np.cumsum(steps, axis=1) + 2 ** (bits - 1)).clip(0, 2**bits - 1).astype(np.uint16)


def noise(bits: int) -> np.ndarray:
    """Every size of difference, 32768 included."""
    pixels = np.random.default_rng(0).integers(0, 2**bits, SHAPE, np.uint16)
    pixels[0, :4] = 0, 2 ** (bits - 1), 0, 2**bits - 1
    return pixels


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("make", [smooth, noise])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_predictor_gives_every_value_back(predictor, make, bits):
    pixels = make(bits)
    coded = dicom_syntaxes.lossless_jpeg(pixels, bits, predictor=predictor)
    np.testing.assert_array_equal(lossless_jpeg.decode(coded), pixels)


@pytest.mark.parametrize("restart_rows", [1, 3, 5])
def test_restarts_begin_anew(restart_rows):
    pixels = noise(12)
    coded = dicom_syntaxes.lossless_jpeg(pixels, 12, predictor=4, restart_rows=restart_rows)
    np.testing.assert_array_equal(lossless_jpeg.decode(coded), pixels)


def test_a_point_transform_drops_the_lowest_bits():
    coded = dicom_syntaxes.lossless_jpeg(noise(12), 12, shift=3)
    np.testing.assert_array_equal(lossless_jpeg.decode(coded), noise(12) // 8 * 8)


def test_chunks_of_bits_are_joined(monkeypatch):
    monkeypatch.setattr(lossless_jpeg, "CHUNK_BITS", 64)
    coded = dicom_syntaxes.lossless_jpeg(noise(16), 16)
    np.testing.assert_array_equal(lossless_jpeg.decode(coded), noise(16))


def test_a_picture_of_known_bits():
    # Two pixels, 130 and 129 of 8 bits. Codes: 0 for category 1, 10 for category 2.
    # 130 - 128 = 2: 10 10; 129 - 130 = -1: 0 0; padded with ones: 1010 0011.
    coded = bytes.fromhex(
        "ffd8 ffc4 0015 00 0101000000000000 0000000000000000 01 02"
        "ffc3 000b 08 0001 0002 01 01 11 00  ffda 0008 01 01 00 01 00 00  a3 ffd9"
    )
    assert lossless_jpeg.decode(coded).tolist() == [[130, 129]]


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_another_decoder_agrees(bits):
    imagecodecs = pytest.importorskip("imagecodecs", reason="needs lumbarclip_jax[jpeg]")
    coded = dicom_syntaxes.lossless_jpeg(noise(bits), bits)
    np.testing.assert_array_equal(lossless_jpeg.decode(coded), imagecodecs.jpeg_decode(coded))


def test_damage_is_an_error_of_a_few_kinds():
    rng = np.random.default_rng(0)
    coded = dicom_syntaxes.lossless_jpeg(smooth(12), 12)
    for _ in range(300):
        damaged = bytearray(coded)
        for place in rng.integers(0, len(coded), 3):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(ValueError, IndexError):
            assert lossless_jpeg.decode(bytes(damaged)).dtype == np.uint16
    for end in range(0, len(coded) - 2, 7):
        with pytest.raises((ValueError, IndexError)):
            lossless_jpeg.decode(coded[:end])


def test_other_predictors_have_their_own_syntax(tmp_path):
    path = dicom_syntaxes.saved(tmp_path, noise(12), dicom_syntaxes.JPEGLosslessSV1, bits=12)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGLossless
    dataset.save_as(path)
    np.testing.assert_array_equal(read_pixels(path).values, noise(12))
