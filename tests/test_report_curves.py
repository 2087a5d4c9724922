"""ROC and precision-recall curves against scikit-learn, and their bands."""

import numpy as np
import pytest
from sklearn import metrics

from lumbarclip_jax.report.curves import GRID, precision_recall_curve, roc_curve

LABELS = np.array([1, 1, 0, 1, 0, 0, 1, 0], bool)
SCORES = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.4, 0.1])
ALONE = np.arange(8)


def test_roc_equals_scikit_learn():
    curve = roc_curve(LABELS, SCORES, ALONE, resamples=10)
    false, true, _ = metrics.roc_curve(LABELS, SCORES, drop_intermediate=False)
    np.testing.assert_allclose(curve.x, false)
    np.testing.assert_allclose(curve.y, true)


def test_precision_and_recall_equal_scikit_learn():
    curve = precision_recall_curve(LABELS, SCORES, ALONE, resamples=10)
    precision, recall, _ = metrics.precision_recall_curve(LABELS, SCORES)
    np.testing.assert_allclose(curve.x, recall[::-1])
    np.testing.assert_allclose(curve.y, precision[::-1])


@pytest.mark.parametrize("draw", [roc_curve, precision_recall_curve])
def test_the_band_holds_the_curve_and_narrows_with_patients(draw):
    rng = np.random.default_rng(0)

    def width(patients: int, copies: int) -> float:
        labels = np.repeat(rng.random(patients) < 0.5, copies)
        scores = labels + rng.normal(size=patients * copies)
        curve = draw(labels, scores, np.repeat(np.arange(patients), copies), resamples=200)
        middle = slice(20, 80)
        y = np.interp(GRID, curve.x, curve.y)[middle]
        inside = (curve.low[middle] <= y + 0.05) & (y - 0.05 <= curve.high[middle])
        assert inside.all()
        return float(np.mean(curve.high - curve.low))

    assert width(400, 1) < 0.7 * width(80, 1)
    # Five slices of a patient are not five patients.
    labels = np.tile([True, False], 20)
    scores = labels + rng.normal(size=40)
    once = draw(labels, scores, np.arange(40), resamples=200)
    five = draw(
        np.repeat(labels, 5), np.repeat(scores, 5), np.repeat(np.arange(40), 5), resamples=200
    )
    np.testing.assert_allclose(once.low, five.low)
    np.testing.assert_allclose(once.high, five.high)


def test_resamples_that_lack_a_class_say_nothing():
    labels = np.array([True, False])
    curve = roc_curve(labels, np.array([0.9, 0.1]), np.arange(2), resamples=50)
    assert np.isfinite(curve.low).all()
    one_patient = roc_curve(labels[:1], np.array([0.9]), np.arange(1), resamples=5)
    assert np.isnan(one_patient.low).all()
