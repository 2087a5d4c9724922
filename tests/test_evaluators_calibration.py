"""Temperature scaling and reliability against closed forms and hand counts."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.evaluators.calibration import (
    TEMPERATURES,
    fit_temperature,
    reliability,
    tempered,
)
from tests.made_up_predictions import binary, graded, predictions


def test_a_temperature_divides_the_logits():
    said = tempered(np.array([[0.2, 0.8], [0.5, 0.5]]), 2.0)
    odds = np.sqrt(0.8 / 0.2)  # the log-odds are halved
    np.testing.assert_allclose(said, [[1 / (1 + odds), odds / (1 + odds)], [0.5, 0.5]])


def test_the_temperature_is_the_one_that_makes_confidence_true():
    """Odds of 16 to 1, right four times of five: odds of 4 to 1 would be true, half the logit."""
    said = np.tile([[1 / 17, 16 / 17]], (50, 1))
    labels = np.r_[np.ones(40, int), np.zeros(10, int)]
    temperature = fit_temperature(said, labels)
    assert temperature == pytest.approx(2, rel=1e-4)
    np.testing.assert_allclose(tempered(said, temperature)[:, 1], 0.8, rtol=1e-4)


def test_no_other_temperature_is_likelier():
    task = graded(rows=300)
    best = fit_temperature(task.probabilities, task.labels)

    def nll(temperature: float) -> float:
        said = tempered(task.probabilities, temperature)
        return -np.log(said[np.arange(300), task.labels]).mean()

    losses = [nll(best * factor) for factor in (0.5, 0.9, 0.99, 1, 1.01, 1.1, 2)]
    assert np.argmin(losses) == 3


def test_perfect_and_reversed_probabilities_reach_the_ends():
    said = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert TEMPERATURES[0] <= fit_temperature(said, np.array([1, 0])) < 0.1  # flat below
    assert fit_temperature(said, np.array([0, 1])) == pytest.approx(TEMPERATURES[1], rel=0.01)
    assert np.isfinite(fit_temperature(np.array([[0.0, 1.0]]), np.array([0])))


def test_a_temperature_changes_no_answer_and_no_binary_ranking():
    task = binary()
    said = dataclasses.replace(task, probabilities=tempered(task.probabilities, 0.3))
    ones = np.ones((1, 60))
    for name in ("auroc", "average_precision", "accuracy", "macro_f1"):
        assert said.metrics(ones)[name] == pytest.approx(task.metrics(ones)[name])
    assert said.metrics(ones)["nll"] > task.metrics(ones)["nll"]


def test_calibrated_numbers_stand_beside_and_use_validation_alone():
    """Validation asks for half the logits (see above); the measured rows would ask for more."""
    validation = predictions(np.r_[np.ones(40, int), np.zeros(10, int)], np.full(50, 16 / 17))
    measured = predictions([1, 1, 0], [0.9, 16 / 17, 0.5])
    temperature = fit_temperature(validation.probabilities, validation.labels)
    named = dict(measured.named_metrics("t", temperature=temperature, resamples=20))
    assert named["t/temperature"] == pytest.approx(2, rel=1e-4)
    assert named["t/nll_calibrated"] == pytest.approx(-np.log([3 / 4, 0.8, 0.5]).mean(), rel=1e-4)
    assert named["t/brier_calibrated"] == pytest.approx((1 / 16 + 0.04 + 0.25) / 3, rel=1e-4)
    # Confidences 3/4 and 4/5 right, 1/2 (a tie, answered positive) wrong: three bins of one row.
    assert named["t/ece_calibrated"] == pytest.approx((1 / 4 + 1 / 5 + 1 / 2) / 3, rel=1e-4)
    assert named["t/nll_calibrated_chance"] == named["t/nll_chance"]
    assert named["t/nll"] == pytest.approx(-np.log([0.9, 16 / 17, 0.5]).mean())


def test_reliability_points_by_hand():
    said = np.array([0.99, 0.01, 0.5, 0.95, 0.05, 0.5])
    happened = np.array([True, True, False, True, False, True])
    points = reliability(said, happened, np.arange(6), bins=3, resamples=200)
    np.testing.assert_allclose(points.said, [0.03, 0.5, 0.97])
    np.testing.assert_allclose(points.happened, [0.5, 0.5, 1])
    np.testing.assert_array_equal(points.rows, [2, 2, 2])
    # Two patients a bin: of two hits the exact interval starts at the root of 0.025.
    np.testing.assert_allclose(points.low, [0, 0, 0.025**0.5])
    np.testing.assert_array_equal(points.high, [1, 1, 1])


def test_equal_probabilities_share_a_bin():
    points = reliability(np.full(8, 0.3), np.arange(8) % 4 == 0, np.arange(8), resamples=20)
    np.testing.assert_allclose(points.said, [0.3])
    np.testing.assert_allclose(points.happened, [0.25])


def test_the_interval_of_a_bin_is_over_patients():
    """Five slices of each patient tell no more than one."""
    said, happened, patients = np.linspace(0, 1, 40), np.arange(40) % 3 == 0, np.arange(40)
    once = reliability(said, happened, patients, bins=2)
    columns = (np.repeat(column, 5) for column in (said, happened, patients))
    five = reliability(*columns, bins=2)
    np.testing.assert_allclose(five.low, once.low)
    np.testing.assert_allclose(five.high, once.high)
    assert (once.low < once.happened).all()
    assert (once.happened < once.high).all()


def test_the_level_only_baseline_stands_beside_every_metric():
    task = binary()
    flat = dataclasses.replace(task, probabilities=np.full((60, 2), 0.5))
    named = dict(task.named_metrics("t", level_only=flat, resamples=20))
    assert named["t/auroc_level_only"] == named["t/auroc_within_level_level_only"] == 0.5
    assert named["t/nll_level_only"] == pytest.approx(np.log(2))
    assert named["t/auroc_gain_over_level"] == pytest.approx(named["t/auroc"] - 0.5)
    assert named["t/auroc_gain_over_level_ci_low"] == pytest.approx(named["t/auroc_ci_low"] - 0.5)
    assert named["t/auroc_gain_over_level_chance"] == 0
