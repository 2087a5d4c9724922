"""Metric names to rows: where a number goes, how it reads, and what is said of it."""

import pytest

from lumbarclip_jax.report.order import ordered
from lumbarclip_jax.report.tables import Row, headlines, sections
from lumbarclip_jax.report.tasks import task_parts

METRICS = {
    "test/retrieval/images": 30.0,
    "test/retrieval/image_to_text_recall_at_5": 0.5,
    "test/retrieval/image_to_text_recall_at_5_ci_low": 0.4,
    "test/retrieval/image_to_text_recall_at_5_ci_high": 0.6,
    "test/retrieval/image_to_text_recall_at_5_chance": 0.1,
    "test/zero_shot/compression/images": 12.0,
    "test/zero_shot/compression/prevalence": 0.25,
    "test/linear_probe/compression/images": 12.0,
    "test/linear_probe/compression/level_only/auroc_within_level": 0.6,
    "test/linear_probe/compression/image_features/c": 0.1,
    "test/linear_probe/compression/image_features/auroc_within_level": 0.7,
    "test/robustness/blur_area": 0.8,
}


def test_names_find_their_place():
    retrieval, zero_shot, probe, robustness = sections(METRICS)
    assert (retrieval.title, retrieval.split, retrieval.facts) == (
        "Retrieval",
        "test",
        ["30 images"],
    )
    (row,) = retrieval.tasks["image_to_text"].tables["image_to_text"].rows
    assert (row.value, row.low, row.high, row.chance) == (0.5, 0.4, 0.6, 0.1)

    compression = zero_shot.tasks["compression"]
    assert compression.facts == ["12 images", "prevalence 25%"]
    assert not compression.tables

    level_only, features = probe.tasks["compression"].tables.values()
    assert level_only.title == "Level alone, the baseline"
    assert features.key == "compression/image_features"
    assert features.facts == ["C = 0.1, chosen on validation"]

    # An evaluator the page has never heard of.
    assert robustness.tasks["robustness"].tables["robustness"].rows[0].title == "Blur area"

    assert [
        (task.key, table.title, row.measure)
        for _, task, table, row in headlines([retrieval, zero_shot, probe, robustness])
    ] == [
        ("image_to_text", "", "recall_at_5"),
        ("compression", "Image features", "auroc_within_level"),
    ]


@pytest.mark.parametrize(
    ("row", "value", "interval", "verdict"),
    [
        (Row("recall_at_1", 0.25, 0.2, 0.3, 0.1), "25.0 %", "20.0 – 30.0 %", "better"),
        (Row("auroc", 0.55, 0.45, 0.65, 0.5), "0.550", "0.450 – 0.650", "unclear"),
        (Row("auroc", 0.3, 0.2, 0.4, 0.5), "0.300", "0.200 – 0.400", "worse"),
        (Row("median_rank", 4.0, 3.01, 5.5, 20.0), "4", "3 – 5.5", "better"),
        (
            Row("auroc_gain_over_level", -0.1, -0.2, 0.1, 0.0),
            "−0.100",
            "−0.200 – +0.100",
            "unclear",
        ),
    ],
)
def test_how_a_row_reads(row, value, interval, verdict):
    assert row.show(row.value).replace("\u00a0", " ") == value
    assert row.interval.replace("\u00a0", " ") == interval
    assert row.verdict == verdict


def test_places_on_the_strip():
    assert Row("auroc", 0.25, 0.2, 0.3, 0.5).place(0.25) == 25
    assert Row("auroc_gain_over_level", 0.5, 0.4, 0.6, 0.0).place(0.5) == 75
    assert not Row("median_rank", 4.0, 3.0, 5.0, 20.0).has_strip
    assert Row("auroc", 0.25, None, None, None).verdict == ""


def test_the_order_is_that_of_reading():
    names = [
        "test/few_shot/pfirrmann_ge_3/k_16/auroc",
        "test/few_shot/pfirrmann_ge_3/k_2/auroc",
        "test/few_shot/pfirrmann_ge_3/images",
        "test/retrieval/text_to_image_recall_at_1",
        "test/retrieval/image_to_text_recall_at_10",
        "test/retrieval/image_to_text_recall_at_5",
        "test/zero_shot/annular_tear/auroc",
        "test/zero_shot/compression/auroc",
        "test/zero_shot/compression/by_patient/auroc",
        "test/zero_shot/compression/macro_f1",
        "test/zero_shot/pfirrmann_ge_3/auroc",
    ]
    assert list(ordered(dict.fromkeys(names, 0.0))) == [
        "test/retrieval/image_to_text_recall_at_5",
        "test/retrieval/image_to_text_recall_at_10",
        "test/retrieval/text_to_image_recall_at_1",
        "test/zero_shot/pfirrmann_ge_3/auroc",
        "test/zero_shot/compression/auroc",
        "test/zero_shot/compression/macro_f1",
        "test/zero_shot/compression/by_patient/auroc",
        "test/zero_shot/annular_tear/auroc",
        "test/few_shot/pfirrmann_ge_3/images",
        "test/few_shot/pfirrmann_ge_3/k_2/auroc",
        "test/few_shot/pfirrmann_ge_3/k_16/auroc",
    ]


def test_what_is_not_defined_is_said_so():
    nan = float("nan")
    metrics = {
        "test/zero_shot/compression/auroc": nan,
        "test/zero_shot/compression/auroc_ci_low": nan,
        "test/zero_shot/compression/auroc_ci_high": nan,
        "test/zero_shot/compression/auroc_chance": 0.5,
    }
    (section,) = sections(metrics)
    (row,) = section.tasks["compression"].tables["compression"].rows
    assert row.show(row.value) == "not defined"
    assert (row.low, row.has_strip, row.verdict) == (None, False, "")


def test_every_task_has_a_column_in_its_overview():
    """Also the mean over findings, whose numbers have names of their own."""
    metrics = {f"test/zero_shot/{x}": 0.6 for x in ("compression/auroc", "findings/macro_auroc")}
    parts = task_parts(sections(metrics), {}, metrics)
    assert [[row.title for row in part.measures] for part in parts] == [["AUROC"], ["Mean AUROC"]]


def test_a_count_is_a_fact_and_no_result():
    """The number of findings that a mean is over, and no line at all where there are none."""
    name = "test/zero_shot/findings/"
    (section,) = sections({name + "findings": 4.0, name + "macro_auroc": 0.6})
    task = section.tasks["findings"]
    assert task.facts == ["mean of 4 findings"]
    assert [row.measure for table in task.tables.values() for row in table.rows] == ["macro_auroc"]
    assert sections({name + "findings": 0.0}) == []
