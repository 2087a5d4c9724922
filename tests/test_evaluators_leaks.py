"""Nothing that is fitted may know the measured split.

Two nets, over every evaluator that fits anything. The first serves a test split that cannot be
looked at until all fitting is done. The second plants a leak, labels and features of the test split
that would change any fit that read them, and compares what is said about untouched rows, bit for
bit. That the nets hold is shown on evaluators that leak on purpose.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from lumbarclip_jax.evaluators import few_shot, linear_probe
from lumbarclip_jax.evaluators.few_shot import FewShot, draw_examples
from lumbarclip_jax.evaluators.linear_probe import LinearProbe
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.zero_shot import ZeroShot
from tests import fake_embedder
from tests.fake_embedder import FakeEmbedder, make_split, with_own_task

TASKS = ("disc_displacement", "pfirrmann", "pain")  # the last is the data set's own
KEPT_ROWS = slice(0, 60)  # the planted leak is in the other half of the test split


def three_splits() -> FakeEmbedder:
    embedder = fake_embedder.three_splits()
    return FakeEmbedder(**{name: with_own_task(embedder(None, name)) for name in embedder.splits})


class Peeked(Exception):
    """Somebody looked at the test split while something was still to be fitted."""


class Guarded(FakeEmbedder):
    """Knows what is fitted: the test split opens once and for all, after the last fit."""

    def __init__(self):
        embedder = three_splits()
        super().__init__(**{name: embedder(None, name) for name in embedder.splits})
        self.opened = False

    def __call__(self, state, split: str):
        self.opened |= split == "test"
        return super().__call__(state, split)

    def columns(self, split: str):
        if split == "test":
            raise Peeked("its labels were read apart from its embeddings")
        return super().columns(split)


FITTING = {LinearProbe: (linear_probe, "fit_probe"), FewShot: (few_shot, "fit_few_shot")}


def run_guarded(evaluator, monkeypatch) -> int:
    """Runs with fits that raise once the test split is open; counts them."""
    embedder, fits = Guarded(), []
    for module, name in FITTING.values():
        fit = getattr(module, name)

        def guarded(*inputs, fit=fit):
            if embedder.opened:
                raise Peeked("the test split was open before the last fit")
            fits.append(fit)
            return fit(*inputs)

        monkeypatch.setattr(module, name, guarded)
    evaluator(embedder, split="test", tasks=TASKS, resamples=5).run(None)
    return len(fits)


@pytest.mark.parametrize("evaluator", FITTING)
def test_all_is_fitted_before_the_test_split_is_opened(evaluator, monkeypatch):
    assert run_guarded(evaluator, monkeypatch) >= len(TASKS)


class OpensTheTestSplitFirst(LinearProbe):
    def run(self, state):
        self.embedder(state, self.split)
        return super().run(state)


def test_an_evaluator_that_opens_it_earlier_is_caught(monkeypatch):
    with pytest.raises(Peeked, match="before the last fit"):
        run_guarded(OpensTheTestSplitFirst, monkeypatch)


def planted(test, *, labels: bool, features: bool):
    """The test split with another second half."""
    rows = np.arange(len(test)) >= KEPT_ROWS.stop
    changes = {}
    if labels:
        status = test.level_findings.copy()
        status[rows, 0] = 1 - status[rows, 0]
        changes["level_findings"] = status
        own = test.own_labels[:, 0]
        changes["own_labels"] = np.where(rows & (own >= 0), 1 - own, own)[:, None]
        changes["pfirrmann"] = np.where(rows, 6 - test.pfirrmann, test.pfirrmann)
    if features:
        for name in ("image_features", "image_embeds"):
            array = getattr(test, name).copy()
            array[rows] = 50 * array[rows] + 3
            changes[name] = array
    return dataclasses.replace(test, **changes)


def said_about_kept_rows(evaluator, embedder) -> dict[str, np.ndarray]:
    """Probabilities and temperatures that a run leaves about the rows without a leak."""
    built = evaluator(embedder, split="test", tasks=TASKS, resamples=5)
    named, answers = built.run(None)
    kept = set(embedder(None, "test").image_id[KEPT_ROWS])
    said = {
        name: predicted.probabilities[np.isin(predicted.image_id, list(kept))]
        for name, predicted in answers.predictions.items()
        if not name.endswith("by_patient")
    }
    chosen = {n: np.array(v) for n, v in named.items() if n.endswith(("/c", "/temperature"))}
    return said | chosen


class Remembering(FewShot):
    """Keeps what each of its probes says, which the evaluator itself has no use for."""

    def _mean_over_seeds(self, prefix, answered, beside):
        self.said |= {f"{prefix}/{n}": predicted for n, predicted in enumerate(answered)}
        return super()._mean_over_seeds(prefix, answered, beside)

    def run(self, state):
        self.said = {}
        found, _ = super().run(state)
        return found, Kept(self.said)


def changed_by_a_leak(evaluator, **leak: bool) -> set[str]:
    """Names of what differs on untouched rows between a clean and a planted test split."""
    splits = {name: three_splits()(None, name) for name in ("train", "validation", "test")}
    clean = said_about_kept_rows(evaluator, FakeEmbedder(**splits))
    splits["test"] = planted(splits["test"], **leak)
    leaky = said_about_kept_rows(evaluator, FakeEmbedder(**splits))
    assert clean.keys() == leaky.keys()
    assert len(clean) >= 2 * len(TASKS)
    return {name for name in clean if not np.array_equal(clean[name], leaky[name])}


LEAKS = [{"labels": True, "features": False}, {"labels": False, "features": True}]


@pytest.mark.parametrize("leak", LEAKS, ids=["labels", "features"])
@pytest.mark.parametrize("evaluator", [ZeroShot, LinearProbe, Remembering])
def test_a_planted_leak_changes_nothing_about_other_rows(evaluator, leak):
    assert changed_by_a_leak(evaluator, **leak) == set()


class FitsOnTheTestSplit(LinearProbe):
    """Fits on what it measures."""

    def _fit(self, train, validation):
        test = dataclasses.replace(train, columns=self.embedder(None, self.split))
        return super()._fit(type(train).of(test.columns, train.task), validation)


class ChoosesOnTheTestSplit(LinearProbe):
    """Chooses its strength of regularisation on what it measures."""

    def _fit(self, train, validation):
        return super()._fit(train, type(train).of(self.embedder(None, self.split), train.task))


class ScalesWithTheTestSplit(LinearProbe):
    """Centres and scales all features by the measured split's."""

    def _fit(self, train, validation):
        test = self.embedder(None, self.split).image_features
        train, validation = (
            dataclasses.replace(
                rows,
                columns=dataclasses.replace(
                    rows.columns,
                    image_features=(rows.columns.image_features - test.mean(0)) / test.std(0) ** 2,
                ),
            )
            for rows in (train, validation)
        )
        return super()._fit(train, validation)


