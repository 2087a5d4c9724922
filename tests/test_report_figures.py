"""Figures of the page: each shows what was measured, and changes when that changes."""

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.report.map_pictures import overlay
from tests.report_pages import Page, evaluate, picture, write


@pytest.fixture(scope="module")
def evaluated():
    return evaluate()


def test_curves_are_drawn(tmp_path):
    written = write(tmp_path)
    described = [image["alt"] for image in written.attributes("img")]
    assert described == [
        "loss against training step, from 3 to 2",
        "lr against training step, from 0.0001 to 0.0002",
        "Retrieval, validation: Recall at 5, against training step, for Image → report",
    ]


def described(written: Page, beginning: str) -> list[str]:
    return [i["alt"] for i in written.attributes("img") if i["alt"].startswith(beginning)]


def test_figures_show_the_predictions_that_were_kept(evaluated, tmp_path):
    metrics, evaluators, _ = evaluated
    before = write(tmp_path, metrics=metrics, evaluators=evaluators)
    predicted = evaluators["zero_shot"].predictions["disc_displacement"]
    auroc = roc_auc_score(predicted.labels, predicted.probabilities[:, 1])
    precision = average_precision_score(predicted.labels, predicted.probabilities[:, 1])
    assert f"Zero-shot with an area of {auroc:.3f}" in described(before, "ROC")[0]
    assert f"Zero-shot with an area of {precision:.3f}" in described(before, "Precision")[0]
    counts = confusion_matrix(predicted.labels, predicted.answers)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert (
        "truly not displaced "
        + " ".join(
            f"{count} {share:.0%}".replace("%", " %")
            for count, share in zip(counts[0], shares[0], strict=True)
        )
        in before.text
    )

    wrong = copy.copy(evaluators["zero_shot"])
    swapped = dataclasses.replace(predicted, probabilities=predicted.probabilities[:, ::-1])
    wrong.predictions = {"disc_displacement": swapped}
    after = write(tmp_path, metrics=metrics, evaluators={**evaluators, "zero_shot": wrong})
    assert f"Zero-shot with an area of {1 - auroc:.3f}" in described(after, "ROC")[0]
    assert described(after, "Reliability, Zero-shot") != described(before, "Reliability, Zero-shot")
    same = "Reliability, Linear probe"
    assert described(after, same) == described(before, same)


def test_more_classes_are_shown_one_against_the_rest(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [20, 20, 3])
    grades = Predictions(
        classes=("none", "mild", "severe"),
        labels=labels,
        probabilities=rng.dirichlet(np.ones(3), 43),
        patient_id=np.arange(43).astype(str),
        level=np.full(43, "L4-L5"),
        image_id=np.arange(43).astype(str),
        ordered=True,
    )
    metrics = dict(grades.named_metrics("test/zero_shot/pfirrmann", resamples=20))
    kept_by = SimpleNamespace(split="test", predictions={"pfirrmann": grades})
    written = write(tmp_path, metrics=metrics, evaluators={"zero_shot": kept_by})
    (roc,) = described(written, "ROC, Zero-shot")
    assert "none with" in roc
    assert "mild with" in roc
    assert "severe with" not in roc  # of three patients there is no curve to speak of
    assert "answered severe" in written.text
    assert "Quadratic kappa" in written.text


def test_every_number_of_a_task_is_beside_the_others(evaluated, tmp_path):
    metrics, _, _ = evaluated
    text = write(tmp_path, metrics=metrics).text
    for method in ("zero_shot/disc_displacement", "linear_probe/disc_displacement/image_features"):
        for measure in ("auroc", "average_precision", "macro_f1"):
            assert f"{metrics[f'test/{method}/{measure}']:.3f}" in text


def test_maps_are_laid_where_they_belong():
    grey = Image.new("L", (4, 4), 100)
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[1, 0] = 200
    laid = np.asarray(picture({"src": overlay(grey, colours, 0.5, "").source}).convert("RGB"))
    assert (laid[2:, :2] == 150).all()
    assert (laid[:2] == 50).all()
    assert (laid[2:, 2:] == 50).all()
    # Places that cover three quarters leave the rest as it is.
    part = np.asarray(picture({"src": overlay(grey, colours, 0.375, "").source}).convert("RGB"))
    assert (part[3] == 100).all()
    assert (part[:, 3] == 100).all()
    assert part[2, 0, 0] == 150
