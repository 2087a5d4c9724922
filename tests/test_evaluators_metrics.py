"""Ranks, chance, classification metrics and intervals against hand counts and scikit-learn."""

import dataclasses
import itertools

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from lumbarclip_jax.evaluators.bootstrap import (
    estimates,
    paired_differences,
    patient_resamples,
)
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.ranking import best_ranks, chance_metrics, rank_metrics


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


def a_task(seed: int = 0, rows: int = 60) -> Predictions:
    """Correlated scores with many ties, three rows a patient."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size=rows)
    return Predictions(
        classes=("no", "yes"),
        labels=labels,
        probabilities=np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1), 1),
        patient_id=np.repeat(np.arange(rows // 3), 3).astype(str),
        level=np.tile(["L3-L4", "L4-L5", "L5-S1"], rows // 3),
    )


def test_classification_metrics_equal_scikit_learn():
    task = a_task()
    weights = np.random.default_rng(1).integers(0, 4, size=(5, len(task.labels))).astype(float)
    weights[0] = 1
    ours = task.metrics(weights)
    for row, sample_weight in enumerate(weights):
        theirs = {
            "auroc": sklearn_metrics.roc_auc_score(
                task.labels, task.probabilities, sample_weight=sample_weight
            ),
            "accuracy": sklearn_metrics.accuracy_score(
                task.labels, task.answers, sample_weight=sample_weight
            ),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(
                task.labels, task.answers, sample_weight=sample_weight
            ),
            "macro_f1": sklearn_metrics.f1_score(
                task.labels, task.answers, average="macro", sample_weight=sample_weight
            ),
        }
        for name, value in theirs.items():
            assert ours[name][row] == pytest.approx(value), name
    np.testing.assert_array_equal(
        task.confusion, sklearn_metrics.confusion_matrix(task.labels, task.answers)
    )


def test_classification_metrics_by_hand():
    task = Predictions(
        classes=("no", "yes"),
        labels=np.array([0, 0, 0, 1, 1]),
        probabilities=np.array([0.1, 0.5, 0.7, 0.5, 0.9]),
        patient_id=np.array(list("abcde")),
        level=np.array(["L4-L5", "L4-L5", "L5-S1", "L4-L5", "L5-S1"]),
    )
    values = task.metrics(np.ones((1, 5)))
    # Six pairs: 0.5 beats 0.1, ties 0.5, loses to 0.7; 0.9 beats all three.
    assert values["auroc"] == pytest.approx((1 + 0.5 + 3) / 6)
    # Three pairs within a level: 0.5 beats 0.1 and ties 0.5 at L4-L5, 0.9 beats 0.7 at L5-S1.
    assert values["auroc_within_level"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["balanced_accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert values["macro_f1"] == pytest.approx((2 * 1 / (1 + 3) + 2 * 2 / (2 + 4)) / 2)
    np.testing.assert_array_equal(task.confusion, [[1, 2], [0, 2]])
    always_no = np.zeros(5)
    assert task.chance["accuracy"] == np.mean(task.labels == always_no)
    assert task.chance["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(task.labels, always_no, average="macro")
    )


def test_a_resample_without_a_class_is_left_out():
    task = Predictions(
        classes=("no", "yes"),
        labels=np.array([0, 0, 1]),
        probabilities=np.array([0.2, 0.6, 0.9]),
        patient_id=np.array(["a", "b", "c"]),
        level=np.full(3, "L4-L5"),
    )
    values = task.metrics(np.array([[1.0, 1, 1], [3, 0, 0], [0, 0, 3]]))
    np.testing.assert_array_equal(np.isnan(values["auroc"]), [False, True, True])
    found = estimates(task.metrics, task.patient_id, resamples=1000)
    # P(c not drawn) + P(only c drawn) = (2/3)^3 + (1/3)^3 = 1/3.
    assert found["auroc"].resamples == pytest.approx(667, abs=60)
    assert found["accuracy"].resamples == 1000


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
    task = a_task()
    same = paired_differences(task.metrics, task.metrics, task.patient_id, resamples=100)
    assert (same["auroc"].value, same["auroc"].low, same["auroc"].high) == (0, 0, 0)


def test_paired_difference_is_tighter_than_two_intervals():
    task = a_task(rows=300)
    better = dataclasses.replace(task, probabilities=task.probabilities + 0.05 * task.labels)
    gain = paired_differences(better.metrics, task.metrics, task.patient_id)["auroc"]
    alone = estimates(task.metrics, task.patient_id)["auroc"]
    assert 0 < gain.low < gain.value < gain.high
    assert gain.high - gain.low < (alone.high - alone.low) / 2


def test_knowing_the_level_is_worth_nothing_within_levels():
    """The label is commoner at one level and the score is the level: AUROC up, within level 0.5."""
    task = a_task()
    common = task.level == "L4-L5"
    labels = (np.random.default_rng(0).random(60) < np.where(common, 0.8, 0.2)).astype(int)
    values = dataclasses.replace(task, labels=labels, probabilities=0.9 * common).metrics(
        np.ones((1, 60))
    )
    assert values["auroc"] > 0.7
    assert values["auroc_within_level"] == 0.5


METRIC_NAMES = ("auroc", "auroc_within_level", "accuracy", "balanced_accuracy", "macro_f1")


def test_names_of_an_estimate():
    task = a_task()
    named = dict(task.named_metrics("test/probe", resamples=50))
    assert set(named) == {
        f"test/probe/{metric}{suffix}"
        for metric in METRIC_NAMES
        for suffix in ("", "_ci_low", "_ci_high", "_chance")
    }
    assert all(type(value) is float for value in named.values())
