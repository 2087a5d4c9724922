"""Zero-shot and linear probe on a made-up model: what they find, skip and may look at."""

import dataclasses
import re

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LogisticRegression

import data_prep.records.findings
from lumbarclip_jax.data.tasks import FINDINGS, TASKS, UNLABELLED
from lumbarclip_jax.evaluators import evaluator_class, linear_probe
from lumbarclip_jax.evaluators.linear_probe import STRENGTHS, fit_probe
from lumbarclip_jax.evaluators.prompts import load_prompts, sides
from lumbarclip_jax.evaluators.task_scores import named_means
from tests.fake_embedder import (
    LEVEL_NAMES,
    LEVELS,
    LOGIT_SCALE,
    FakeEmbedder,
    make_split,
    run,
    three_splits,
    unit,
)
from tests.made_up_predictions import predictions


@pytest.fixture(scope="module")
def embedder() -> FakeEmbedder:
    return three_splits()


def test_labels_of_levels():
    split = make_split(2, 0)
    status = np.zeros((6, 8), np.uint8)
    status[0, [0, 1]] = 1, 3  # a bulge, perhaps a protrusion
    status[1, 2] = 3  # perhaps an extrusion
    status[2, 3] = 2  # a herniation denied
    status[3, 4] = 1  # the thecal sac
    status[4, 5] = 1  # the roots
    split = dataclasses.replace(
        split, level_findings=status, pfirrmann=np.array([0, 1, 2, 3, 4, 5], np.uint8)
    )
    labels = {name: list(TASKS[name].labels(split)) for name in TASKS}
    assert labels["disc_displacement"] == [1, UNLABELLED, 0, 0, 0, 0]
    assert labels["compression"] == [0, 0, 0, 1, 1, 0]
    assert labels["pfirrmann_ge_3"] == [UNLABELLED, 0, 0, 1, 1, 1]
    assert labels["pfirrmann"] == [UNLABELLED, 0, 1, 2, 3, 4]
    assert labels["disc_bulge"] == [1, 0, 0, 0, 0, 0]
    assert labels["disc_protrusion"] == [UNLABELLED, 0, 0, 0, 0, 0]


def test_labels_of_patients():
    split = make_split(2, 0)
    column = {name: split.names.index(name) for name in split.names}
    cases = [  # findings, and the patient's class: none, bulge, protrusion or worse
        ({"disc_bulge": 2}, 0),
        ({"disc_bulge": 1}, 1),
        ({"disc_bulge": 1, "disc_extrusion": 3}, UNLABELLED),
        ({"disc_bulge": 3, "disc_protrusion": 1}, 2),
        ({"disc_bulge": 3}, UNLABELLED),
        ({"disc_herniation": 1, "disc_extrusion": 3, "muscle_spasm": 1}, 2),
    ]
    status = np.zeros((6, 17), np.uint8)
    for row, (findings, _) in enumerate(cases):
        for name, code in findings.items():
            status[row, column[name]] = code
    split = dataclasses.replace(split, findings=status)
    assert list(TASKS["patient_displacement"].labels(split)) == [label for _, label in cases]
    assert list(TASKS["muscle_spasm"].labels(split)) == [0, 0, 0, 0, 0, 1]
    unread = dataclasses.replace(
        split, findings=0 * status, level_findings=0 * split.level_findings
    )
    unknown = dataclasses.replace(split, names=tuple(f"sign {i}" for i in range(17)))
    for without in (unread, unknown):
        assert list(TASKS["muscle_spasm"].labels(without)) == [UNLABELLED] * 6


def test_every_finding_of_the_data_is_a_task():
    asked = {*FINDINGS, "muscle_spasm"}
    assert asked == set(data_prep.records.findings.FINDINGS)
    assert {name for name in asked if TASKS[name].unit == "image"} == set(LEVEL_NAMES)


@pytest.mark.parametrize("name", ["zero_shot", "linear_probe", "few_shot"])
def test_a_task_without_labels_is_skipped_aloud(name, embedder, caplog):
    bare = dataclasses.replace(
        embedder(None, "test"),
        level_findings=np.zeros((120, 8), np.uint8),
        pfirrmann=np.full(120, 2, np.uint8),
    )
    splits = {split: embedder(None, split) for split in ("train", "validation")}
    tasks = ("disc_displacement", "pfirrmann_ge_3")
    with caplog.at_level("WARNING"):
        found = run(name, FakeEmbedder(**splits, test=bare), tasks=tasks)
    assert found == {
        **{
            f"test/{name}/disc_displacement/{count}": 0.0
            for count in ("images", "patients", "positives")
        },
        f"test/{name}/pfirrmann_ge_3/images": 120.0,
        f"test/{name}/pfirrmann_ge_3/patients": 40.0,
        f"test/{name}/pfirrmann_ge_3/positives": 0.0,
        f"test/{name}/pfirrmann_ge_3/prevalence": 0.0,
    }
    assert len(caplog.records) == 1
    assert f"test/{name}: 2 of 2 tasks skipped" in caplog.text
    assert "disc_displacement (" in caplog.text
    assert "test 40 grade 1-2, 0 grade 3-5)" in caplog.text


