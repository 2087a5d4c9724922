"""Retrieval judged by class, against the plain way: every query, every candidate, sorted."""

import dataclasses
import logging

import numpy as np
import pytest

from lumbarclip_jax.data.tasks import ANY_FINDING
from lumbarclip_jax.evaluators import evaluator_class
from lumbarclip_jax.evaluators.class_neighbours import RECALL_AT, found_by_class
from tests.class_queries import NONE, hedged, queries_of
from tests.fake_embedder import EMBED, FakeEmbedder, make_split, run, unit, with_own_task


@pytest.mark.parametrize("level_prefix", [False, True])
def test_every_number_is_that_of_the_plain_way(monkeypatch, level_prefix):
    monkeypatch.setattr("lumbarclip_jax.evaluators.class_neighbours.BLOCK_ELEMENTS", 100)
    split = hedged(with_own_task(make_split(13, 3)))
    embedder = FakeEmbedder(level_prefix=level_prefix, test=split)
    names = ("disc_displacement", "pain")
    found = run("class_retrieval", embedder, tasks=names, resamples=100)
    measures = [f"{kind}_at_{k}" for kind in ("precision", "recall") for k in RECALL_AT]
    for name in names:
        task = split.tasks[name]
        prefix = f"test/class_retrieval/{name}"
        macro = {}
        for direction, queries in queries_of(split, embedder, task).items():
            for measure in measures:
                each = []
                for label, said in enumerate(task.classes):
                    of_class = [query for query in queries if query.label == label]
                    key = f"{prefix}/{said.replace(' ', '_')}/{direction}_{measure}"
                    each.append(np.mean([query.share(measure) for query in of_class]))
                    assert found[key] == pytest.approx(each[-1])
                    chance = np.mean([query.chance(measure) for query in of_class])
                    assert found[f"{key}_chance"] == pytest.approx(chance)
                macro[direction, measure] = np.mean(each)
                key = f"{prefix}/{direction}_{measure}"
                assert found[key] == pytest.approx(np.mean(each))
        for view, to_text, to_image in (
            ("", "image_to_text", "text_to_image"),
            ("by_patient/", "patient_to_text", "text_to_patient"),
        ):
            for k in RECALL_AT:
                measure = f"precision_at_{k}"
                assert found[f"{prefix}/{view}balance_at_{k}"] == pytest.approx(
                    macro[to_text, measure] - macro[to_image, measure]
                )