@pytest.mark.parametrize(
    ("evaluator", "leak"),
    [
        *itertools.product([FitsOnTheTestSplit, ChoosesOnTheTestSplit], LEAKS),
        (ScalesWithTheTestSplit, LEAKS[1]),
    ],
)
def test_evaluators_that_leak_are_caught(evaluator, leak):
    assert changed_by_a_leak(evaluator, **leak)


def test_a_feature_that_tells_only_in_the_test_split_is_not_used():
    splits = {
        name: make_split(patients, seed, signal=0)
        for seed, (name, patients) in enumerate([("train", 60), ("validation", 20), ("test", 40)])
    }
    told = splits["test"].image_features.copy()
    told[:, 4] = splits["test"].level_findings[:, 0]  # noise in train and validation
    splits["test"] = dataclasses.replace(splits["test"], image_features=told)
    probe = LinearProbe(
        FakeEmbedder(**splits), split="test", tasks=("disc_displacement",), resamples=200
    )
    found, _ = probe.run(None)
    assert found["test/linear_probe/disc_displacement/image_features/auroc_ci_low"] < 0.5


def test_few_shot_draws_different_patients_of_every_class():
    patient_id = np.repeat(np.arange(10), 3)
    labels = np.where(patient_id < 2, 2, patient_id % 2)
    for seed in range(5):
        rows = draw_examples(labels, patient_id, 4, np.random.default_rng(seed))
        drawn = labels[rows]
        assert np.bincount(drawn).tolist() == [4, 4, 2]  # two patients are all there are
        for label in range(3):
            of_class = patient_id[rows][drawn == label]
            assert len(set(of_class)) == len(of_class)


def test_more_examples_tell_more():
    found, _ = FewShot(three_splits(), split="test", tasks=TASKS[:1], resamples=50).run(None)
    name = "test/few_shot/disc_displacement/k_{}".format
    assert [found[f"{name(k)}/examples"] for k in (1, 2, 4, 8, 16)] == [2, 4, 8, 16, 32]
    assert found[f"{name(16)}/auroc"] > found[f"{name(1)}/auroc"]
    assert found[f"{name(16)}/auroc_ci_low"] > 0.7
    assert found[f"{name(16)}/auroc_seed_sd"] < found[f"{name(1)}/auroc_seed_sd"]
    assert found[f"{name(16)}/auroc_level_only"] > 0.5
