"""Figures of the page: each shows what was measured, and changes when that changes."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.report.embedding_map import embedding_map, some_patients
from lumbarclip_jax.report.figures import training_curves
from lumbarclip_jax.report.map_pictures import Scale, embedding_pictures, group_colours, overlay
from lumbarclip_jax.report.robustness_pictures import robustness_pictures
from tests.fake_embedder import OWN, FakeEmbedder, with_own_task
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


def test_several_terms_are_drawn_each():
    rows = [{"step": 20 * n, "loss": 3.0 / n, "lr": 0.1} for n in (1, 2)]
    single = training_curves([row | {"loss/clip": row["loss"]} for row in rows])
    assert [drawn.name for drawn in single] == ["training_loss", "training_lr"]
    several = training_curves([row | {"loss/clip": 2.0, "loss/siglip": 1.0} for row in rows])
    assert [drawn.name for drawn in several] == [
        *("training_loss", "training_loss_clip", "training_loss_siglip", "training_lr")
    ]
    assert several[1].text == "loss/clip against training step, from 2 to 2"
    (_, weighted, _) = training_curves([row | {"loss/clip": 2.0} for row in rows])
    assert weighted.name == "training_loss_clip"  # in another weight than 1


def test_a_run_of_one_point_shows_it():
    (drawn,) = training_curves([{"step": 20, "loss": 3.0, "loss/clip": 3.0}])
    pixels = np.asarray(picture({"src": drawn.source}).convert("RGB"), int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 100
    assert blue.sum() > 20


def described(written: Page, beginning: str) -> list[str]:
    return [i["alt"] for i in written.attributes("img") if i["alt"].startswith(beginning)]


def test_figures_show_the_predictions_that_were_kept(evaluated, tmp_path):
    metrics, kept, _ = evaluated
    before = write(tmp_path, metrics=metrics, kept=kept)
    predicted = kept.predictions["test/zero_shot/disc_displacement"]
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

    swapped = dataclasses.replace(predicted, probabilities=predicted.probabilities[:, ::-1])
    wrong = kept | Kept({"test/zero_shot/disc_displacement": swapped})
    after = write(tmp_path, metrics=metrics, kept=wrong)
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
    kept = Kept({"test/zero_shot/pfirrmann": grades})
    written = write(tmp_path, metrics=metrics, kept=kept)
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


def test_scales_show_as_many_digits_as_they_need():
    assert Scale(-0.25, 0.25, "coolwarm").ticks == ["−0.25", "0.00", "0.25"]
    assert Scale(0.0312, 0.0318, "viridis").ticks == ["0.03120", "0.03150", "0.03180"]
    assert Scale(0.0, 1.0, "inferno").gradient.startswith("linear-gradient(to right, rgb(0,0,")


def test_robustness_shows_every_corruption_from_the_clean_value_on():
    metrics = {"test/robustness/blur/severity_1/amount": 0.5}
    for where, value in (("clean", 0.7), ("blur/severity_5", 0.55), ("gamma/severity_1", 0.65)):
        name = f"test/robustness/{where}/linear_probe/compression/auroc_within_level"
        metrics |= {
            name: value,
            f"{name}_ci_low": value - 0.1,
            f"{name}_ci_high": value + 0.1,
            f"{name}_chance": 0.5,
        }
    (drawn,) = robustness_pictures(metrics, "test")
    assert "AUROC within level, 0.700 clean: Blur ends at 0.550, Gamma ends at 0.650" in drawn.text


def test_the_map_of_embeddings_keeps_pairs_together(evaluated):
    _, _, embedder = evaluated
    embedded = embedder(None, "test")
    found = embedding_map(embedder, None, "test")
    assert found.image_xy.shape == found.report_xy.shape == (60, 2)
    pairs = np.sum(embedded.image_embeds * embedded.text_embeds, axis=1)
    assert found.pair_cosine == pytest.approx(pairs.mean(), abs=1e-6)
    assert found.pair_cosine > found.other_cosine + 0.3  # the made-up images know their report
    own = np.linalg.norm(found.image_xy - found.report_xy, axis=1)
    other = np.linalg.norm(found.image_xy - np.roll(found.report_xy, 3, axis=0), axis=1)
    assert own.mean() < other.mean() / 2
    again = embedding_map(embedder, None, "test")
    np.testing.assert_array_equal(found.image_xy, again.image_xy)


def test_the_map_is_coloured_by_the_classes_of_own_tasks(evaluated):
    _, _, embedder = evaluated
    split = with_own_task(embedder(None, "test"))
    found = embedding_map(FakeEmbedder(test=split), None, "test")
    assert [of.task for of in found.colourings] == ["disc_displacement", "any_finding", "pain"]
    np.testing.assert_array_equal(found.colourings[-1].label, split.own_labels[:, 0])
    *_, drawn = embedding_pictures(found)
    assert (drawn.text.split(":")[0], drawn.name) == ("Coloured by pain", "test_embeddings_by_pain")
    assert "6 not labelled" in drawn.text
    shown = [row[-1] for row in drawn.numbers.rows]
    assert shown[:60] == [(*OWN["classes"], "not labelled")[of] for of in split.own_labels[:, 0]]


def test_every_class_of_many_has_a_colour_of_its_own():
    for classes in (2, 6, 7, 50):
        assert len({tuple(colour) for colour in group_colours(classes)}) == classes


def test_whole_patients_are_drawn():
    patients = np.repeat(np.arange(10), 3)
    rows = some_patients(patients, 9, np.random.default_rng(0))
    assert len(rows) == 9
    assert len(set(patients[rows])) == 3
    assert sorted(some_patients(patients, 99, np.random.default_rng(0))) == list(range(30))
