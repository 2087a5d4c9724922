"""Classification metrics against hand counts and scikit-learn, and what becomes of predictions."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from lumbarclip_jax.evaluators.bootstrap import estimates
from lumbarclip_jax.evaluators.classification import Predictions, named_counts
from lumbarclip_jax.evaluators.predictions_file import Kept, load_kept, save_kept
from tests.made_up_predictions import binary, graded, predictions


def by_scikit_learn(task: Predictions, sample_weight: np.ndarray) -> dict[str, float]:
    """The oracle; the within-level AUROC and the calibration errors have none there."""
    labels, said, answers = task.labels, task.probabilities, task.answers
    two = len(task.classes) == 2
    truth = np.eye(len(task.classes))[labels]
    one_vs_rest = (labels, said[:, 1]) if two else (truth, said)
    options = {"sample_weight": sample_weight}
    theirs = {
        "accuracy": sklearn_metrics.accuracy_score(labels, answers, **options),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, answers, **options),
        "macro_f1": sklearn_metrics.f1_score(labels, answers, average="macro", **options),
        "weighted_f1": sklearn_metrics.f1_score(labels, answers, average="weighted", **options),
        "auroc": sklearn_metrics.roc_auc_score(*one_vs_rest, average="macro", **options),
        "average_precision": sklearn_metrics.average_precision_score(*one_vs_rest, **options),
        "nll": sklearn_metrics.log_loss(labels, said, **options),
        "brier": sklearn_metrics.brier_score_loss(labels, said[:, 1] if two else said, **options),
    }
    if task.ordered:
        theirs["quadratic_kappa"] = sklearn_metrics.cohen_kappa_score(
            labels, answers, weights="quadratic", **options
        )
    return theirs


@pytest.mark.parametrize("task", [binary(), graded(), graded(k=3)], ids=["2", "4", "3"])
def test_metrics_equal_scikit_learn(task):
    weights = np.random.default_rng(1).integers(0, 4, size=(5, len(task.labels))).astype(float)
    weights[0] = 1
    ours = task.metrics(weights)
    for row, sample_weight in enumerate(weights):
        theirs = by_scikit_learn(task, sample_weight)
        assert {name: values[row] for name, values in ours.items() if name in theirs} == {
            name: pytest.approx(value) for name, value in theirs.items()
        }
    np.testing.assert_array_equal(
        task.confusion, sklearn_metrics.confusion_matrix(task.labels, task.answers)
    )


def test_binary_metrics_by_hand():
    task = predictions(
        [0, 0, 0, 1, 1],
        [0.1, 0.5, 0.7, 0.5, 0.9],
        level=["L4-L5", "L4-L5", "L5-S1", "L4-L5", "L5-S1"],
    )
    values = {name: value[0] for name, value in task.metrics(np.ones((1, 5))).items()}
    # Six pairs: 0.5 beats 0.1, ties 0.5, loses to 0.7; 0.9 beats all three.
    assert values["auroc"] == pytest.approx((1 + 0.5 + 3) / 6)
    # Three pairs within a level: 0.5 beats 0.1 and ties 0.5 at L4-L5, 0.9 beats 0.7 at L5-S1.
    assert values["auroc_within_level"] == pytest.approx((1 + 0.5 + 1) / 3)
    # 0.9 comes first and is right; the other positive shares place 4 with a negative.
    assert values["average_precision"] == pytest.approx((1 + 2 / 4) / 2)
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["balanced_accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert values["macro_f1"] == pytest.approx((2 * 1 / (1 + 3) + 2 * 2 / (2 + 4)) / 2)
    assert values["weighted_f1"] == pytest.approx(3 / 5 * (2 / 4) + 2 / 5 * (4 / 6))
    assert values["nll"] == pytest.approx(-np.log([0.9, 0.5, 0.3, 0.5, 0.9]).mean())
    assert values["brier"] == pytest.approx(np.mean([0.1**2, 0.25, 0.7**2, 0.25, 0.1**2]))
    # Confidences 0.9 right, 0.5 wrong, 0.7 wrong, 0.5 right, 0.9 right: the bins of 0.9, 0.5, 0.7.
    assert values["ece"] == pytest.approx((2 * 0.1 + 2 * 0 + 0.7) / 5)
    np.testing.assert_array_equal(task.confusion, [[1, 2], [0, 2]])


def test_graded_metrics_by_hand():
    """Answers 0 1 2 2 0 of truths 0 1 1 2 2: one error of one grade, one of two."""
    said = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0, 0.4, 0.6], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]]
    task = predictions([0, 1, 1, 2, 2], said, ordered=True)
    values = {name: value[0] for name, value in task.metrics(np.ones((1, 5))).items()}
    # Squared distances seen: 1 + 4. Expected: truths (1 2 2) against answers (2 1 2), over 5.
    expected = (1 * (0 * 2 + 1 * 1 + 4 * 2) + 2 * (1 * 2 + 0 + 1 * 2) + 2 * (4 * 2 + 1 * 1)) / 5
    assert values["quadratic_kappa"] == pytest.approx(1 - 5 / expected)
    assert values["balanced_accuracy"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 2 / 4) / 3)
    # Of class 0 one positive beats all four; of 1 the pairs of 0.5 and 0.4 all win; of 2 the
    # positives 0.8 and 0.2 meet 0.1, 0.3 and 0.6 and win three and one.
    assert values["auroc"] == pytest.approx((1 + 1 + 4 / 6) / 3)
    squares = [0.26, 0.38, 0.72, 0.06, 0.98]
    assert values["brier"] == pytest.approx(np.mean(squares))
    assert "auroc_within_level" not in values  # one level
    assert "quadratic_kappa" not in dataclasses.replace(task, ordered=False).metrics(
        np.ones((1, 5))
    )


def test_ece_of_wide_and_of_equally_full_bins():
    """Thirty rows of confidence 0.81 to 0.84: two bins of width 1/15 meet at 12/15 + 1/30."""
    confidence = np.repeat([0.81, 0.82, 0.84, 0.99], [10, 10, 10, 10])
    right = np.tile(np.arange(10) < 8, 4)  # eight of ten, everywhere
    task = predictions(np.where(right, 1, 0), confidence)
    values = task.metrics(np.ones((1, 40)))
    # Width 1/15: 0.81 to 0.84 lie in (12/15, 13/15], 0.99 in the last.
    assert values["ece"] == pytest.approx((30 * (0.82333333 - 0.8) + 10 * 0.19) / 40)
    assert values["adaptive_ece"] == pytest.approx((0.01 + 0.02 + 0.04 + 0.19) / 4)
    # Equal-mass bins see what one wide bin averages away.
    half = predictions(
        np.repeat([1, 0], 20), np.repeat([0.81, 0.86], 20)
    )  # 0.81 always right, 0.86 never: 0.5 right in one wide bin
    values = half.metrics(np.ones((1, 40)))
    assert values["ece"] == pytest.approx(0.835 - 0.5)
    assert values["adaptive_ece"] == pytest.approx((0.19 + 0.86) / 2)


def test_knowing_the_level_is_worth_nothing_within_levels():
    """The label is commoner at one level and the score is the level: AUROC up, within level 0.5."""
    task = binary()
    common = task.level == "L4-L5"
    labels = (np.random.default_rng(0).random(60) < np.where(common, 0.8, 0.2)).astype(int)
    said = predictions(labels, 0.9 * common, level=task.level).metrics(np.ones((1, 60)))
    assert said["auroc"] > 0.7
    assert said["auroc_within_level"] == 0.5


@pytest.mark.parametrize("task", [binary(3), graded(3), graded(3, k=3)], ids=["2", "4", "3"])
def test_chance_is_what_looking_at_nothing_reaches(task):
    frequency = np.bincount(task.labels) / len(task.labels)
    always = dataclasses.replace(task, probabilities=np.tile(frequency, (len(task.labels), 1)))
    reached = always.metrics(np.ones((1, len(task.labels))))
    assert set(task.chance) - {"quadratic_kappa"} == set(reached) - {
        "ece",
        "adaptive_ece",
        "quadratic_kappa",
    }
    for name, values in reached.items():
        if name in task.chance:
            # The mean of the classes' frequencies, and 0 / 0 pairs, come out in other digits.
            assert values[0] == pytest.approx(task.chance[name], abs=1e-9), name


def test_a_class_that_no_row_has_is_left_out_of_the_means():
    """Grades 1 and 2 of 0 to 2: as if there were two classes, but for answers of the third."""
    task = predictions([1, 1, 2, 2], [[0, 0.9, 0.1], [0.8, 0.1, 0.1], [0, 0.2, 0.8], [0, 0, 1]])
    values = {name: value[0] for name, value in task.metrics(np.ones((1, 4))).items()}
    assert values["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert values["auroc"] == pytest.approx((3 / 4 + 1) / 2)
    assert task.chance["balanced_accuracy"] == 0.5


def test_a_resample_without_a_class_is_left_out():
    task = predictions([0, 0, 1], [0.2, 0.6, 0.9], patient_id=["a", "b", "c"])
    values = task.metrics(np.array([[1.0, 1, 1], [3, 0, 0], [0, 0, 3]]))
    for name in ("auroc", "balanced_accuracy", "macro_f1"):
        np.testing.assert_array_equal(np.isnan(values[name]), [False, True, True])
    np.testing.assert_array_equal(np.isnan(values["average_precision"]), [False, True, False])
    found = estimates(task.metrics, task.patient_id, resamples=1000)
    # P(c not drawn) + P(only c drawn) = (2/3)^3 + (1/3)^3 = 1/3.
    assert found["auroc"].resamples == pytest.approx(667, abs=60)
    assert found["accuracy"].resamples == 1000


def test_patients_have_the_mean_probability_and_the_highest_label():
    task = predictions(
        [0, 1, 0, 0, 2],
        [[1, 0, 0], [0.5, 0, 0.5], [0, 1, 0], [0.6, 0.2, 0.2], [0.2, 0, 0.8]],
        patient_id=["b", "b", "c", "a", "a"],
    ).by_patient()
    assert list(task.patient_id) == ["a", "b", "c"]
    np.testing.assert_array_equal(task.labels, [2, 1, 0])
    np.testing.assert_allclose(task.probabilities, [[0.4, 0.1, 0.5], [0.75, 0, 0.25], [0, 1, 0]])
    assert "auroc_within_level" not in task.metrics(np.ones((1, 3)))


def test_counts_of_two_and_of_more_classes():
    patients = np.array(["a", "a", "b"])
    assert dict(named_counts("t", np.array([0, 1, 1]), patients, ("no", "yes"))) == {
        "t/images": 3,
        "t/patients": 2,
        "t/positives": 2,
        "t/prevalence": pytest.approx(2 / 3),
    }
    none = np.zeros(0, int)
    assert dict(named_counts("t", none, none, ("no", "yes"))) == {
        "t/images": 0,
        "t/patients": 0,
        "t/positives": 0,
    }
    assert dict(named_counts("t", np.array([0, 2, 2]), patients, ("a", "b", "the rest"))) == {
        "t/images": 3,
        "t/patients": 2,
        "t/share_a": pytest.approx(1 / 3),
        "t/share_b": 0,
        "t/share_the_rest": pytest.approx(2 / 3),
    }


def test_predictions_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="3 labels of 2 classes came with"):
        dataclasses.replace(predictions([0, 1], [0.1, 0.9]), labels=np.array([0, 1, 1]))


def test_what_is_kept_comes_back(tmp_path):
    said = {
        "test/linear_probe/a/image_features": binary(),
        "test/linear_probe/b/level_only": graded(),
    }
    ranks = (np.array([1, 4]), np.array(["p", "q"]))
    path = tmp_path / "run" / "predictions.npz"
    save_kept(Kept(said, {"test/retrieval/x_to_y": ranks}), path)
    kept = load_kept(path)
    assert kept.predictions.keys() == said.keys()
    for name, predicted in said.items():
        back = kept.predictions[name]
        for field, value in vars(predicted).items():
            np.testing.assert_array_equal(getattr(back, field), value)
    rank, patient_id = kept.ranks["test/retrieval/x_to_y"]
    assert (list(rank), list(patient_id)) == ([1, 4], ["p", "q"])
    with pytest.raises(FileNotFoundError, match="written beside metrics"):
        load_kept(tmp_path / "predictions.npz")
