"""`lumbarclip_jax.load` and the model it gives: pictures in every form, texts, probabilities."""

import dataclasses
import re
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy

import lumbarclip_jax
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators.prompts import load_prompts, sides
from lumbarclip_jax.evaluators.zero_shot import ZeroShot
from lumbarclip_jax.export import export
from lumbarclip_jax.inference import Model
from lumbarclip_jax.run_folder import checksums
from tests import data_prep_cohort as cohort
from tests.conftest import REPOSITORY

SLICES = np.random.default_rng(0).integers(0, 256, (11, 32, 32), np.uint8)


@pytest.fixture(scope="module")
def model(tiny_run):
    return lumbarclip_jax.load(tiny_run.folder)


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(tiny_run.folder, "safetensors", folder)
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_a_run_and_its_export_are_the_same_model(model, exported):
    loaded = lumbarclip_jax.load(str(exported))
    assert int(loaded.run.state.step) == int(model.run.state.step)
    np.testing.assert_array_equal(loaded.encode_image(SLICES[:3]), model.encode_image(SLICES[:3]))
    np.testing.assert_array_equal(loaded.encode_text("disc"), model.encode_text("disc"))


def test_embeddings_are_those_of_the_evaluators(model, tiny_run, tiny_dataset):
    dataset = Dataset(tiny_dataset)
    split = tiny_run.embedder(dataset)(tiny_run.state, "test")
    images = model.encode_image(dataset.images("test", range(len(split))))
    close(images, split.image_embeds)
    close(np.linalg.norm(images, axis=1), 1)
    for row in range(3):
        close(model.encode_text(split.report[row], split.level[row])[0], split.text_embeds[row])
    assert images.dtype == np.float32
    assert np.abs(images[0] - images[1]).max() > 1e-3


def test_every_form_of_a_picture_is_the_same_picture(model, tmp_path):
    expected = model.encode_image(SLICES)
    assert expected.shape == (11, 16)  # two batches, the second padded
    PIL.Image.fromarray(SLICES[0]).save(tmp_path / "slice.png")
    for form in (
        SLICES[0],
        SLICES[0][..., None],
        SLICES[:1],
        SLICES[:1, ..., None],
        [SLICES[0]],
        tmp_path / "slice.png",
        [str(tmp_path / "slice.png")],
    ):
        close(model.encode_image(form), expected[:1])
    mixed = model.encode_image([SLICES[4], tmp_path / "slice.png"])
    close(mixed, expected[[4, 0]])
    assert model.encode_image([]).shape == (0, 16)


def test_slices_of_other_sizes_are_cut_and_padded_around_their_centre(model):
    larger = np.pad(SLICES[0], ((5, 5), (2, 2)), constant_values=99)
    close(model.encode_image(larger), model.encode_image(SLICES[0]))
    smaller = SLICES[0, 4:28, 1:31]
    zeros_around = np.pad(smaller, ((4, 4), (1, 1)))
    close(model.encode_image(smaller), model.encode_image(zeros_around))


def test_dicom_is_read_as_the_training_data_was(model, tmp_path):
    pixels = SLICES[0].astype(np.uint16) * 16  # stretching to 8 bits divides by 16 again
    pixels[0, :2] = 0, 4080
    shown = (pixels // 16).astype(np.uint8)
    dataset = cohort.slice_dataset([0, 0, 0], pixels, orientation=[1, 0, 0, 0, 1, 0])
    dataset.save_as(tmp_path / "plain.dcm")
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(tmp_path / "inverted.dcm")
    dataset.PixelSpacing = [0.34375, 0.34375]
    dataset.save_as(tmp_path / "fine.dcm")
    names = ("plain.dcm", "inverted.dcm", "fine.dcm")
    plain, inverted, fine = model.encode_image([tmp_path / name for name in names])
    close(plain, model.encode_image(shown)[0])
    close(inverted, model.encode_image(255 - shown)[0])
    # Pixels of half the size: the picture covers the central 16 of the 32 stored pixels.
    halved = np.asarray(
        PIL.Image.fromarray(-pixels.astype(np.float32)).resize((16, 16), PIL.Image.BILINEAR)
    )
    low, high = halved.min(), halved.max()
    halved = np.round((halved - low) * (255 / (high - low))).astype(np.uint8)
    close(fine, model.encode_image(halved)[0])


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((32, 32), np.float32), r"float32 \[32, 32\]: give uint8 arrays"),
        (np.zeros((2, 32, 32, 3), np.uint8), r"uint8 \[32, 32, 3\]: give uint8 arrays"),
        ("nowhere.dcm", "there is no image nowhere.dcm"),
        ("text.dcm", "text.dcm cannot be used: a DICOM file that cannot be parsed"),
        ("text.png", "text.png cannot be used: an image file that cannot be decoded"),
        ("colour.png", r"colour.png cannot be used: .*pixel format \(not grey of 8 or"),
    ],
)
def test_what_is_no_slice_is_named(model, images, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("text.dcm", "text.png"):
        (tmp_path / name).write_text("no picture")
    PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / "colour.png")
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        model.encode_image(images)


