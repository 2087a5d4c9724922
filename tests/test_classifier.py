"""A fine-tuned classifier in use: its folder and its export repeat what was measured."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

import lumbarclip_jax
from lumbarclip_jax.classifier import Classifier
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.evaluators.predictions_file import load_kept
from lumbarclip_jax.export import export
from lumbarclip_jax.finetune import initial_encoder
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.inference import Model
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.small_cnn import SmallCNN
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.variants import resnet_sizes, swin_sizes, vit_sizes
from lumbarclip_jax.models.vit import ViT
from tests import data_prep_cohort as cohort
from tests.conftest import REPOSITORY
from tests.made_classifiers import write_classifier

# Two classes from grades, five, and two from reports.
TASK_NAMES = ("pfirrmann_ge_3", "pfirrmann", "disc_displacement")
FRESH = """
import sys
import numpy as np
import lumbarclip_jax
images = np.load(sys.argv[1])
for folder, out in zip(sys.argv[2::2], sys.argv[3::2]):
    said = lumbarclip_jax.load(folder).classify(images["pixels"], images["level"].tolist())
    np.savez(out, **{task: of.probabilities for task, of in said.items()})
"""


@pytest.fixture(scope="module")
def dataset(tiny_dataset) -> Dataset:
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    """(folder of a classifier, the ensemble in it)."""
    folder = tmp_path_factory.mktemp("classifier")
    return folder, write_classifier(folder, dataset, *TASK_NAMES)


@pytest.fixture(scope="module")
def classifier(made) -> Classifier:
    return lumbarclip_jax.load(made[0])


@pytest.fixture(scope="module")
def slices(dataset) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [M, S, S] and levels [M] of the test split."""
    columns = dataset.columns("test")
    return dataset.images("test", range(len(columns.level)))[..., 0], columns.level


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def run_module(name: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"lumbarclip_jax.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def tuned(tiny_run, tmp_path_factory):
    """A copy of the tiny run with a fine-tune in it; (the run, the folder of its classifier)."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    shutil.copytree(tiny_run.folder, run)
    result = run_module(
        "finetune",
        f"--workdir={run}",
        f"--task={','.join(TASK_NAMES)}",
        "--strategy=ldam_drw",
        "--recipe.epochs=1",
        "--recipe.members=2",
        "--recipe.data.global_batch_size=16",
        "--resamples=100",
    )
    assert result.returncode == 0, result.stderr
    return run, run / "finetune" / "+".join(TASK_NAMES)


@pytest.mark.slow
def test_fresh_processes_repeat_what_was_measured(tuned, slices, tmp_path):
    """On one device, where training had eight."""
    _, folder = tuned
    export(folder, "safetensors", tmp_path / "exported")
    pixels, level = slices
    np.savez(tmp_path / "images.npz", pixels=pixels, level=level)
    places = (folder, tmp_path / "a.npz", tmp_path / "exported", tmp_path / "b.npz")
    command = [sys.executable, "-c", FRESH, str(tmp_path / "images.npz"), *map(str, places)]
    alone = os.environ | {"XLA_FLAGS": ""}
    subprocess.run(command, check=True, env=alone, cwd=REPOSITORY, timeout=300)
    found, exported = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    answered = load_kept(folder / "predictions.npz").predictions
    for name in TASK_NAMES:
        np.testing.assert_array_equal(found[name], exported[name])
        assert found[name].dtype == np.float32
    dataset = Dataset(lumbarclip_jax.load(folder).definition.data_dir)
    examples = Examples.of(dataset, "test", tuple(TASKS[name] for name in TASK_NAMES))
    for task in examples.tasks:
        said = examples.predictions(task, found[task.name][examples.rows].astype(np.float64))
        expected = answered[f"test/finetune/{task.name}"]
        assert np.ptp(expected.probabilities) > 1e-3
        np.testing.assert_array_equal(said.image_id, expected.image_id)
        close(said.probabilities, expected.probabilities)


@pytest.mark.slow
def test_the_page_of_a_run_with_a_classifier_in_it(tuned):
    run, _ = tuned
    result = run_module("report", f"--workdir={run}", "--data_dir=")
    assert result.returncode == 0, result.stderr
    assert "Fine-tuned" in (run / "report.html").read_text()


def test_load_knows_runs_from_classifiers(tuned):
    run, folder = tuned
    assert isinstance(lumbarclip_jax.load(run), Model)
    loaded = lumbarclip_jax.load(str(folder))
    assert isinstance(loaded, Classifier)
    assert loaded.tasks["pfirrmann_ge_3"] == ("grade 1-2", "grade 3-5")
    assert loaded.definition.begun_from["steps"] == 7
    assert not loaded.definition.begun_from["on_other_data"]


@pytest.mark.parametrize(
    "encoder",
    [
        ViT(**vit_sizes("B/16"), pooling="mean", scan_layers=True, drop_path=0.1),
        Swin(**swin_sizes("T")),
        ResNet(**resnet_sizes("50"), remat=True),
        ResNet(**resnet_sizes("small"), in_channels=1),
        SmallCNN((4, 8)),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_an_encoder_survives_its_definition(encoder):
    definition = json.loads(json.dumps(initial_encoder.definition(encoder)))
    assert initial_encoder.defined(definition, "float32") == encoder


def test_the_small_resnet_of_earlier_classifiers_is_todays():
    earlier = {"name": "small_resnet", "width": 32, "stage_depths": [2, 2, 2]}
    today = initial_encoder.small_resnet().encoder
    assert initial_encoder.defined(earlier, "float32") == today


def test_probabilities_are_the_ensemble_s(made, classifier, slices):
    _, ensemble = made
    pixels, level = slices
    said = classifier.classify(pixels, level)
    examples = Examples.of(Dataset(classifier.definition.data_dir), "test", (TASKS["pfirrmann"],))
    expected = ensemble(examples)["pfirrmann"]
    assert said.keys() == set(TASK_NAMES)
    probabilities, classes = said["pfirrmann"]
    assert classes == ("grade 1", "grade 2", "grade 3", "grade 4", "grade 5")
    assert probabilities.shape == (len(pixels), 5)
    assert probabilities.dtype == np.float32
    close(probabilities[examples.rows], expected)
    close(probabilities.sum(axis=1), 1)
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-4


def test_every_form_of_a_picture_is_the_same_picture(classifier, slices, tmp_path):
    pixels, _ = slices
    expected = classifier.classify(pixels, level="L4-L5")["pfirrmann"].probabilities
    PIL.Image.fromarray(pixels[0]).save(tmp_path / "slice.png")
    larger = np.pad(pixels[0], 5, constant_values=99)
    for form in (pixels[0], pixels[:1], [larger], tmp_path / "slice.png", [pixels[0][..., None]]):
        close(classifier.classify(form, "L4-L5")["pfirrmann"].probabilities, expected[:1])
    mixed = classifier.classify([pixels[3], str(tmp_path / "slice.png")], "L4-L5")
    close(mixed["pfirrmann"].probabilities, expected[[3, 0]])
    nothing = classifier.classify([], "L4-L5")
    assert nothing["pfirrmann"].probabilities.shape == (0, 5)
    with pytest.raises(FileNotFoundError, match=r"there is no image nowhere\.dcm"):
        classifier.classify("nowhere.dcm", "L4-L5")


def test_a_file_unlike_the_training_data_is_named(classifier, tmp_path, caplog):
    path = tmp_path / "side.dcm"
    pixels = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    orientation = cohort.ORIENTATIONS["sag"]
    made = cohort.slice_dataset("0\\0\\0", pixels, orientation=orientation)
    made.SeriesDescription = "t1_tse_sag"
    made.save_as(path)
    classifier.classify(path, level="L4-L5")
    (warning,) = (record.getMessage() for record in caplog.records)
    assert "side.dcm" in warning
    assert "sagittal" in warning


def test_the_level_counts_and_is_one_of_training(classifier, slices):
    pixels = slices[0][:2]
    each = classifier.classify(pixels, ["L3-L4", "L5-S1"])["pfirrmann_ge_3"].probabilities
    for place, level in enumerate(("L3-L4", "L5-S1")):
        close(each[place], classifier.classify(pixels, level)["pfirrmann_ge_3"][0][place])
    other = classifier.classify(pixels, "L4-L5")["pfirrmann_ge_3"].probabilities
    assert np.abs(other - each).max() > 1e-3
    for level, sentence in (
        (None, "the level is missing: this classifier was trained on L3-L4, L4-L5, L5-S1; say"),
        ("L4/5", "level 'L4/5' is none this classifier was trained on: L3-L4"),
        (["L3-L4"], "1 levels came with 2 images: give one for each"),
        (5, "level 5 is none"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            classifier.classify(pixels, level)


def test_a_classifier_of_whole_spines_needs_no_level(dataset, slices, tmp_path):
    """As of sagittal views, which show no single disc: its input for the level is 0."""
    whole = Dataset(dataset.folder)
    for split in whole.splits:
        whole.columns(split).level[:] = "all"
    write_classifier(tmp_path, whole, "pfirrmann_ge_3")
    loaded = lumbarclip_jax.load(tmp_path)
    assert loaded.levels == ("all",)
    said = loaded.classify(slices[0][:2])["pfirrmann_ge_3"].probabilities
    close(said, loaded.classify(slices[0][:2], "all")["pfirrmann_ge_3"].probabilities)


def test_a_question_about_the_patient_is_answered_by_the_mean_of_its_images(dataset, tmp_path):
    asked = Dataset(dataset.folder)
    for split in asked.splits:
        columns = asked.columns(split)
        _, patient = np.unique(columns.patient_id, return_inverse=True)
        columns.findings[:, columns.names.index("muscle_spasm")] = np.where(patient % 2, 1, 2)
    write_classifier(tmp_path, asked, "muscle_spasm")
    loaded = lumbarclip_jax.load(tmp_path)
    columns = asked.columns("test")
    pixels = asked.images("test", range(len(columns.level)))
    said, classes = loaded.classify(pixels, columns.level)["muscle_spasm"]
    assert classes == ("no spasm", "spasm")
    _, kept = loaded.measured(asked, "test")
    measured = kept.predictions[f"test/{loaded.definition.name}/muscle_spasm"]
    for patient, probabilities in zip(measured.patient_id, measured.probabilities, strict=True):
        close(said[columns.patient_id == patient].mean(axis=0), probabilities)
    assert loaded.definition.temperatures.keys() == {"muscle_spasm"}


def test_the_lines_of_the_readme_run(dataset, slices, tmp_path, monkeypatch):
    readme = (REPOSITORY / "README.md").read_text()
    code = re.search(r"```python\n(classifier = lumbarclip_jax\.load.*?)```", readme, re.S)[1]
    folder = tmp_path / "runs" / "lumbar" / "finetune" / "pfirrmann_ge_3+disc_displacement"
    write_classifier(folder, dataset, "pfirrmann_ge_3", "disc_displacement")
    PIL.Image.fromarray(slices[0][0]).save(tmp_path / "slice.png")
    monkeypatch.chdir(tmp_path)
    names = {"lumbarclip_jax": lumbarclip_jax}
    exec(code.replace("slice.dcm", "slice.png"), names)
    close(names["probabilities"].sum(axis=1), 1)
    assert names["classes"] == ("grade 1-2", "grade 3-5")
