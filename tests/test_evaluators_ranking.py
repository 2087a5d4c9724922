"""Ranks, their metrics and chance, and average precision, against hand counts and scikit-learn."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from lumbarclip_jax.evaluators.ranking import best_ranks, chance_metrics, rank_metrics
from lumbarclip_jax.evaluators.shared_findings import (
    average_precisions,
    chance_average_precisions,
)


def set_tile(monkeypatch, tile: tuple[int, int]) -> None:
    images, texts = tile
    monkeypatch.setattr("lumbarclip_jax.evaluators.ranking.TILE_IMAGES", images)
    monkeypatch.setattr("lumbarclip_jax.evaluators.ranking.TILE_TEXTS", texts)


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


@pytest.mark.parametrize("tile", [(1, 1), (4, 3), (2, 100), (100, 2)])
def test_ranks_on_a_written_out_matrix(monkeypatch, tile):
    set_tile(monkeypatch, tile)
    images, texts = unit_vectors_with_products(SIMILARITY)
    np.testing.assert_allclose(images @ texts.T, SIMILARITY / 10, atol=1e-7)
    image_ranks, text_ranks = best_ranks(images, texts[None], ONE_READING, CORRECT_PAIRS)
    np.testing.assert_array_equal(image_ranks, [1, 4, 2, 1, 3, 2])
    # Text 0 [5 1 3 0 4 2] has image 0 first. Text 1 [1 4 3 1 1 5] has image 2 (3) after 5 and 4.
    # Text 2 [2 2 2 5 2 3] has image 3 first. Text 3 [3 3 1 2 3 4] has image 5 first.
    np.testing.assert_array_equal(text_ranks, [1, 3, 1, 1])


@pytest.mark.parametrize("tile", [(1, 3), (2, 2), (100, 100)])
def test_an_image_is_compared_with_texts_as_read_at_its_level(monkeypatch, tile):
    """Two readings of the texts: the second is the first with its columns turned round."""
    set_tile(monkeypatch, tile)
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


def test_rank_metrics_of_patients_are_those_of_their_queries():
    rng = np.random.default_rng(0)
    ranks, owner = rng.integers(1, 40, size=25), np.r_[0:7, rng.integers(0, 7, size=18)]
    times = rng.integers(0, 4, size=(6, 7)).astype(np.float64)
    by_patient = rank_metrics(ranks, owner)(times)
    by_query = rank_metrics(ranks)(times[:, owner])
    assert set(by_patient) == set(by_query)
    for name, values in by_patient.items():
        np.testing.assert_allclose(values, by_query[name], rtol=1e-12)


def test_average_precision_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.4, 0.2, 0.3]], np.float32)
    relevant = np.array([[True, False, True, False], [True, False, False, True]])
    # Relevant at places 1 and 3; then at places 4 and 2.
    np.testing.assert_allclose(
        average_precisions(scores, relevant), [(1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2]
    )


def test_average_precision_equals_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 57)).astype(np.float32)
    relevant = rng.random((20, 57)) < rng.uniform(0.05, 0.95, size=(20, 1))
    relevant[:, 0] = True
    theirs = [average_precision_score(*row) for row in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(average_precisions(scores, relevant), theirs)


def test_ties_count_against_the_average_precision():
    relevant = np.array([[True, False, True, False]])
    collapsed = np.full((1, 4), 0.3, np.float32) + np.array([0, 1e-7, 2e-7, 0], np.float32)
    expected = (1 / 3 + 2 / 4) / 2  # both after the two irrelevant ones
    np.testing.assert_allclose(average_precisions(collapsed, relevant), expected)
    apart = collapsed + np.array([0, 0, 5e-6, 0], np.float32)
    np.testing.assert_allclose(average_precisions(apart, relevant), (1 / 1 + 2 / 4) / 2)


@pytest.mark.parametrize(("relevant", "candidates"), [(1, 1), (1, 5), (3, 5), (4, 6), (6, 6)])
def test_chance_of_average_precision_is_the_mean_over_all_orders(relevant, candidates):
    orders = np.array(list(itertools.permutations(range(candidates))))
    # The first `relevant` candidates are relevant, and `order` gives their places.
    values = [
        np.mean(np.arange(1, relevant + 1) / (1 + np.sort(order[:relevant]))) for order in orders
    ]
    found = chance_average_precisions(np.array([relevant]), candidates)
    np.testing.assert_allclose(found, np.mean(values))
