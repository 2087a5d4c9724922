"""Retrieval by class on the page, over training and on the console."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.evaluators.suite import evaluate_split
from lumbarclip_jax.report import by_class, console, figures, order, tables
from tests.fake_embedder import FakeEmbedder, make_split, with_own_task
from tests.report_pages import write

PREFIX = "test/class_retrieval"


@pytest.fixture(scope="module")
def metrics() -> dict[str, float]:
    split = with_own_task(make_split(20, 2))
    findings = np.zeros_like(split.findings)
    findings[:30, 10] = 1  # spondylosis of half the patients
    split = dataclasses.replace(split, findings=findings)
    embedder = FakeEmbedder(test=split)
    found, _ = evaluate_split(embedder, None, "test", resamples=20, names=("class_retrieval",))
    return found


@pytest.fixture(scope="module")
def page(metrics, tmp_path_factory):
    return write(tmp_path_factory.mktemp("run"), metrics=metrics)


def test_a_task_has_one_table_of_both_ways_and_every_class(metrics):
    (section,) = tables.sections(order.ordered(metrics))
    found = {table.title: table for table in by_class.class_tables(section)}
    assert next(iter(found)) == "Normal or abnormal"
    lines = [(line.direction, line.of) for line in found["Normal or abnormal"].lines]
    ways = ("Image → report", "Report → image", "Patient → report", "Report → patient")
    classes = (by_class.MEAN, "Abnormal", "Normal")
    assert lines == [
        *((way, of) for way in ways for of in classes),
        ("Balance, by image", by_class.MEAN),
        ("Balance, by patient", by_class.MEAN),
    ]
    cells = found["Normal or abnormal"].lines[1].cells
    assert [cell.measure for cell in cells] == list(by_class.MEASURES)
    name = f"{PREFIX}/any_finding/abnormal/image_to_text_precision_at_5"
    assert (cells[1].value, cells[1].chance) == (metrics[name], metrics[f"{name}_chance"])
    assert found["Spondylosis"].lines
    assert not found["Spondylosis"].is_main
    assert not found["Fracture"].lines


def test_the_page_shows_what_was_measured_and_names_what_was_not(metrics, page):
    text = page.text
    assert "Retrieval by class, test split" in text
    value = 100 * metrics[f"{PREFIX}/pain/no_pain/text_to_patient_precision_at_5"]
    assert f"{value:.1f} %" in text
    assert "6 more images without a label" in text
    assert "Not measured, for want of labelled patients of two classes: " in text
    assert "Fracture" in text.partition("of two classes: ")[2]
    balance = metrics[f"{PREFIX}/pain/balance_at_5"]
    assert f"{balance:+.3f}".replace("-", "−") in text
    assert "Classification" not in text


def test_the_console_shows_the_means_of_the_tasks(metrics):
    lines = console.summary(metrics)[1:]
    assert len(lines) == console.ROWS
    assert lines[0].startswith(f"{PREFIX}/any_finding/image_to_text_precision_at_5 ")
    assert not any("/normal/" in line or "/abnormal/" in line for line in lines)


def test_a_mean_has_a_line_over_training(metrics):
    rows = [
        {"step": step} | {name.replace("test/", "validation/"): v for name, v in metrics.items()}
        for step in (1, 2)
    ]
    drawn = {curve.name: curve for curve in figures.evaluation_curves(rows)}
    assert set(drawn) == {
        f"validation_class_retrieval_{task}_precision_at_5_over_training"
        for task in ("any_finding", "pfirrmann_ge_3", "pfirrmann", "disc_displacement", "pain")
    }
    text = drawn["validation_class_retrieval_pain_precision_at_5_over_training"].text
    assert text.startswith("Pain, validation: Precision at 5, against training step, for ")
    assert text.endswith("Image → report, Report → image")
