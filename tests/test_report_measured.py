"""What was measured after training has its place on the page, or is said to be left out."""

import math

import pytest

from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.metrics_file import save_metrics
from lumbarclip_jax.evaluators.suite import BY_STUDY
from lumbarclip_jax.report.measured import read_measured
from lumbarclip_jax.report.page import write_report
from tests.made_up_predictions import binary
from tests.report_pages import Page, write

OWN = {"test/retrieval/image_to_text_recall_at_5": 0.4}
TASK = "test/finetune/compression"


def fine_tune(folder, name: str, *, steps: float = 2.0, auroc: float = 0.7) -> None:
    """A folder as `finetune` leaves it."""
    metrics = {"trained_steps": steps, f"{TASK}/auroc": auroc, f"{TASK}/temperature": 2.0}
    path = folder / "finetune" / name / "metrics.json"
    save_metrics(metrics, path)
    kept = predictions_file.Kept({TASK: binary()})
    predictions_file.save_kept(kept, predictions_file.beside(path))


@pytest.fixture
def run(tmp_path):
    write(tmp_path, metrics=OWN)  # its history ends at step 2
    return tmp_path


def test_a_run_alone(run):
    assert read_measured(run, 2).metrics == OWN
    assert read_measured(run / "nothing", 2).metrics == {}


def test_a_fine_tune_stands_beside_the_other_methods(run):
    fine_tune(run, "compression", auroc=0.8125)
    found = read_measured(run, 2)
    assert found.metrics[f"{TASK}/auroc"] == 0.8125
    assert found.predictions.keys() == {TASK}
    page = Page(write_report(run))
    assert "Fine-tuned 0.812" in page.text
    assert "answered" in page.text  # its confusion matrix
    drawn = [image["alt"] for image in page.attributes("img")]
    assert any(text.startswith("ROC, All methods: Fine-tuned with") for text in drawn)
    assert any(text.startswith("Reliability, Fine-tuned: before temperature") for text in drawn)


def test_fine_tunes_of_one_task_are_told_apart_by_their_folder(run):
    fine_tune(run, "erm", auroc=0.6)
    fine_tune(run, "mamix_drw", auroc=0.9)
    found = read_measured(run, 2)
    names = {"test/finetune (erm)/compression", "test/finetune (mamix_drw)/compression"}
    assert found.predictions.keys() == names
    assert found.metrics["test/finetune (mamix_drw)/compression/auroc"] == 0.9
    text = Page(write_report(run)).text
    assert "Fine-tuned (erm) 0.600" in text
    assert "Fine-tuned (mamix_drw) 0.900" in text


def test_what_was_measured_on_earlier_weights_is_left_out_aloud(run):
    fine_tune(run, "compression", steps=1.0)
    found = read_measured(run, 2)
    assert found.metrics == OWN
    assert found.outdated == ("finetune/compression/metrics.json",)
    assert "finetune/compression/metrics.json" in Page(write_report(run)).text


def test_later_evaluations_add_to_the_run_and_replace_nothing(run):
    later = {"test/retrieval/image_to_text_recall_at_5": 0.1, "test/few_shot/x/k_1/auroc": math.nan}
    save_metrics(later, run / "evaluate" / "more.json")
    found = read_measured(run, 2).metrics
    assert found.keys() == {*OWN, *later}
    assert found["test/retrieval/image_to_text_recall_at_5"] == 0.4


@pytest.mark.parametrize(("own", "unit"), [("image", "study"), ("study", "image")])
def test_numbers_of_studies_and_of_images_are_told_apart(run, own, unit):
    marked = {"study": {BY_STUDY: 1.0}, "image": {}}
    name = "test/retrieval/image_to_text_recall_at_5"
    save_metrics({name: 0.4} | marked[own], run / "metrics.json")
    save_metrics({name: 0.125} | marked[unit], run / "evaluate" / "more.json")
    answers = predictions_file.Kept({"test/zero_shot/compression": binary()})
    predictions_file.save_kept(answers, run / "evaluate" / "more.npz")
    found = read_measured(run, 2)
    other = f"test/retrieval (by {unit})/image_to_text_recall_at_5"
    assert found.metrics == {name: 0.4, other: 0.125} | marked[own]
    assert found.predictions.keys() == {f"test/zero_shot (by {unit})/compression"}
    text = Page(write_report(run)).text
    assert f"Retrieval (by {unit})" in text
    assert ("Measured by study." in text) == (own == "study")


def test_two_files_of_metrics_in_a_folder_keep_their_own_answers(tmp_path):
    beside = {
        predictions_file.beside(tmp_path / name).name
        for name in ("metrics.json", "more.json", "b.json")
    }
    assert beside == {"predictions.npz", "more.npz", "b.npz"}


def test_what_was_measured_on_patients_of_training_warns_on_the_page(run):
    assert "are no results" not in Page(write_report(run)).text
    measured = {"TRAINED_ON_MEASURED_PATIENTS": 9.0, "test/retrieval/image_to_text_mrr": 0.9}
    save_metrics(measured, run / "evaluate" / "other.json")
    text = Page(write_report(run)).text
    assert "These numbers are no results." in text
    assert "Among the patients that were measured are 9 whom the run was trained on" in text
