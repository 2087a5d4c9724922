"""What `encode_image` and `encode_text` are given: a row each, or a sentence on what to do."""

import re

import numpy as np
import pytest

import lumbarclip_jax
from data_prep.images import pixels
from data_prep.images.pixels import Rendering
from lumbarclip_jax import inference
from tests import dicom_syntaxes
from tests.enhanced_files import enhanced

SLICE = np.arange(64, dtype=np.uint8).reshape(8, 8)
RENDERING = Rendering(16)


@pytest.fixture(scope="module")
def model(tiny_run):
    return lumbarclip_jax.load(tiny_run.folder)


def test_a_frame_is_named_with_its_file(model, tmp_path):
    path, _ = enhanced(tmp_path)
    rows = model.encode_image([(path, frame) for frame in range(3)])
    assert rows.shape == (3, 16)
    np.testing.assert_allclose(model.encode_image((str(path), 1)), rows[1:2], atol=1e-6)
    for frame in range(3):
        stored = inference.stored_slice((path, np.int64(frame)), RENDERING)
        np.testing.assert_array_equal(stored, pixels.render(path, RENDERING, frame))


def test_a_file_of_several_frames_asks_for_one(tmp_path):
    path, _ = enhanced(tmp_path)
    sentence = (
        "enhanced.dcm holds 3 frames: name one as (path, frame), from 0 to 2, or all of them as "
        "[(path, frame) for frame in range(3)]"
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        inference.stored_slice(path, RENDERING)
    for frame in (3, -1):
        with pytest.raises(ValueError, match=f"has no frame {frame}: name one from 0 to 2"):
            inference.stored_slice((path, frame), RENDERING)


def test_a_file_of_one_frame_has_frame_0(tmp_path):
    path = dicom_syntaxes.saved(tmp_path, SLICE, dicom_syntaxes.ExplicitVRLittleEndian)
    np.testing.assert_array_equal(
        inference.stored_slice((path, 0), RENDERING), inference.stored_slice(path, RENDERING)
    )


def test_files_of_any_orientation_are_one_picture(tmp_path):
    usual = dicom_syntaxes.saved(tmp_path, SLICE, dicom_syntaxes.ExplicitVRLittleEndian)
    expected = inference.stored_slice(usual, RENDERING)
    mirrored = dicom_syntaxes.saved(
        tmp_path,
        np.ascontiguousarray(SLICE[:, ::-1]),
        dicom_syntaxes.ExplicitVRLittleEndian,
        ImageOrientationPatient=[-1, 0, 0, 0, 1, 0],
    )
    np.testing.assert_array_equal(inference.stored_slice(mirrored, RENDERING), expected)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (None, "images are a NoneType"),
        (b"a.dcm", "images are a bytes"),
        ({"a": SLICE}, "images are a dict"),
        (7, "images are a int"),
        (np.array(7, np.uint8), "images are uint8 []"),
        (np.zeros(0), "images are float64 [0]"),
        (np.zeros((0, 8, 8), np.uint8), "images are uint8 [0, 8, 8]"),
        (np.zeros((8, 0), np.uint8), "images are uint8 [8, 0]"),
        (np.zeros((8, 8, 3), np.uint8), "images are uint8 [8, 8, 3], which is colour"),
        (np.zeros((8, 8, 4), np.uint8), "images are uint8 [8, 8, 4], which is colour"),
        (np.full((8, 8), np.nan), "images are float64 [8, 8]"),
        (np.zeros((2, 8, 8), np.uint16), "images are uint16 [2, 8, 8]"),
        (np.zeros((1, 2, 3, 8, 8), np.uint8), "images are uint8 [1, 2, 3, 8, 8]"),
        (np.zeros((2, 1, 8, 8), np.uint8), "image 0 is uint8 [1, 8, 8]"),
        ([SLICE, SLICE.astype(np.float32)], "image 1 is float32 [8, 8]"),
        ([SLICE, np.zeros((8, 8, 3), np.uint8)], "image 1 is uint8 [8, 8, 3]"),
        ([SLICE, SLICE[:0]], "image 1 is uint8 [0, 8]"),
        ([SLICE, None], "image 1 is a NoneType"),
        ([SLICE, []], "image 1 is a list"),
        ([SLICE, b"a.dcm"], "image 1 is a bytes"),
        ([SLICE, ("a.dcm", "1")], "image 1 is a tuple"),
        ([SLICE, ("a.dcm", True)], "image 1 is a tuple"),
        ([SLICE, ("a.dcm", 1.0)], "image 1 is a tuple"),
    ],
)
def test_what_is_no_picture_is_named_by_its_place(images, sentence, model):
    with pytest.raises(ValueError, match=re.escape(f"{sentence}: give uint8 arrays [H, W] or")):
        model.encode_image(images)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (None, "texts: a NoneType is no text: give strings"),
        (b"disc", "texts: a bytes is no text: give strings"),
        (["disc", float("nan")], "texts[1] is a float: give strings"),
        (["disc", None], "texts[1] is a NoneType: give strings"),
        ([["disc"]], "texts[0] is a list: give strings"),
        (["disc", "di\udcffsc"], "texts[1] holds half a character (a lone surrogate): decode"),
        ("\ud800", "texts[0] holds half a character (a lone surrogate): decode"),
    ],
)
def test_what_is_no_text_is_named_by_its_place(texts, sentence, model):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        model.encode_text(texts)
    named = sentence.replace("texts", "class 'odd'", 1)
    with pytest.raises(ValueError, match=re.escape(named)):
        model.zero_shot(SLICE, {"disc": "disc", "odd": texts})


def test_classes_are_a_mapping(model):
    with pytest.raises(ValueError, match="classes are a mapping of names to prompts: give"):
        model.zero_shot(SLICE, ["disc", "sac"])


def test_no_text_and_no_picture_have_no_row(model):
    assert model.encode_text([]).shape == model.encode_image([]).shape == (0, 16)
