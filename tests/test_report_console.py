"""The console has some ten numbers of a measurement; the files have all."""

import logging

import numpy as np

from lumbarclip_jax.report import console


def measured(name: str, value: float, chance: float | None = 0.5) -> dict[str, float]:
    beside = {} if chance is None else {f"{name}_chance": chance}
    return {name: value, f"{name}_ci_low": value - 0.1, f"{name}_ci_high": value + 0.1} | beside


RETRIEVAL = measured("test/retrieval/image_to_text_recall_at_5", 0.4, 0.1)
PROBE = measured("test/linear_probe/pfirrmann_ge_3/image_features/auroc_within_level", 0.7)


def test_the_headlines_come_first_in_columns():
    metrics = measured("test/zero_shot/disc_bulge/auroc", 0.6) | PROBE | RETRIEVAL
    metrics |= {"test/retrieval/images": 9.0, "test/zero_shot/disc_bulge/brier": 0.2}
    assert console.summary(metrics) == [
        f"{'':66}   value   95 % interval  chance",
        f"{'test/retrieval/image_to_text_recall_at_5':66}  40.0 %  30.0 to 50.0 %  10.0 %",
        f"{'test/linear_probe/pfirrmann_ge_3/image_features/auroc_within_level':66}"
        "   0.700  0.600 to 0.800   0.500",
        f"{'test/zero_shot/disc_bulge/auroc':66}   0.600  0.500 to 0.700   0.500",
    ]


def test_what_alignment_found_is_its_accuracies():
    metrics = measured("test/alignment/negated/accuracy", 0.6)
    metrics |= measured("test/linear_probe/pfirrmann/image_features/accuracy", 0.7)
    assert [line.split()[0] for line in console.summary(metrics)[1:]] == [
        "test/alignment/negated/accuracy"
    ]


def test_there_are_ten_at_most(caplog):
    caplog.set_level(logging.INFO, "lumbarclip_jax")
    metrics = RETRIEVAL | PROBE
    for number in range(40):
        metrics |= measured(f"test/few_shot/k_{number}/auroc", 0.5)
    console.log_summary(metrics)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 + console.ROWS + 1
    assert said[-1] == f"{len(metrics)} numbers in all; intervals are over patients"


def test_without_a_number_to_show_there_is_no_table():
    assert console.summary({"test/retrieval/images": 9.0, "TRAINED_ON": 1.0}) == []
    undefined = measured("test/zero_shot/pfirrmann_ge_3/auroc", np.nan)
    assert console.summary(undefined) == []