@pytest.mark.parametrize("name", ["linear_probe", "few_shot"])
def test_a_set_with_only_a_test_split_has_no_probe(name, embedder, caplog):
    with caplog.at_level("WARNING"):
        assert run(name, FakeEmbedder(test=embedder(None, "test"))) == {}
    assert "no train and no validation split" in caplog.text


def test_zero_shot_without_other_splits_has_no_baseline_and_no_calibration(embedder):
    alone = FakeEmbedder(test=embedder(None, "test"))
    found = run("zero_shot", alone, tasks=("disc_displacement",))
    name = "test/zero_shot/disc_displacement"
    assert f"{name}/auroc" in found
    assert not {f"{name}/temperature", f"{name}/auroc_level_only"} & set(found)


def test_zero_shot_and_probe_find_the_planted_bulge(embedder):
    tasks = ("disc_displacement", "disc_bulge", "spondylosis")
    zero_shot, probe = (run(name, embedder, tasks=tasks) for name in ("zero_shot", "linear_probe"))
    assert zero_shot["test/zero_shot/disc_displacement/auroc_within_level_ci_low"] > 0.5
    name = "test/linear_probe/disc_displacement"
    assert probe[f"{name}/image_features/auroc_ci_low"] > 0.7
    assert probe[f"{name}/image_features/auroc_gain_over_level_ci_low"] > 0
    assert probe[f"{name}/level_only/auroc"] > probe[f"{name}/level_only/auroc_within_level"] == 0.5
    for found, below in ((zero_shot, "zero_shot/{}"), (probe, "linear_probe/{}/image_features")):
        of = f"test/{below}".format
        # The bulge is the only finding there is: the mean is its own, and it is all displacement.
        assert found[f"{of('findings')}/findings"] == 1
        assert found[f"{of('findings')}/macro_auroc"] == found[f"{of('disc_bulge')}/auroc"]
        assert found[f"{of('disc_displacement')}/auroc_level_only"] == pytest.approx(
            probe[f"{name}/level_only/auroc"]
        )
        assert found[f"{of('disc_displacement')}/by_patient/auroc"] > 0.5


def test_the_mean_over_findings_is_plain_and_its_interval_draws_patients_for_all():
    """A finding ranked perfectly and one ranked wrong: their mean is 0.5 on every resample."""
    labels = np.tile([0, 1], 20)
    patient_id = np.repeat(np.arange(20), 2).astype(str)
    right = predictions(labels, 0.2 + 0.6 * labels, patient_id=patient_id)
    wrong = predictions(labels, 0.8 - 0.6 * labels, patient_id=patient_id)
    answered = {"disc_bulge": right, "spondylosis": wrong, "muscle_spasm": right}
    found = dict(named_means("t", answered, resamples=50))
    assert found["t/findings"] == 2  # spasm is the control
    for suffix in ("", "_ci_low", "_ci_high"):
        assert found[f"t/macro_auroc{suffix}"] == 0.5
    assert found["t/macro_average_precision"] == pytest.approx((1 + 0.5) / 2)
    assert dict(named_means("t", {}, resamples=50)) == {"t/findings": 0}


def test_a_task_of_patients_is_answered_by_their_mean_probability():
    split = make_split(30, 4)
    findings = np.zeros((90, 17), np.uint8)
    patient = np.repeat(np.arange(30), 3)
    findings[patient % 2 == 0, split.names.index("spondylosis")] = 1
    split = dataclasses.replace(split, findings=findings)
    splits = FakeEmbedder(train=split, validation=split, test=split)
    probe = evaluator_class("linear_probe")(
        splits, split="test", tasks=("spondylosis",), resamples=20
    )
    found, kept = probe.run(None)
    ((name, predicted),) = kept.predictions.items()
    assert name == "test/linear_probe/spondylosis/image_features"
    assert len(predicted.labels) == len(set(predicted.patient_id)) == 30
    assert found["test/linear_probe/spondylosis/images"] == 90
    assert found["test/linear_probe/spondylosis/image_features/auroc_level_only"] == 0.5


