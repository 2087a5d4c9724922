"""What a page says before its numbers: the verdict, whose patients, and what is not there."""

import pytest

from lumbarclip_jax.report.tables import headlines, sections
from lumbarclip_jax.report.verdict import verdict
from lumbarclip_jax.run_folder.metric_writer import last_started
from tests.report_pages import MANIFEST, METRICS, write

SPLITS = {
    "train": {"images": 228, "patients": 38, "report_groups": 36},
    "test": {"images": 66, "patients": 11, "report_groups": 11},
}
PHANTOM = MANIFEST | {"source": "phantom: raw DICOM", "splits": SPLITS}


def number(name: str, value: float, low: float, high: float, chance: float) -> dict[str, float]:
    return {
        name: value,
        f"{name}_ci_low": low,
        f"{name}_ci_high": high,
        f"{name}_chance": chance,
    }


MIXED = (
    number("test/retrieval/image_to_text_recall_at_5", 0.4, 0.3, 0.5, 0.1)
    | number("test/retrieval/text_to_image_recall_at_5", 0.4, 0.3, 0.5, 0.35)
    | number("test/zero_shot/pfirrmann_ge_3/auroc_within_level", 0.3, 0.2, 0.4, 0.5)
    | number("test/zero_shot/compression/auroc_within_level", 0.6, 0.4, 0.8, 0.5)
    | number("test/linear_probe/compression/image_features/auroc_within_level", 0.6, 0.4, 0.8, 0.5)
)


def test_the_verdict_is_one_sentence_and_comes_first(tmp_path):
    said = (
        "On the 11 patients of the test split: better than chance at retrieval (image → report); "
        "not distinguishable from chance at retrieval (report → image) and compression (zero-shot "
        "and linear probe); worse than chance at Pfirrmann grade 3 or more (zero-shot)."
    )
    assert verdict(headlines(sections(MIXED)), PHANTOM | {"source": "mendeley"}) == said
    text = write(tmp_path, metrics=MIXED, manifest=PHANTOM).text
    assert text.index("On the 11 invented patients of the test split: better") < text.index(
        "At a glance"
    )
    assert "not told from chance" not in text


def test_without_chance_there_is_no_verdict(tmp_path):
    metrics = {"test/retrieval/image_to_text_recall_at_5": 0.4}
    assert verdict(headlines(sections(metrics)), MANIFEST) == ""
    assert "Nothing was measured that chance" in write(tmp_path, metrics=metrics).text
    assert "Nothing was measured on this run" in write(tmp_path, metrics={}, history=[]).text


def test_invented_patients_are_called_so(tmp_path):
    loud = "Invented patients. Every image and every report here was made by a program"
    page = write(tmp_path, manifest=PHANTOM)
    assert loud in page.text
    assert any(attributes.get("class") == "banner" for attributes in page.attributes("p"))
    real = write(tmp_path, manifest=MANIFEST)
    assert "nvented" not in real.text
    assert not any(attributes.get("class") == "banner" for attributes in real.attributes("p"))


def test_training_size_and_day_are_said(tmp_path):
    assert "distinct reports) for" not in write(tmp_path).text  # no training split is known of
    board = tmp_path / "tensorboard"
    board.mkdir()
    for seconds in (1_700_000_000, 1_764_460_000):
        (board / f"events.out.tfevents.{seconds}.a-host.12").touch()
    (board / "events.out.tfevents.none").touch()
    text = write(tmp_path, manifest=PHANTOM).text
    assert (
        "trained on 38 invented patients (228 images, 36 distinct reports) for 2 steps on "
        "2025-11-29." in text
    )
    assert "a-host" not in text
    assert last_started(tmp_path / "elsewhere") is None


def test_a_page_without_examples_does_not_claim_to_hold_them(tmp_path):
    assert "contains report texts" not in write(tmp_path).text


def unlabelled() -> dict[str, float]:
    """What evaluators yield of a data set without labels: retrieval, and counts of nothing."""
    return (
        METRICS
        | {"test/retrieval/image_to_text_map_queries": 0.0, "test/zero_shot/findings/findings": 0.0}
        | {
            f"test/{evaluator}/{task}/images": 0.0
            for evaluator in ("zero_shot", "linear_probe")
            for task in ("pfirrmann_ge_3", "disc_displacement", "disc_bulge")
        }
    )


def test_a_data_set_without_labels_is_said_once_and_its_tasks_are_not_shown(tmp_path):
    manifest = MANIFEST | {"findings_source": "none", "grades_source": "none"}
    page = write(tmp_path, metrics=unlabelled(), manifest=manifest)
    why = "No classification was measured, as the data set has no labels of findings and no "
    assert page.text.count(why) == 1
    for gone in ("Classification", "Zero-shot", "AUROC", "Disc bulge", "Confusion", "0 queries"):
        assert gone not in page.text
    assert page.text.count("Recall at 5") > 1
    tiles = [of for of in page.attributes("div") if of.get("class") == "tile"]
    assert len(tiles) == 1


def test_without_grades_alone_their_tasks_are_named(tmp_path):
    manifest = MANIFEST | {"findings_source": "given", "grades_source": "none"}
    metrics = unlabelled() | MIXED
    del metrics["test/zero_shot/pfirrmann_ge_3/auroc_within_level"]
    text = write(tmp_path, metrics=metrics, manifest=manifest).text
    assert (
        "Not measured: Pfirrmann grade 3 or more, disc displacement at the level and disc bulge; "
        "the data set has no Pfirrmann grades, and a task needs labelled images" in text
    )
    assert "Classification" in text


def test_recall_among_fewer_candidates_is_left_out(tmp_path):
    """Among 7 reports recall at 10 is 1 of every model."""
    metrics = METRICS | number("test/retrieval/image_to_text_recall_at_10", 1, 1, 1, 1)
    assert "Recall at 10" not in write(tmp_path, metrics=metrics).text


@pytest.mark.parametrize("undefined", [float("nan")])
def test_a_number_that_is_not_defined_is_no_tile(undefined):
    name = "test/zero_shot/compression/auroc_within_level"
    assert not headlines(sections({name: undefined}))
    assert headlines(sections({name: 0.5}))


def test_a_task_whose_numbers_are_all_undefined_is_not_measured(tmp_path):
    """null in metrics.json; a choice of C alone is no number either."""
    metrics = MIXED | {
        "test/zero_shot/disc_displacement/auroc": None,
        "test/linear_probe/disc_displacement/image_features/c": 0.1,
    }
    manifest = MANIFEST | {"findings_source": "given"}
    text = write(tmp_path, metrics=metrics, manifest=manifest).text
    assert "Not measured: disc displacement at the level; a task needs" in text
    assert "not defined" not in text
