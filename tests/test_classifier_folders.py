"""Folders of classifiers: damage is named, exports are whole, and other data measures them."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

import lumbarclip_jax
from data_prep.process import files
from lumbarclip_jax.classifier import Classifier
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluate import trained_folder
from lumbarclip_jax.evaluators.metrics_file import read_metrics, save_metrics
from lumbarclip_jax.evaluators.predictions_file import load_kept
from lumbarclip_jax.export import export
from lumbarclip_jax.finetune import saved
from lumbarclip_jax.run_folder import checksums
from tests import data_prep_cohort as cohort
from tests.made_classifiers import METRICS, write_classifier
from tests.test_classifier import run_module

PAIR = ("pfirrmann_ge_3", "disc_displacement")
FILES = {"classifier.json", "classifier.safetensors", "trained_patients.txt", "metrics.json"}


@pytest.fixture(scope="module")
def dataset(tiny_dataset) -> Dataset:
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory) -> Dataset:
    """The patients of `dataset` under the same key, split with another seed."""
    return Dataset(cohort.tiny_set(tmp_path_factory.mktemp("rebuilt"), seed=1))


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("classifier")
    write_classifier(folder, dataset, *PAIR)
    save_metrics(METRICS, folder / "metrics.json")
    return folder


@pytest.fixture
def copied(made, tmp_path) -> pathlib.Path:
    return shutil.copytree(made, tmp_path / "copy")


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: pathlib.Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut, empty, pathlib.Path.unlink])
@pytest.mark.parametrize("name", ["classifier.json", "classifier.safetensors"])
def test_damage_is_one_sentence_with_the_file(copied, name, damage):
    damage(copied / name)
    said = "is missing"
    if damage is not pathlib.Path.unlink:
        said = "(is not the file that|is cut or damaged|was changed after) ?.*"
    expected = rf"{copied / name} {said}: restore it from a copy, or fine-tune again$"
    with pytest.raises((ValueError, FileNotFoundError), match=expected):
        lumbarclip_jax.load(copied)


def test_a_list_of_patients_is_checked_and_may_be_missing(copied, rebuilt, caplog):
    flip(copied / "trained_patients.txt")
    with pytest.raises(ValueError, match=r"trained_patients\.txt is not the file that"):
        lumbarclip_jax.load(copied)
    (copied / "trained_patients.txt").unlink()
    loaded = lumbarclip_jax.load(copied)
    assert loaded.cautions(rebuilt, "test") == {}
    assert "has no list of the patients it was trained on" in caplog.text


def test_a_changed_number_is_noticed_and_another_version_named(copied):
    path = copied / "classifier.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"crop_px": 27}))
    with pytest.raises(ValueError, match=r"classifier\.json was changed after"):
        lumbarclip_jax.load(copied)
    for content in ("[]", '"text"', "{}"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"classifier\.json is cut or damaged"):
            lumbarclip_jax.load(copied)


def test_a_later_version_is_named(copied, monkeypatch):
    definition = saved.read(copied)
    monkeypatch.setattr(saved, "VERSION", 3)
    saved.write_definition(copied, definition)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has version 3, this program reads 1 and 2"):
        lumbarclip_jax.load(copied)


def test_weights_of_another_network_are_listed(copied, dataset, tmp_path):
    write_classifier(tmp_path / "other", dataset, "pfirrmann_ge_3")
    shutil.copy(tmp_path / "other" / saved.WEIGHTS_FILE, copied)
    definition = saved.load(tmp_path / "other")[0]
    wide = definition.encoder | {"widths": [4, 9]}
    saved.write_definition(copied, dataclasses.replace(definition, encoder=wide))
    expected = r"conv_1/kernel is \(3, 3, 4, 8\), not \(3, 3, 4, 9\).*Use both files of one"
    with pytest.raises(ValueError, match=expected):
        lumbarclip_jax.load(copied)


def test_folders_without_a_classifier_say_why(copied, tmp_path):
    with pytest.raises(ValueError, match=r"holds 1: name one of them, such as .*copy"):
        lumbarclip_jax.load(tmp_path)
    saved.remove(copied)
    (copied / "predictions.npz").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"has numbers and no classifier.*fine-tune again"):
        lumbarclip_jax.load(copied)
    with pytest.raises(FileNotFoundError, match="is not a training run"):
        lumbarclip_jax.load(tmp_path / "nowhere")


def test_removing_leaves_what_belongs_to_a_run(copied):
    saved.remove(copied)
    assert {path.name for path in copied.iterdir()} == {"metrics.json"}
    (copied / "trained_patients.txt").write_text("of a run")
    saved.remove(copied)
    assert (copied / "trained_patients.txt").is_file()


def test_a_full_disk_leaves_no_half_classifier(dataset, tmp_path, monkeypatch):
    real = os.open

    def full(*arguments, **options) -> int:
        return real("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(files.os, "open", full)
    with pytest.raises(OSError, match=r"classifier\.safetensors cannot be written .*No space"):
        write_classifier(tmp_path / "out", dataset, "pfirrmann_ge_3")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_is_the_same_classifier_with_a_card(copied, dataset, tmp_path):
    export(copied, "safetensors", tmp_path / "out")
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES | {"README.md", "SHA256SUMS"}
    own, exported = lumbarclip_jax.load(copied), lumbarclip_jax.load(out)
    pixels = dataset.images("test", range(4))
    for task, of in own.classify(pixels, "L4-L5").items():
        np.testing.assert_array_equal(of[0], exported.classify(pixels, "L4-L5")[task][0])
    contents = [path.read_bytes() for path in out.iterdir()]
    assert not any(str(dataset.folder).encode() in content for content in contents)
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: other\nlicense_name: not-stated\nlibrary_name: lumbarcl")
    assert "| Pfirrmann grade 3 or more | AUROC | 0.732 | 0.651 – 0.818 | 0.500 |" in card
    assert "lumbarclip_jax.load(" in card
    assert "not a medical device" in card
    patients = len(np.unique(dataset.columns("train").patient_id))
    assert f"of {patients} patients of the training split" in card
    again = tmp_path / "again"
    export(out, "safetensors", again)
    assert checksums.read(again / checksums.FILE) == checksums.read(out / checksums.FILE)


def test_an_export_is_checked_file_by_file(copied, tmp_path):
    export(copied, "safetensors", tmp_path / "out")
    for name in sorted(FILES):
        broken = shutil.copytree(tmp_path / "out", tmp_path / name)
        flip(broken / name)
        with pytest.raises(ValueError, match=f"{name} is not the file that was exported"):
            lumbarclip_jax.load(broken)
        (broken / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name} is missing: copy the whole"):
            lumbarclip_jax.load(broken)


@pytest.mark.parametrize("format", ["hf", "stablehlo"])
def test_other_formats_are_refused(copied, format, tmp_path):
    with pytest.raises(ValueError, match=f"no form in {format}: export it with --format=safe"):
        export(copied, format, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cards_warn_of_numbers_that_are_no_results(copied, tmp_path):
    save_metrics(METRICS | {"TRAINED_ON_MEASURED_PATIENTS": 9.0}, copied / "metrics.json")
    export(copied, "safetensors", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "measured are 9 whom the classifier was trained on" in card
    (copied / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json is damaged"):
        export(copied, "safetensors", tmp_path / "another")


def test_other_data_is_measured_with_what_training_fitted(copied, rebuilt, tmp_path):
    out = tmp_path / "more.json"
    result = run_module(
        "evaluate",
        f"--workdir={copied}",
        f"--data_dir={rebuilt.folder}",
        f"--out={out}",
        "--resamples=100",
    )
    assert result.returncode == 0, result.stderr
    trained = (copied / "trained_patients.txt").read_text().split()
    assert "the classifier was trained on" in result.stdout
    metrics = read_metrics(out)
    patients = metrics["test/finetune/pfirrmann_ge_3/patients"]
    assert 0 < metrics["TRAINED_ON_MEASURED_PATIENTS"] <= patients < len(trained)
    definition = lumbarclip_jax.load(copied).definition
    for task in PAIR:
        name = f"test/finetune/{task}"
        assert metrics[f"{name}/temperature"] == definition.temperatures[task]
        assert 0 <= metrics[f"{name}/auroc_ci_low"] <= metrics[f"{name}/auroc_ci_high"] <= 1
        answered = load_kept(tmp_path / "more.npz").predictions[name]
        assert len(answered.labels) == metrics[f"{name}/images"]
    refused = run_module("evaluate", f"--workdir={copied}", "--evaluators=retrieval")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --evaluators is for runs")
    with pytest.raises(ValueError, match="--unit is for runs: a classifier says the classes of"):
        trained_folder.measured(copied, "", "test", evaluators=None, resamples=100, unit="study")


def test_tasks_without_labels_are_left_out_aloud(copied, rebuilt, caplog):
    other = Dataset(rebuilt.folder)
    other.columns("test").pfirrmann[:] = 0
    _, kept = lumbarclip_jax.load(copied).measured(other, "test", resamples=100)
    task = "test/finetune/disc_displacement"
    assert kept.predictions.keys() == {task, f"{task}/by_patient"}
    assert "1 of 2 tasks skipped, for want of labelled patients" in caplog.text
    other.columns("test").findings[:] = 0
    other.columns("test").level_findings[:] = 0
    with pytest.raises(ValueError, match=r"pfirrmann_ge_3 cannot be measured on .*too few"):
        lumbarclip_jax.load(copied).measured(other, "test")
    with pytest.raises(ValueError, match="has no split 'nothing'"):
        lumbarclip_jax.load(copied).measured(other, "nothing")


def test_other_images_and_levels_are_said(copied, rebuilt, caplog):
    other = Dataset(rebuilt.folder)
    other.manifest = other.manifest | {"image": other.manifest["image"] | {"spacing_mm": 0.5}}
    other.columns("test").level[:2] = "all"
    lumbarclip_jax.load(copied).measured(other, "test")
    assert "'spacing_mm': 0.5" in caplog.text
    assert "2 of " in caplog.text
    assert "show another level than those the classifier was trained on" in caplog.text


def test_its_own_data_set_has_no_caution_unless_its_run_had_other_data(copied, dataset, tmp_path):
    assert lumbarclip_jax.load(copied).cautions(dataset, "test") == {}
    # A run of other data may have had the patients that are tested here.
    begun_from = {"run": "x", "steps": 7, "on_other_data": True}
    folder = tmp_path / "begun"
    write_classifier(folder, dataset, "pfirrmann_ge_3", begun_from=begun_from)
    assert Classifier(folder).cautions(dataset, "test") == {}
    train = Classifier(folder).cautions(dataset, "train")
    assert train["TRAINED_ON_MEASURED_PATIENTS"] == len(set(dataset.columns("train").patient_id))


@pytest.mark.slow
def test_folds_keep_a_classifier_each(tiny_dataset, tmp_path):
    arguments = [f"--data_dir={tiny_dataset}", "--folds=2", "--task=pfirrmann_ge_3"]
    arguments += ["--resamples=100", f"--out={tmp_path}"]
    short = ["--from_scratch", "--recipe.epochs=1", "--recipe.data.global_batch_size=8"]
    result = run_module("finetune", *arguments, *short)
    assert result.returncode == 0, result.stderr
    key = "test/from_scratch/pfirrmann_ge_3"
    pooled = load_kept(tmp_path / "predictions.npz").predictions[key]
    first = 0
    for number in (1, 2):
        folder = tmp_path / f"fold_{number}"
        loaded = lumbarclip_jax.load(folder)
        assert loaded.definition.data["resplit"] == f"fold_{number}_of_2"
        assert f"{key}/auroc_ci_low" in loaded.metrics
        answered = load_kept(folder / "predictions.npz").predictions[key]
        rows = slice(first, first + len(answered.labels))
        np.testing.assert_array_equal(pooled.probabilities[rows], answered.probabilities)
        first = rows.stop
        own = loaded.dataset()
        graded = np.flatnonzero(own.columns("test").pfirrmann)
        said = loaded.classify(own.images("test", graded), own.columns("test").level[graded])
        np.testing.assert_allclose(said["pfirrmann_ge_3"][0], answered.probabilities, atol=1e-6)
    with pytest.raises(ValueError, match=r"holds 2: name one of them, such as .*fold_1"):
        lumbarclip_jax.load(tmp_path)
    # What keeps none leaves none of these behind.
    result = run_module("finetune", "--baseline=pixels", *arguments)
    assert result.returncode == 0, result.stderr
    assert "the baseline pixels keeps no classifier" in result.stdout
    with pytest.raises(FileNotFoundError, match="the baseline `pixels` keep none"):
        lumbarclip_jax.load(tmp_path)
