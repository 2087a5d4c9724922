"""Ranks, chance and intervals against hand counts."""

import dataclasses
import itertools

import numpy as np
import pytest

from lumbarclip_jax.evaluators.bootstrap import (
    estimates,
    paired_differences,
    patient_resamples,
)
from lumbarclip_jax.evaluators.ranking import best_ranks, chance_metrics, rank_metrics
from tests.made_up_predictions import binary


def unit_vectors_with_products(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images and texts of unit length whose cosines are `similarity / 10`, exactly in order."""
    rows, columns = similarity.shape
    images = np.concatenate([similarity / 10, np.zeros((rows, rows))], axis=1)
    images[np.arange(rows), columns + np.arange(rows)] = np.sqrt(
        1 - (images[:, :columns] ** 2).sum(axis=1)
    )
    texts = np.eye(columns, columns + rows)
    return images.astype(np.float32), texts.astype(np.float32)


# Six images, four texts; the images' reports are texts 0 0 1 2 2 3.
SIMILARITY = np.array(
    [
        [5, 1, 2, 3],  # text 0 is first
        [1, 4, 2, 3],  # text 0 is last
        [3, 3, 2, 1],  # text 1 ties with text 0: counted second
        [0, 1, 5, 2],  # text 2 is first
        [4, 1, 2, 3],  # text 2 is third
        [2, 5, 3, 4],  # text 3 is second
    ],
    dtype=np.float64,
)
CORRECT_PAIRS = np.array([[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 3]])
ONE_READING = np.zeros(6, int)


@pytest.mark.parametrize("block_elements", [4, 12, 2**24])
def test_ranks_on_a_written_out_matrix(monkeypatch, block_elements):
    monkeypatch.setattr("lumbarclip_jax.evaluators.ranking.BLOCK_ELEMENTS", block_elements)
    images, texts = unit_vectors_with_products(SIMILARITY)
    np.testing.assert_allclose(images @ texts.T, SIMILARITY / 10, atol=1e-7)
    image_ranks, text_ranks = best_ranks(images, texts[None], ONE_READING, CORRECT_PAIRS)
    np.testing.assert_array_equal(image_ranks, [1, 4, 2, 1, 3, 2])
    # Text 0 [5 1 3 0 4 2] has image 0 first. Text 1 [1 4 3 1 1 5] has image 2 (3) after 5 and 4.
    # Text 2 [2 2 2 5 2 3] has image 3 first. Text 3 [3 3 1 2 3 4] has image 5 first.
    np.testing.assert_array_equal(text_ranks, [1, 3, 1, 1])


@pytest.mark.parametrize("block_elements", [4, 2**24])
def test_an_image_is_compared_with_texts_as_read_at_its_level(monkeypatch, block_elements):
    """Two readings of the texts: the second is the first with its columns turned round."""
    monkeypatch.setattr("lumbarclip_jax.evaluators.ranking.BLOCK_ELEMENTS", block_elements)
    images, texts = unit_vectors_with_products(SIMILARITY)
    readings = np.stack([texts, texts[::-1]])
    image_ranks, text_ranks = best_ranks(
        images, readings, np.array([0, 1, 0, 1, 0, 1]), CORRECT_PAIRS
    )
    # Odd images now score [3 2 4 1], [2 5 1 0] and [4 3 5 2] against texts 0 to 3.
    np.testing.assert_array_equal(image_ranks, [1, 2, 2, 3, 3, 4])
    # Texts over images: 0 [5 3 3 2 4 4], 1 [1 2 3 5 1 3], 2 [2 4 2 1 2 5], 3 [3 1 1 0 3 2].
    np.testing.assert_array_equal(text_ranks, [1, 3, 5, 3])


def test_a_collapsed_encoder_ranks_last():
    same = np.full((6, 8), 8**-0.5, np.float32)
    image_ranks, text_ranks = best_ranks(same, same[None, :4], ONE_READING, CORRECT_PAIRS)
    np.testing.assert_array_equal(image_ranks, [4] * 6)
    np.testing.assert_array_equal(text_ranks, [5, 6, 5, 6])  # 1 + the images of other reports


def test_rank_metrics_by_hand():
    metrics = rank_metrics(np.array([1, 4, 2, 1, 30, 7]))
    values = metrics(np.ones((1, 6)))
    assert values["recall_at_1"] == pytest.approx(2 / 6)
    assert values["recall_at_5"] == pytest.approx(4 / 6)
    assert values["recall_at_10"] == pytest.approx(5 / 6)
    assert values["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 2 + 1 + 1 / 30 + 1 / 7) / 6)
    assert values["median_rank"] == 3  # between 2 and 4


def test_rank_metrics_weights_are_repetitions():
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 40, size=25)
    weights = rng.integers(0, 4, size=(6, 25))
    weighted = rank_metrics(ranks)(weights.astype(np.float64))
    for row, counts in enumerate(weights):
        repeated = np.repeat(ranks, counts)
        assert weighted["median_rank"][row] == np.median(repeated)
        assert weighted["mrr"][row] == pytest.approx(np.mean(1 / repeated))


def test_chance_is_exact_for_every_ordering():
    """Three of five candidates correct, and one of five: all 120 orders counted."""
    best_of_three, best_of_one = zip(
        *((1 + min(order[:3]), 1 + order[3]) for order in itertools.permutations(range(5))),
        strict=True,
    )
    ranks = np.array(best_of_three + best_of_one)
    chance = chance_metrics(5, np.array([3, 1]))
    assert chance["recall_at_1"] == pytest.approx(np.mean(ranks <= 1))
    assert chance["recall_at_5"] == chance["recall_at_10"] == pytest.approx(1.0)
    assert chance["mrr"] == pytest.approx(np.mean(1 / ranks))
    # At rank 1 three fifths and one fifth make 0.4: the half is reached at rank 2.
    assert chance["recall_at_1"] == pytest.approx(0.4)
    assert chance["median_rank"] == np.median(ranks) == 2


def test_chance_equals_simulation():
    correct = np.array([1, 3, 3, 9, 40])
    rng = np.random.default_rng(1)
    ranks = np.array(
        [
            1 + rng.permuted(np.tile(np.arange(200), (4000, 1)), axis=1)[:, :m].min(axis=1)
            for m in correct
        ]
    )
    chance = chance_metrics(200, correct)
    for k in (1, 5, 10):
        assert chance[f"recall_at_{k}"] == pytest.approx(np.mean(ranks <= k), abs=0.01)
    assert chance["mrr"] == pytest.approx(np.mean(1 / ranks), abs=0.01)
    assert chance["median_rank"] == pytest.approx(np.median(ranks), abs=1)


def test_chance_of_one_correct_candidate_is_k_over_n():
    chance = chance_metrics(1000, np.ones(7, int))
    assert chance["recall_at_10"] == pytest.approx(0.01)
    assert chance["median_rank"] == 500


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