def test_five_grades_are_fitted_together_also_where_a_split_lacks_one():
    splits = {}
    for name, patients, seed in (("train", 60, 0), ("validation", 20, 1), ("test", 40, 2)):
        split = make_split(patients, seed)
        # Nothing of grade 5 to fit on, nothing of grade 1 to measure.
        lowest, highest = (1, 4) if name == "train" else (2, 5)
        steps = np.round(split.image_features[:, 0] + 2)
        grades = np.clip(steps, lowest, highest).astype(np.uint8)
        splits[name] = dataclasses.replace(split, pfirrmann=grades)
    evaluator = evaluator_class("linear_probe")(
        FakeEmbedder(**splits), split="test", tasks=("pfirrmann",), resamples=20
    )
    found, kept = evaluator.run(None)
    predicted = kept.predictions["test/linear_probe/pfirrmann/image_features"]
    assert predicted.probabilities.shape == (120, 5)
    np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (predicted.probabilities[:, 4] == 0).all()
    assert found["test/linear_probe/pfirrmann/image_features/quadratic_kappa"] > 0.4
    assert found["test/linear_probe/pfirrmann/share_grade_1"] == 0


def test_zero_shot_probability_is_the_softmax_of_two_scaled_cosines(embedder):
    evaluator = evaluator_class("zero_shot")(embedder, split="test", resamples=10)
    _, kept = evaluator.run(None)
    predicted = kept.predictions["test/zero_shot/disc_displacement"]
    split = embedder(None, "test")
    logits = []
    for polarity in ("negative", "positive"):
        embeds = embedder.encode_text(None, load_prompts("disc_displacement", "L4-L5", polarity))
        cosine = split.image_embeds[1] @ unit(embeds.mean(axis=0))
        logits.append(np.exp(LOGIT_SCALE) * cosine)
    expected = np.exp(logits[1]) / np.exp(logits).sum()
    assert split.level[1] == "L4-L5"
    assert predicted.probabilities[1, 1] == pytest.approx(expected, rel=1e-5)


def test_the_strength_of_regularisation_is_the_best_on_validation():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=120)
    features = rng.normal(size=(120, 30)) + 0.4 * labels[:, None]
    train, validation = slice(0, 60), slice(60, 120)
    probe = fit_probe(
        (features[train], labels[train]), (features[validation], labels[validation]), 2
    )
    scaled = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    losses = {
        strength: sklearn_metrics.log_loss(
            labels[validation],
            LogisticRegression(C=strength)
            .fit(scaled[train], labels[train])
            .predict_proba(scaled[validation]),
        )
        for strength in STRENGTHS
    }
    best = min(losses, key=losses.get)
    assert best == probe.strength
    assert STRENGTHS[0] < best < STRENGTHS[-1]


def test_a_probe_that_does_not_converge_is_told_once(caplog, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(6, 2)), np.array([0, 1, 0, 1, 0, 1])
    with caplog.at_level("WARNING"):
        fit_probe(rows, rows, 2)
        assert not caplog.records
        monkeypatch.setattr(linear_probe, "MAX_ITERATIONS", 1)
        fit_probe(rows, rows, 2)
    (record,) = caplog.records
    assert "1 of 1 probes of 2 features, fitted on 6 examples, stopped before" in record.message


@pytest.mark.parametrize("task", sorted(TASKS))
def test_prompts_are_clean_and_name_no_other_level(task):
    for level in LEVELS:
        asked = [load_prompts(task, level, side) for side in sides(TASKS[task].classes)]
        for prompts in asked:
            assert len(prompts) >= 10
            for prompt in prompts:
                assert set(re.findall(r"L\d-[LS]\d", prompt.replace("/", "-"))) <= {level}
                assert not re.search(r"[{}]|  | \.|^\s|\s$", prompt)
        everything = [prompt for prompts in asked for prompt in prompts]
        assert len(everything) == len(set(everything))


def test_prompts_name_what_a_file_lists_in_every_phrasing():
    prompts = load_prompts("patient_displacement", "L4-L5", "bulge")
    assert len(prompts) == 3 * 4 * 3  # severities, findings, phrasings
    assert "mild diffuse disc bulge of the lumbar spine." in prompts
    assert "disc bulge." in prompts
    assert sides(("no", "yes")) == ("negative", "positive")


def test_an_unknown_level_names_the_file_to_edit():
    with pytest.raises(ValueError, match=r"levels\.json has no entry for level 'T12-L1'"):
        load_prompts("compression", "T12-L1", "positive")
