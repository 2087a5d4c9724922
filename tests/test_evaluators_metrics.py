"""Ranks, chance and intervals against hand counts."""

import dataclasses

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import (
    estimates,
    paired_differences,
    patient_resamples,
)
from tests.made_up_predictions import binary


def test_resamples_draw_patients_whole_and_repeat_for_a_seed(monkeypatch):
    patient_id = np.array(["b", "a", "b", "c", "a", "b"])
    weights = np.concatenate(list(patient_resamples(patient_id, resamples=50, seed=3)))
    assert weights.shape == (50, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 1] + weights[:, 3], 3)
    monkeypatch.setattr("lumbarclip_jax.evaluators.bootstrap.CHUNK_ELEMENTS", 40)
    chunks = list(patient_resamples(patient_id, resamples=50, seed=3))
    assert len(chunks) == 9
    np.testing.assert_array_equal(np.concatenate(chunks), weights)


def test_intervals_cover_the_truth_about_19_times_in_20():
    """A mean of correlated rows: 30 patients, four rows each, variance mostly between patients."""
    rng = np.random.default_rng(0)
    patient_id = np.repeat(np.arange(30), 4)
    clustered = naive = 0
    for trial in range(200):
        values = 2 + rng.normal(size=30)[patient_id] + 0.3 * rng.normal(size=120)

        def mean(weights, values=values):
            return {"mean": weights @ values / weights.sum(axis=1)}

        of_patients = estimates(mean, patient_id, resamples=300, seed=trial)["mean"]
        of_rows = estimates(mean, np.arange(120), resamples=300, seed=trial)["mean"]
        clustered += of_patients.low <= 2 <= of_patients.high
        naive += of_rows.low <= 2 <= of_rows.high
    assert 0.88 <= clustered / 200 <= 0.98
    assert naive / 200 < 0.8  # what forgetting the patients would claim


def test_paired_difference_of_a_model_with_itself_is_nothing():
    task = binary()
    same = paired_differences(task.metrics, task.metrics, task.patient_id, resamples=100)
    assert (same["auroc"].value, same["auroc"].low, same["auroc"].high) == (0, 0, 0)


def test_paired_difference_is_tighter_than_two_intervals():
    task = binary(rows=300)
    shift = np.stack([-0.05 * task.labels, 0.05 * task.labels], axis=1)
    better = dataclasses.replace(task, probabilities=task.probabilities + shift)
    gain = paired_differences(better.metrics, task.metrics, task.patient_id)["auroc"]
    alone = estimates(task.metrics, task.patient_id)["auroc"]
    assert 0 < gain.low < gain.value < gain.high
    assert gain.high - gain.low < (alone.high - alone.low) / 2


def test_names_of_an_estimate():
    task = binary()
    named = dict(task.named_metrics("test/probe", resamples=50))
    calibration = {"ece", "adaptive_ece"}  # no chance: looking at nothing can be calibrated
    assert set(named) == {
        f"test/probe/{metric}{suffix}"
        for metric in task.metrics(np.ones((1, 60)))
        for suffix in ("", "_ci_low", "_ci_high", "_chance")
        if suffix != "_chance" or metric not in calibration
    }
    assert all(type(value) is float for value in named.values())
