"""Zero-shot and linear probe on a made-up model: what they find, skip and may look at."""

import dataclasses
import logging
import re

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LogisticRegression

from lumbarclip_jax.evaluators import EVALUATORS
from lumbarclip_jax.evaluators.linear_probe import STRENGTHS, fit_probe
from lumbarclip_jax.evaluators.prompts import load_prompts
from lumbarclip_jax.evaluators.tasks import TASKS, UNLABELLED
from tests.fake_embedder import LEVELS, FakeEmbedder, make_split, run, three_splits, unit


@pytest.fixture(scope="module")
def embedder() -> FakeEmbedder:
    return three_splits()


@pytest.fixture
def warnings(caplog, monkeypatch):
    """The log as text; the command line may have cut the package's logger off the root."""
    monkeypatch.setattr(logging.getLogger("lumbarclip_jax"), "propagate", True)
    return caplog


def test_labels_of_the_tasks():
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
    labels = {name: list(task.labels(split)) for name, task in TASKS.items()}
    assert labels == {
        "disc_displacement": [1, UNLABELLED, 0, 0, 0, 0],
        "compression": [0, 0, 0, 1, 1, 0],
        "pfirrmann_ge_3": [UNLABELLED, 0, 0, 1, 1, 1],
    }


@pytest.mark.parametrize("name", ["zero_shot", "linear_probe"])
def test_a_task_without_labels_is_skipped_aloud(name, embedder, warnings):
    bare = dataclasses.replace(
        embedder(None, "test"),
        level_findings=np.zeros((120, 8), np.uint8),
        pfirrmann=np.full(120, 2, np.uint8),
    )
    splits = {split: embedder(None, split) for split in ("train", "validation")}
    with warnings.at_level("WARNING"):
        found = run(name, FakeEmbedder(**splits, test=bare))
    assert found == {
        **{
            f"test/{name}/{task}/{count}": 0.0
            for task in ("disc_displacement", "compression")
            for count in ("images", "patients", "positives")
        },
        f"test/{name}/pfirrmann_ge_3/images": 120.0,
        f"test/{name}/pfirrmann_ge_3/patients": 40.0,
        f"test/{name}/pfirrmann_ge_3/positives": 0.0,
        f"test/{name}/pfirrmann_ge_3/prevalence": 0.0,
    }
    assert warnings.text.count("skipped") == 3


def test_a_set_with_only_a_test_split_has_no_probe(embedder, warnings):
    with warnings.at_level("WARNING"):
        assert run("linear_probe", FakeEmbedder(test=embedder(None, "test"))) == {}
    assert "no train and no validation split" in warnings.text


def test_zero_shot_and_probe_find_the_planted_bulge(embedder):
    zero_shot, probe = run("zero_shot", embedder), run("linear_probe", embedder)
    assert zero_shot["test/zero_shot/disc_displacement/auroc_within_level_ci_low"] > 0.5
    name = "test/linear_probe/disc_displacement"
    assert probe[f"{name}/image_features/auroc_ci_low"] > 0.7
    assert probe[f"{name}/image_features/auroc_gain_over_level_ci_low"] > 0
    assert probe[f"{name}/level_only/auroc"] > probe[f"{name}/level_only/auroc_within_level"] == 0.5


def test_zero_shot_probability_is_the_softmax_of_two_cosines(embedder):
    evaluator = EVALUATORS["zero_shot"](embedder, split="test", resamples=10)
    dict(evaluator.run(None))
    predicted = evaluator.predictions["disc_displacement"]
    split = embedder(None, "test")
    cosines = []
    for polarity in ("negative", "positive"):
        embeds = embedder.encode_text(None, load_prompts("disc_displacement", "L4-L5", polarity))
        cosines.append(split.image_embeds[1] @ unit(embeds.mean(axis=0)))
    expected = np.exp(cosines[1]) / np.exp(cosines).sum()
    assert split.level[1] == "L4-L5"
    assert predicted.probabilities[1, 1] == pytest.approx(expected, rel=1e-5)


def test_the_strength_of_regularisation_is_the_best_on_validation():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=120)
    features = rng.normal(size=(120, 30)) + 0.4 * labels[:, None]
    train, validation = slice(0, 60), slice(60, 120)
    probe = fit_probe((features[train], labels[train]), (features[validation], labels[validation]))
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
    assert best == probe[-1].C
    assert STRENGTHS[0] < best < STRENGTHS[-1]


def probabilities(embedder: FakeEmbedder, task: str = "disc_displacement") -> np.ndarray:
    probe = EVALUATORS["linear_probe"](embedder, split="test", tasks=(task,), resamples=10)
    dict(probe.run(None))
    return probe.predictions[f"{task}/image_features"].probabilities


def test_the_probe_learns_nothing_from_the_test_split(embedder):
    """A leak planted in the test features and labels must leave no trace in what it answers."""
    train, validation, test = (embedder(None, name) for name in embedder.splits)
    clean = probabilities(embedder)

    flipped = test.level_findings.copy()
    flipped[:, 0] = 1 - flipped[:, 0]
    flipped = dataclasses.replace(test, level_findings=flipped)
    np.testing.assert_array_equal(
        probabilities(FakeEmbedder(train=train, validation=validation, test=flipped)), clean
    )

    features = test.image_features.copy()
    features[60:] = 1e3 * features[60:] + 1e4
    shifted = dataclasses.replace(test, image_features=features)
    np.testing.assert_array_equal(
        probabilities(FakeEmbedder(train=train, validation=validation, test=shifted))[:60],
        clean[:60],
    )


def test_a_feature_that_tells_only_in_the_test_split_is_not_used():
    splits = {
        name: make_split(patients, seed, signal=0)
        for seed, (name, patients) in enumerate([("train", 60), ("validation", 20), ("test", 40)])
    }
    planted = splits["test"].image_features.copy()
    planted[:, 4] = splits["test"].level_findings[:, 0]  # noise in train and validation
    splits["test"] = dataclasses.replace(splits["test"], image_features=planted)
    found = run("linear_probe", FakeEmbedder(**splits), tasks=("disc_displacement",))
    assert found["test/linear_probe/disc_displacement/image_features/auroc_ci_low"] < 0.5


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_prompts_are_clean_and_name_no_other_level(task, polarity):
    for level in LEVELS:
        prompts = load_prompts(task, level, polarity)
        assert len(prompts) == len(set(prompts)) >= 10
        for prompt in prompts:
            assert set(re.findall(r"L\d-[LS]\d", prompt.replace("/", "-"))) <= {level}
            assert not re.search(r"[{}]|  | \.|^\s|\s$", prompt)
    opposite = {"positive": "negative", "negative": "positive"}[polarity]
    assert not set(prompts) & set(load_prompts(task, level, opposite))


def test_an_unknown_level_names_the_file_to_edit():
    with pytest.raises(ValueError, match=r"levels\.json has no entry for level 'T12-L1'"):
        load_prompts("compression", "T12-L1", "positive")
