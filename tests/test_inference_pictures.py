"""What `encode_image` and `encode_text` are given: a row each, or a sentence on what to do."""

import re

import numpy as np
import PIL.Image
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


DEEP = np.random.default_rng(0).integers(300, 4000, (16, 16), np.uint16)


def stored(image, window="full"):
    (item,) = inference.slices_of(image)
    return inference.stored_slice(item, Rendering(16, window=window))[..., 0]


def test_pillow_images_and_picture_files_are_taken_as_they_are(model, tmp_path):
    image = PIL.Image.fromarray(SLICE)
    image.save(tmp_path / "slice.png")
    image.save(tmp_path / "slice.JPG", quality=100, subsampling=0)
    image.convert("RGB").save(tmp_path / "colour.png")
    for form in (image, image.convert("RGB"), tmp_path / "slice.png", tmp_path / "colour.png"):
        np.testing.assert_array_equal(stored(form), stored(SLICE))
    decoded = np.asarray(PIL.Image.open(tmp_path / "slice.JPG"))
    np.testing.assert_array_equal(stored(tmp_path / "slice.JPG"), stored(decoded))
    assert np.abs(decoded - SLICE.astype(int)).max() <= 2
    PIL.Image.open(tmp_path / "slice.JPG").convert("RGB").save(tmp_path / "rgb.jpeg", quality=100)
    assert np.abs(stored(tmp_path / "rgb.jpeg") - stored(SLICE).astype(int)).max() <= 4
    rows = model.encode_image([image, SLICE, tmp_path / "slice.png", PIL.Image.fromarray(DEEP)])
    np.testing.assert_allclose(rows[:3], rows[[1, 1, 1]], atol=1e-6)
    assert rows.shape == (4, 16)


@pytest.mark.parametrize("window", ["full", "percentile", "file"])
def test_16_bits_are_windowed_as_those_of_a_dicom_file(window, tmp_path):
    PIL.Image.fromarray(DEEP).save(tmp_path / "deep.png")
    with PIL.Image.open(tmp_path / "deep.png") as image:
        assert image.mode.startswith("I")
    dicom = dicom_syntaxes.saved(tmp_path, DEEP, dicom_syntaxes.ExplicitVRLittleEndian)
    expected = pixels.render(dicom, Rendering(16, window=window))[..., 0]
    assert np.ptp(expected) == 255
    wide = PIL.Image.fromarray(DEEP.astype(np.int32))
    for form in (tmp_path / "deep.png", PIL.Image.fromarray(DEEP), wide):
        np.testing.assert_array_equal(stored(form, window), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1", "CMYK"])
def test_a_picture_with_colours_is_named(mode, tmp_path):
    image = PIL.Image.new("RGB", (8, 8), (9, 30, 200)).convert(mode)
    sentence = "cannot be used: colour or unusual pixel format (not grey of 8 or 16 bits)"
    with pytest.raises(ValueError, match=re.escape(f"image 1 {sentence}")):
        inference.slices_of([SLICE, image])
    path = tmp_path / ("colour.jpg" if mode == "CMYK" else "colour.png")
    image.save(path)
    with pytest.raises(ValueError, match=re.escape(f"{path} {sentence}")):
        stored(path)


def test_a_pillow_image_whose_file_is_closed_is_named(tmp_path):
    PIL.Image.fromarray(SLICE).save(tmp_path / "slice.png")
    with PIL.Image.open(tmp_path / "slice.png") as image:
        pass
    with pytest.raises(ValueError, match=r"image 0 cannot be used: .*\(its file is closed\)"):
        inference.slices_of(image)


def test_a_picture_that_is_cut_is_named(tmp_path):
    path = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    PIL.Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    sentence = re.escape(" cannot be used: an image file that cannot be decoded (OSError)")
    with pytest.raises(ValueError, match=str(path) + sentence):
        stored(path)
    with PIL.Image.open(path) as image, pytest.raises(ValueError, match="image 0" + sentence):
        inference.slices_of(image)


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


def test_a_list_of_prompts_is_a_class_each(model):
    prompts = ["disc protrusion", "normal disc"]
    listed = model.zero_shot(SLICE, prompts)
    assert listed.classes == tuple(prompts)
    named = model.zero_shot(SLICE, {text: [text] for text in prompts})
    np.testing.assert_array_equal(listed.probabilities, named.probabilities)


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (["disc"], "zero_shot compares classes: give two or more, each with a prompt"),
        ("disc", "zero_shot compares classes: give two or more, each with a prompt"),
        (["disc", "sac", "disc"], "classes: 'disc' is there twice: name each class once"),
        (["disc", 7], "classes[1] is a int: give strings"),
        ([["disc"], ["sac"]], "classes[0] is a list: give strings"),
        (None, "classes: a NoneType is no text: give strings"),
    ],
)
def test_what_are_no_classes_is_said(classes, sentence, model):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        model.zero_shot(SLICE, classes)


def test_no_text_and_no_picture_have_no_row(model):
    assert model.encode_text([]).shape == model.encode_image([]).shape == (0, 16)
