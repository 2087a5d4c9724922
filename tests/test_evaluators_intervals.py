"""Intervals where percentiles mislead: shares with few hits, and errors that resamples enlarge."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest

from lumbarclip_jax.evaluators import evaluator_class, intervals
from lumbarclip_jax.evaluators.bootstrap import estimates
from lumbarclip_jax.evaluators.calibration import fit_temperature, reliability
from lumbarclip_jax.evaluators.ranking import RECALLS, rank_metrics
from lumbarclip_jax.sweep.sampling import sample_ranks
from tests.fake_embedder import FakeEmbedder, make_split
from tests.made_up_predictions import predictions

TAILS = (0.025, 0.975)


def recalls(ranks, patient_id, **options):
    patients, patient_of_query = np.unique(patient_id, return_inverse=True)
    metrics = rank_metrics(np.asarray(ranks), patient_of_query)
    kinds = dict.fromkeys(RECALLS, intervals.of_share)
    return estimates(metrics, patients, intervals=kinds, **options)


def test_none_of_76_is_no_proof_of_none():
    """76 patients of one query: the exact binomial interval, by hand 1 - 0.025^(1/76)."""
    found = recalls(np.full(76, 30), np.arange(76))["recall_at_5"]
    exact = binomtest(0, 76).proportion_ci(method="exact")
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(exact.high) == pytest.approx(1 - 0.025 ** (1 / 76))
    found = recalls(np.full(76, 1), np.arange(76))["recall_at_5"]
    assert (found.low, found.value, found.high) == (pytest.approx(1 - exact.high), 1, 1)


def test_queries_of_one_patient_count_as_one_trial():
    found = recalls(np.full(76, 30), np.repeat(np.arange(19), 4))["recall_at_5"]
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 19))


def test_more_hits_never_have_a_lower_upper_end():
    """From none to one hit the interval may not shrink, as it would from exact to percentiles."""
    patients = np.repeat(np.arange(40), 2)
    ends = [recalls([1] * hits + [30] * (80 - hits), patients)["recall_at_5"] for hits in (0, 1, 2)]
    assert ends[0].high < ends[1].high < ends[2].high
    assert all(of.low <= of.value <= of.high for of in ends)


@pytest.mark.parametrize(
    ("ranks", "patients"),
    [
        ([1] * 40 + [30] * 40, np.arange(80)),
        # The hits of four patients' worth, but of all twelve: what resamples tell is enough.
        ([1, 1, 30, 30, 30, 30] * 12, np.repeat(np.arange(12), 6)),
        ([1, 30, 30, 30, 30, 30] * 6 + [1, 1, 1, 30, 30, 30] * 6, np.repeat(np.arange(12), 6)),
    ],
)
def test_hits_of_many_patients_keep_their_percentiles(ranks, patients):
    ranks = np.array(ranks)
    exact = recalls(ranks, patients)["recall_at_5"]
    plain = estimates(rank_metrics(ranks, patients), np.unique(patients))["recall_at_5"]
    assert (exact.low, exact.high) == (plain.low, plain.high)


def test_intervals_of_a_small_share_hold_the_truth():
    """0.02 of the rows, alike within half of 40 patients: percentiles miss it in a fifth."""
    misses = {intervals.percentile: 0, intervals.of_share: 0}
    for trial in range(100):
        rng = np.random.default_rng(trial)
        patient_id = np.repeat(np.arange(40), 3)
        alike = (rng.uniform(size=40) < 0.5)[patient_id]
        of_patient = (rng.uniform(size=40) < 0.02)[patient_id]
        hits = np.where(alike, of_patient, rng.uniform(size=120) < 0.02).astype(float)

        def share(weights, hits=hits):
            return {"share": weights @ hits / weights.sum(axis=1)}

        for kind in misses:
            options = {"resamples": 200, "seed": trial, "intervals": {"share": kind}}
            found = estimates(share, patient_id, **options)["share"]
            misses[kind] += not found.low <= 0.02 <= found.high
    # 5 of 100 and three binomial deviations of 2.2.
    assert misses[intervals.of_share] <= 5 + 3 * 2.2 < misses[intervals.percentile]


def test_a_calibration_error_lies_in_its_own_interval():
    """Sixty well calibrated rows: percentiles of the resamples all lie above the error itself."""
    rng = np.random.default_rng(36)
    said = rng.uniform(size=60)
    task = predictions((rng.uniform(size=60) < said).astype(int), said)
    plain = estimates(task.metrics, task.patient_id)["ece"]
    assert plain.value < plain.low  # or this test would show nothing
    temperature = fit_temperature(task.probabilities, task.labels)
    named = dict(task.named_metrics("t", temperature=temperature))
    for name in ("ece", "adaptive_ece", "ece_calibrated", "adaptive_ece_calibrated"):
        low, high = named[f"t/{name}_ci_low"], named[f"t/{name}_ci_high"]
        assert 0 <= low <= named[f"t/{name}"] <= high
    assert named["t/ece"] == plain.value
    assert named["t/ece_ci_high"] == plain.value  # the mirrored interval ends below


def test_the_basic_interval_by_hand():
    resampled = np.linspace(0.2, 0.4, 1001)
    low, high = intervals.of_error(0.25, resampled, 9, TAILS)
    assert (low, high) == pytest.approx((0.5 - 0.395, 0.5 - 0.205))
    # Where the mirrored interval ends below the value, or below nothing.
    assert intervals.of_error(0.15, resampled, 9, TAILS) == (0, 0.15)


def test_intervals_of_errors_miss_the_truth_less_often():
    """Overconfident answers: the odds said are the true ones to the power 1.5."""

    def cohort(patients: int, seed: int):
        rng = np.random.default_rng(seed)
        of_patient = np.repeat(np.arange(patients), 3)
        logit = 1.2 * (rng.normal(size=patients)[of_patient] + 0.6 * rng.normal(size=3 * patients))
        labels = (rng.uniform(size=3 * patients) < 1 / (1 + np.exp(-logit))).astype(int)
        task = predictions(labels, 1 / (1 + np.exp(-1.5 * logit)))
        return dataclasses.replace(task, patient_id=of_patient)

    large = cohort(50_000, 0)
    truth = large.metrics(np.ones((1, 150_000)))["ece"][0]
    misses = {"plain": 0, "basic": 0}
    for trial in range(60):
        task = cohort(60, 1 + trial)
        for name, kind in (("plain", intervals.percentile), ("basic", intervals.of_error)):
            found = estimates(
                task.metrics, task.patient_id, resamples=200, seed=trial, intervals={"ece": kind}
            )["ece"]
            misses[name] += not found.low <= truth <= found.high
    # 60 x 0.1 and three binomial deviations of 2.3; percentiles miss far more.
    assert misses["basic"] <= 6 + 3 * 2.3 < misses["plain"]


def test_the_interval_of_a_sum_by_hand():
    """Distances of 3 and 4 below are one of 5; a term that is certain adds none."""
    low, high = intervals.of_sum([(10.0, 7.0, 11.0), (20.0, 16.0, 20.0), (1.0, 1.0, 1.0)])
    assert (low, high) == pytest.approx((31 - 5, 31 + 1))


def test_a_bin_where_nothing_happened_has_an_interval():
    said = np.repeat([0.1, 0.9], 10)
    points = reliability(said, said > 0.5, np.arange(20), bins=2)
    np.testing.assert_array_equal(points.happened, [0, 1])
    np.testing.assert_allclose(points.high[0], 1 - 0.025 ** (1 / 10))
    np.testing.assert_allclose(points.low[1], 0.025 ** (1 / 10))


def test_a_sweep_gives_none_of_all_seeds_an_exact_interval():
    patients = np.arange(30)
    none, some = np.full(30, 50), np.r_[1, np.full(29, 50)]
    always = sample_ranks([(none, patients)] * 2, "", 100)["recall_at_1"]
    assert always.interval == pytest.approx((0, 1 - 0.025 ** (1 / 30)))
    once = sample_ranks([(none, patients), (some, patients)], "", 100)["recall_at_1"]
    assert once.exact is None
    assert (always - always).interval == (0, 0)  # a difference of two models is no share


@pytest.mark.parametrize("name", ["retrieval", "cross_sequence", "robustness"])
def test_evaluators_claim_no_certainty_of_recall(name):
    """The made-up images know their report, so that recall is 1."""
    splits = {
        split: dataclasses.replace(
            made, sequence=np.where(np.arange(len(made.level)) % 2 == 0, "T1", "T2")
        )
        for split, made in (("train", make_split(20, 0)), ("test", make_split(20, 2)))
    }
    evaluator = evaluator_class(name)(FakeEmbedder(**splits), split="test", resamples=20)
    found, _ = evaluator.run(None)
    recalls_of_one = [
        metric
        for metric, value in found.items()
        if "recall_at" in metric and f"{metric}_chance" in found and value == 1
    ]
    assert recalls_of_one
    assert all(found[f"{metric}_ci_low"] < 1 for metric in recalls_of_one)


@pytest.mark.parametrize(
    ("evaluator", "patients", "name"),
    [
        ("retrieval", 8, "test/retrieval/image_to_text_recall_at_10"),
        ("cross_sequence", 8, "test/cross_sequence/retrieval/T2/image_to_text_recall_at_10"),
        ("robustness", 5, "test/robustness/clean/image_to_text_recall_at_5"),
    ],
)
def test_recall_among_few_candidates_is_certain(evaluator, patients, name):
    made = make_split(patients, 2)
    sequence = np.where(np.arange(len(made.level)) % 2 == 0, "T1", "T2")
    embedder = FakeEmbedder(test=dataclasses.replace(made, sequence=sequence))
    found, _ = evaluator_class(evaluator)(embedder, split="test", resamples=20).run(None)
    assert found[f"{name}_chance"] == found[f"{name}_ci_low"] == found[name] == 1


def test_an_accuracy_of_one_is_not_certain():
    task = predictions([0, 1] * 6, [0.1, 0.9] * 6)
    named = dict(task.named_metrics("t", resamples=20))
    assert named["t/accuracy"] == 1
    assert named["t/accuracy_ci_low"] == pytest.approx(0.025 ** (1 / 12))