def test_a_level_is_put_before_the_text_only_when_given(model):
    close(model.encode_text("disc", level="L4-L5"), model.encode_text(["L4-L5 : disc"]))
    assert np.abs(model.encode_text("disc", "L4-L5") - model.encode_text("disc")).max() > 1e-3
    with pytest.raises(ValueError, match="level 'L4/5' is not one of L3-L4, L4-L5, L5-S1"):
        model.encode_text("disc", level="L4/5")


def test_a_model_without_levels_refuses_one(tiny_run):
    config = tiny_run.config.copy_and_resolve_references()
    config.data.level_prefix = False
    model = Model(dataclasses.replace(tiny_run, config=config))
    with pytest.raises(ValueError, match="trained without levels"):
        model.encode_text("disc", level="L4-L5")


def test_zero_shot_is_the_softmax_of_cosines_over_the_temperature(model):
    prompts = {"normal": ["normal study", "disc"], "protrusion": "disc protrusion", "z": ["sac"]}
    result = model.zero_shot(SLICES[:4], prompts, level="L5-S1")
    assert result.classes == ("normal", "protrusion", "z")
    texts = model.encode_text(["normal study", "disc", "disc protrusion", "sac"], level="L5-S1")
    both = texts[0] + texts[1]
    classes = np.stack([both / np.linalg.norm(both), texts[2], texts[3]])
    temperature = np.exp(-float(model.run.state.params["logit_scale"]))
    odds = np.exp(model.encode_image(SLICES[:4]) @ classes.T / temperature)
    close(result.probabilities, odds / odds.sum(1, keepdims=True))
    assert np.ptp(result.probabilities[:, 0]) > 1e-3


@pytest.mark.parametrize("task", ["pfirrmann", "disc_displacement"])
def test_what_is_measured_of_zero_shot_is_what_it_says(model, exported, tiny_dataset, task):
    dataset = Dataset(tiny_dataset)
    evaluator = ZeroShot(model.run.embedder(dataset), split="test", tasks=(task,), resamples=1)
    _, kept = evaluator.run(model.run.state)
    measured = kept.predictions[f"test/zero_shot/{task}"]
    place = {name: row for row, name in enumerate(dataset.columns("test").image_id)}
    images = dataset.images("test", [place[name] for name in measured.image_id])
    for asked in (model, lumbarclip_jax.load(exported)):
        said = np.zeros(measured.probabilities.shape, np.float32)
        for level in np.unique(measured.level):
            prompts = zip(measured.classes, sides(measured.classes), strict=True)
            prompts = {name: load_prompts(task, level, side) for name, side in prompts}
            at = measured.level == level
            said[at], classes = asked.zero_shot(images[at], prompts, level=level)
            assert classes == measured.classes
        close(said, measured.probabilities)
        by_patient = kept.predictions[f"test/zero_shot/{task}/by_patient"]
        mean = [said[measured.patient_id == of].mean(0) for of in by_patient.patient_id]
        close(mean, by_patient.probabilities)
    assert np.ptp(said[:, 0]) > 1e-3


@pytest.mark.parametrize("classes", [{"one": ["disc"]}, {"one": ["disc"], "two": []}])
def test_zero_shot_needs_classes_to_compare(model, classes):
    with pytest.raises(ValueError, match="give two or more, each with a prompt"):
        model.zero_shot(SLICES[:1], classes)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_changed_file_is_named(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not the file that was exported \(its sha256"):
        lumbarclip_jax.load(copied)


def test_a_truncated_file_is_named(copied):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model.safetensors is not the file that was exported"):
        lumbarclip_jax.load(copied)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "SHA256SUMS"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing: copy the whole"):
        lumbarclip_jax.load(copied)


def test_a_file_without_a_checksum_is_refused(copied):
    checksums.write(copied, but=("model.safetensors",))
    with pytest.raises(ValueError, match=r"does not list model\.safetensors"):
        lumbarclip_jax.load(copied)


def test_weights_of_another_model_are_listed_key_by_key(copied):
    arrays = safetensors.numpy.load_file(copied / "model.safetensors")
    arrays["params/extra"] = np.zeros(1, np.float32)
    arrays["params/logit_scale"] = np.zeros(2, np.float32)
    del arrays["params/image_projection/fc1/bias"]
    safetensors.numpy.save_file(arrays, copied / "model.safetensors", metadata={"step": "1"})
    checksums.write(copied)
    expected = (
        r"params/extra is unexpected; params/image_projection/fc1/bias is missing; "
        r"params/logit_scale is \(2,\), not \(\)\. Use both files of one export"
    )
    with pytest.raises(ValueError, match=expected):
        lumbarclip_jax.load(copied)


def test_importing_the_package_starts_nothing():
    code = "import sys, lumbarclip_jax; print(lumbarclip_jax.load.__name__, 'jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["load", "False"]


def test_the_lines_of_the_readme_run(tiny_run, tmp_path, monkeypatch):
    readme = (REPOSITORY / "README.md").read_text()
    code = re.search(r"```python\n(import lumbarclip_jax\n.*?)```", readme, re.S)[1]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "lumbar").symlink_to(tiny_run.folder)
    dataset = cohort.slice_dataset([0, 0, 0], SLICES[0].astype(np.uint16), orientation=[1, 0] * 3)
    dataset.save_as(tmp_path / "slice.dcm")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["image_embeds"].shape == (1, 16)
    assert names["text_embeds"].shape == (1, 16)
    close(names["probabilities"].sum(axis=1), 1)
