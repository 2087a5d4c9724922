"""Tasks of a data set's own, from training with their labels to a classifier that answers them."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import lumbarclip_jax
from lumbarclip_jax import train
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tasks import TASKS, named, tasks_of
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.evaluators.predictions_file import load_kept
from lumbarclip_jax.export import export
from lumbarclip_jax.report.page import write_report
from lumbarclip_jax.run_folder.run import load_run
from tests import tiny_runs
from tests.fake_embedder import FakeEmbedder, make_split, run, with_own_task
from tests.report_pages import Page

OWN = ("pain", "worst")


def run_module(name: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"lumbarclip_jax.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def own_run(labelled_dataset, tmp_path_factory):
    """A run of two steps whose targets are labels of the data set's own."""
    config = tiny_runs.tiny_config(labelled_dataset)
    config.total_steps = 2
    config.optim.warmup_steps = 1
    config.data.update(global_batch_size=8, text_views=2)
    config.objective.soft_clip.likeness = (
        ("classes", ("worst", "pfirrmann"), 1.0),
        ("signs", ("pain",), 0.5),
    )
    config.objective.soft_clip.update(target_scale=1.0, hard_weight=0.0)
    config.eval.update(every_steps=0, bootstrap_resamples=20)
    config.eval.at_the_end = ("zero_shot", "linear_probe", "few_shot", "class_retrieval")
    folder = tmp_path_factory.mktemp("own") / "run"
    train.train_and_evaluate(config, folder)
    return folder


@pytest.fixture(scope="module")
def tuned(own_run, tmp_path_factory):
    """A copy of the run with a fine-tune of its own tasks in it, and the folder of this."""
    run = shutil.copytree(own_run, tmp_path_factory.mktemp("tuned") / "run")
    result = run_module(
        "finetune",
        f"--workdir={run}",
        f"--task={','.join(OWN)}",
        "--recipe.epochs=1",
        "--recipe.members=1",
        "--recipe.data.global_batch_size=8",
        "--resamples=100",
    )
    assert result.returncode == 0, result.stderr
    return run, run / "finetune" / "+".join(OWN)


@pytest.mark.slow
def test_every_evaluator_answers_them(own_run):
    metrics = read_metrics(own_run / "metrics.json")
    kept = load_kept(own_run / "predictions.npz").predictions
    for task in OWN:
        for name in ("zero_shot/{}", "linear_probe/{}/image_features", "few_shot/{}/k_1"):
            assert 0 <= metrics[f"test/{name.format(task)}/auroc"] <= 1
        assert 0 <= metrics[f"test/class_retrieval/{task}/image_to_text_precision_at_5"] <= 1
        assert metrics[f"test/zero_shot/{task}/patients"] == 3
        # A task of patients is answered by patient alone.
        assert len(kept[f"test/zero_shot/{task}"].labels) == 3
        assert f"test/linear_probe/{task}/image_features/by_patient/auroc" not in metrics
    assert kept["test/zero_shot/pain"].classes == ("no pain", "pain")
    assert "test/linear_probe/worst/image_features/quadratic_kappa" in metrics


@pytest.mark.slow
def test_the_page_of_the_run_shows_them(own_run):
    page = (own_run / "report.html").read_text()
    headings = re.findall(r"<h3[^>]*>\s*(.*?)\s*</h3>", page, re.DOTALL)
    assert {"Pain", "Worst"} <= {re.sub(r"<[^>]+>", "", heading).strip() for heading in headings}


@pytest.mark.slow
def test_a_run_knows_them_without_its_data_set(own_run):
    assert set(OWN) <= set(tasks_of(load_run(own_run).data_manifest))


@pytest.mark.slow
def test_a_fine_tune_answers_them(tuned, labelled_dataset):
    workdir, folder = tuned
    metrics = read_metrics(folder / "metrics.json")
    classifier = lumbarclip_jax.load(folder)
    dataset = Dataset(labelled_dataset)
    columns = dataset.columns("test")
    kept = load_kept(folder / "predictions.npz").predictions
    said = classifier.classify(dataset.images("test", range(9))[..., 0], columns.level)
    for task in OWN:
        assert classifier.tasks[task] == dataset.tasks[task].classes
        assert 0 <= metrics[f"test/finetune/{task}/auroc"] <= 1
        found = kept[f"test/finetune/{task}"]
        of_images = said[task].probabilities
        for patient, probabilities in zip(found.patient_id, found.probabilities, strict=True):
            mean = of_images[columns.patient_id == patient].mean(axis=0)
            np.testing.assert_allclose(probabilities, mean, atol=1e-5)
    drawn = " ".join(image["alt"] for image in Page(write_report(workdir)).attributes("img"))
    assert "Fine-tuned" in drawn


@pytest.mark.slow
def test_its_card_says_which_are_of_patients(tuned, tmp_path):
    export(tuned[1], "safetensors", tmp_path / "exported")
    card = " ".join((tmp_path / "exported" / "README.md").read_text().split())
    assert "pain and worst ask of a patient: the answer is the mean" in card


@pytest.mark.slow
def test_measured_where_nobody_labelled_it_is_refused(tuned, tiny_dataset, tmp_path):
    _, folder = tuned
    arguments = (f"--workdir={folder}", f"--out={tmp_path / 'now.json'}", "--resamples=100")
    result = run_module("evaluate", *arguments, f"--data_dir={tiny_dataset}")
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == (
        f"error: {folder} answers pain with no pain, pain, and {tiny_dataset} has no labels of it: "
        "give it a label column of this name with these classes, or measure another data set"
    )
    result = run_module("evaluate", *arguments)
    assert result.returncode == 0, result.stderr
    before, now = (read_metrics(p) for p in (folder / "metrics.json", tmp_path / "now.json"))
    assert now["test/finetune/pain/auroc"] == before["test/finetune/pain/auroc"]


def test_without_named_tasks_they_are_all_of_the_data_set():
    split = with_own_task(make_split(30, seed=0))
    found = run("zero_shot", FakeEmbedder(test=split), resamples=2)
    assert {"test/zero_shot/pain/auroc", "test/zero_shot/disc_displacement/auroc"} <= set(found)
    # Patients 6, 13, 20 and 27 have no label.
    assert found["test/zero_shot/pain/patients"] == 26
    plain = run("zero_shot", FakeEmbedder(test=make_split(30, seed=0)), resamples=2)
    assert found == plain | {name: found[name] for name in found if "/pain/" in name}


def test_names_are_of_the_data_set():
    own = {"name": "pain", "classes": ["no", "yes"], "unit": "patient", "ordered": False}
    known = tasks_of({"tasks": [own]})
    assert list(known) == [*TASKS, "pain"]
    assert named(["pain"], known)[0].classes == ("no", "yes")
    with pytest.raises(ValueError, match=r"no task pian of a/set, did you mean pain\? there are"):
        named(["pian"], known, "a/set")
    with pytest.raises(ValueError, match="there is no task pain; there are pfirrmann_ge_3, "):
        named(["pain"], TASKS)
    with pytest.raises(ValueError, match="no task is named: there are"):
        named([], known)