def test_precision_and_recall_by_hand():
    """Four queries and five candidates of classes a and b; the last of each has no class."""
    scores = (
        np.array([[5, 4, 3, 2, 9], [1, 2, 3, 4, 9], [4, 1, 3, 2, 9], [0, 0, 0, 0, 0]], "f4") / 9
    )
    asked, known = np.array([[0, 1, 1, NONE]]), np.array([[0, 1, 0, 1, NONE]])
    (found,) = found_by_class(lambda rows: scores[rows], [asked], [known], np.array(list("pqrs")))
    np.testing.assert_array_equal(found.patient_id, list("pqr"))
    np.testing.assert_array_equal(found.hits, [[1, 2, 2], [1, 2, 2], [0, 2, 2]])
    np.testing.assert_array_equal(found.shares["precision_at_1"], [1, 1, 0])
    np.testing.assert_array_equal(found.shares["recall_at_1"], [0.5, 0.5, 0])
    # Of four candidates the nearest ten are all four.
    for measure in ("precision_at_5", "precision_at_10"):
        np.testing.assert_array_equal(found.shares[measure], [0.5, 0.5, 0.5])
        np.testing.assert_array_equal(found.chance[measure], [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(found.shares["recall_at_5"], [1, 1, 1])
    np.testing.assert_array_equal(found.chance["recall_at_1"], [0.25, 0.25, 0.25])


def test_a_class_without_a_candidate_has_no_recall():
    scores = np.array([[0.3, 0.2]], "f4")
    (found,) = found_by_class(
        lambda rows: scores[rows], [np.array([[1]])], [np.array([[0, 0]])], np.array(["p"])
    )
    assert found.shares["precision_at_1"] == found.chance["precision_at_1"] == 0
    assert np.isnan(found.shares["recall_at_1"])
    assert np.isnan(found.chance["recall_at_1"])


def test_ties_count_against_the_model():
    """One vector for everything finds the other class first, but for what rounding makes of it."""
    split = make_split(20, 2)
    rng = np.random.default_rng(0)
    same = np.tile(unit(np.ones(EMBED)), (60, 1))
    wobble = (2e-7 * rng.uniform(-1, 1, same.shape)).astype(np.float32)
    split = dataclasses.replace(split, image_embeds=same + wobble, text_embeds=same)
    found = run("class_retrieval", FakeEmbedder(test=split), tasks=("disc_displacement",))
    for direction in ("image_to_text", "text_to_image", "patient_to_text"):
        assert found[f"test/class_retrieval/disc_displacement/{direction}_precision_at_1"] == 0


def test_what_has_no_label_is_counted_and_not_found():
    """The unlabelled patients are the nearest of all, and change no number."""
    split = with_own_task(make_split(14, 2))
    unlabelled = split.own_labels[:, 0] == NONE
    assert unlabelled.sum() == 6
    near = np.where(unlabelled[:, None], unit(np.ones(EMBED)), split.image_embeds)
    blurred = unit(split.text_embeds + 3 * unit(np.ones(EMBED)))
    split = dataclasses.replace(split, image_embeds=unit(near), text_embeds=blurred)
    without = split.take(np.flatnonzero(~unlabelled))
    found = run("class_retrieval", FakeEmbedder(test=split), tasks=("pain",))
    expected = run("class_retrieval", FakeEmbedder(test=without), tasks=("pain",))
    count = "test/class_retrieval/pain/unlabelled"
    assert (found.pop(count), expected.pop(count)) == (6, 0)
    assert found == pytest.approx(expected)
    assert found["test/class_retrieval/pain/images"] == 36
    assert found["test/class_retrieval/pain/texts"] == 11


def test_one_class_alone_is_counted_and_told(caplog):
    """Every patient has a bulge somewhere, so that by patient there is nothing to tell apart."""
    split = make_split(8, 2)
    status = np.zeros_like(split.level_findings)
    status[::3, 0] = 1
    split = dataclasses.replace(split, level_findings=status)
    with caplog.at_level(logging.WARNING):
        found = run(
            "class_retrieval",
            FakeEmbedder(test=split),
            tasks=("disc_displacement", "muscle_spasm", "any_finding"),
        )
    (said,) = caplog.messages
    assert said.startswith("test/class_retrieval: 3 of 3 tasks skipped")
    assert "disc_displacement by patient (test 0 not displaced, 8 displaced)" in said
    assert "muscle_spasm (test 8 no spasm, 0 spasm)" in said
    prefix = "test/class_retrieval"
    assert found[f"{prefix}/muscle_spasm/positives"] == 0
    assert f"{prefix}/muscle_spasm/image_to_text_precision_at_5" not in found
    assert f"{prefix}/disc_displacement/image_to_text_precision_at_5" in found
    assert f"{prefix}/disc_displacement/patient_to_text_precision_at_5" not in found


def test_normal_is_a_patient_without_any_finding():
    split = make_split(12, 2)
    findings = np.zeros_like(split.findings)
    findings[:9, 10] = 1  # three patients with spondylosis
    findings[9:12, 4] = 3  # one is hedged
    findings[12:15, 6] = 2  # and one denied, as is what no report names
    split = dataclasses.replace(split, findings=findings)
    labels = ANY_FINDING.labels(split)
    np.testing.assert_array_equal(labels[::3], [1, 1, 1, NONE, *[0] * 8])
    assert ANY_FINDING.classes == ("normal", "abnormal")
    found = run("class_retrieval", FakeEmbedder(test=split))
    assert found["test/class_retrieval/any_finding/unlabelled"] == 3
    assert "test/class_retrieval/any_finding/normal/text_to_image_recall_at_10" in found
    few = dataclasses.replace(split, names=split.names[:2], findings=findings[:, :2])
    assert (ANY_FINDING.labels(few) == NONE).sum() == 0  # of what the data set lists, at all levels


def test_an_encoder_that_saw_nothing_finds_what_is_common():
    rng = np.random.default_rng(0)
    split = make_split(60, 2)
    split = dataclasses.replace(
        split,
        image_embeds=unit(rng.normal(size=(180, EMBED))),
        text_embeds=unit(rng.normal(size=(60, EMBED)))[np.repeat(np.r_[0, 0, 2:60], 3)],
    )
    found = run("class_retrieval", FakeEmbedder(test=split), tasks=("disc_displacement",))
    for direction in ("image_to_text", "text_to_image", "patient_to_text", "text_to_patient"):
        name = f"test/class_retrieval/disc_displacement/{direction}_precision_at_10"
        assert found[f"{name}_ci_low"] <= found[f"{name}_chance"] <= found[f"{name}_ci_high"]


def test_a_model_that_knows_the_level_alone_gains_nothing_by_it():
    """How common a bulge is differs by level, but images meet reports at their level."""
    split = make_split(60, 2)
    level = np.eye(3, EMBED)[np.tile(np.arange(3), 60)]
    noise = np.random.default_rng(1)
    split = dataclasses.replace(
        split,
        image_embeds=unit(level + 0.01 * noise.normal(size=level.shape)),
        text_embeds=unit(level + 0.01 * noise.normal(size=level.shape)),
    )
    embedder = FakeEmbedder(level_prefix=True, test=split)
    found = run("class_retrieval", embedder, tasks=("disc_displacement",), resamples=1000)
    for direction in ("image_to_text", "text_to_image"):
        name = f"test/class_retrieval/disc_displacement/{direction}_precision_at_10"
        assert found[f"{name}_ci_low"] <= found[f"{name}_chance"] <= found[f"{name}_ci_high"]


def test_nothing_is_kept_of_its_rows():
    embedder = FakeEmbedder(test=make_split(8, 2))
    evaluator = evaluator_class("class_retrieval")(embedder, split="test", resamples=10)
    _, kept = evaluator.run(None)
    assert not kept.predictions
    assert not kept.ranks
