"""Splits by study: what is said of one, and that every evaluator can be asked of them."""

import dataclasses
import itertools

import numpy as np
import pytest

from data_prep.records.findings import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN
from data_prep.records.tasks import NO_LABEL, UNCERTAIN_LABEL
from lumbarclip_jax.data.tasks import TASKS, UNLABELLED, tasks_of
from lumbarclip_jax.evaluators import EVALUATORS, studies
from lumbarclip_jax.evaluators.study_embedder import StudyEmbedder
from lumbarclip_jax.evaluators.suite import BY_STUDY, evaluate_split
from tests.fake_embedder import OWN, FakeEmbedder, make_split, three_splits, unit

STUDIES = np.array(["b", "a", "b", "b", "c"])  # of five images, in the order b, a, c
OWN_TASKS = (
    OWN,
    OWN | {"name": "stage", "classes": ["0", "1", "2"], "ordered": True},
    OWN | {"name": "kind", "classes": ["x", "y", "z"]},
)


def five_images(**columns):
    """Of studies b, a and c."""
    split = make_split(2, 0)
    split = dataclasses.replace(split, tasks=tasks_of({"tasks": OWN_TASKS})).take(np.arange(5))
    own = columns.pop("own", np.full((5, 3), NO_LABEL))
    return dataclasses.replace(
        split,
        study_id=STUDIES,
        patient_id=np.char.add("patient ", STUDIES),
        report=np.char.add("report ", STUDIES),
        own_labels=own.astype(np.int8),
        **columns,
    )


def test_a_study_is_one_row_with_its_report_levels_and_sequences():
    found = studies.by_study(
        five_images(
            level=np.array(["L3-L4", "L4-L5", "L4-L5", "L5-S1", "all"]),
            sequence=np.array(["T2", "T1", "T1", "T2", "T2"]),
        )
    )
    assert found.study_id.tolist() == found.image_id.tolist() == ["b", "a", "c"]
    assert found.report.tolist() == ["report b", "report a", "report c"]
    assert found.patient_id.tolist() == ["patient b", "patient a", "patient c"]
    assert found.level.tolist() == ["all", "L4-L5", "all"]
    assert found.sequence.tolist() == ["T1+T2", "T1", "T2"]


def test_two_patients_share_no_study():
    images = five_images()
    apart = dataclasses.replace(images, patient_id=np.array(["p", "q", "p", "r", "q"]))
    assert apart.study.tolist() == [0, 1, 0, 2, 3]
    assert studies.by_study(apart).patient_id.tolist() == ["p", "q", "r", "q"]


@pytest.mark.parametrize(
    ("of_b", "united"),
    [
        ((ABSENT, PRESENT, UNCERTAIN), PRESENT),
        ((NOT_MENTIONED, UNCERTAIN, ABSENT), UNCERTAIN),
        ((ABSENT, NOT_MENTIONED, ABSENT), ABSENT),
        ((NOT_MENTIONED, NOT_MENTIONED, NOT_MENTIONED), NOT_MENTIONED),
    ],
)
def test_a_finding_has_the_strongest_status(of_b, united):
    level_findings = np.full((5, 8), PRESENT, np.uint8)
    level_findings[np.flatnonzero(STUDIES == "b"), 0] = of_b
    level_findings[1, 0] = ABSENT
    found = studies.by_study(five_images(level_findings=level_findings))
    assert found.level_findings.dtype == np.uint8
    assert found.level_findings[:, 0].tolist() == [united, ABSENT, PRESENT]
    assert (found.level_findings[:, 1:] == PRESENT).all()
    # The task asks of the study what it asked of a level.
    bulge = {PRESENT: 1, UNCERTAIN: UNLABELLED}.get(united, 0)
    assert TASKS["disc_bulge"].labels(found)[0] == bulge


def test_a_grade_is_the_worst_that_was_read():
    found = studies.by_study(five_images(pfirrmann=np.array([2, 0, 4, 0, 3], np.uint8)))
    assert found.pfirrmann.tolist() == [4, 0, 3]
    assert TASKS["pfirrmann"].labels(found).tolist() == [3, UNLABELLED, 2]


@pytest.mark.parametrize(
    ("task", "of_b", "united"),
    [
        ("pain", (0, 1, NO_LABEL), 1),
        ("pain", (0, 0, UNCERTAIN_LABEL), UNCERTAIN_LABEL),
        ("pain", (1, 0, UNCERTAIN_LABEL), 1),
        ("pain", (NO_LABEL, NO_LABEL, NO_LABEL), NO_LABEL),
        ("stage", (0, 1, NO_LABEL), 1),
        ("stage", (0, 1, UNCERTAIN_LABEL), UNCERTAIN_LABEL),
        ("stage", (2, 0, UNCERTAIN_LABEL), 2),
        ("kind", (2, NO_LABEL, 2), 2),
        ("kind", (0, NO_LABEL, 0), 0),
        ("kind", (2, 1, 2), NO_LABEL),
        ("kind", (2, UNCERTAIN_LABEL, 2), UNCERTAIN_LABEL),
        ("kind", (NO_LABEL, UNCERTAIN_LABEL, NO_LABEL), UNCERTAIN_LABEL),
    ],
)
def test_a_label_of_its_own_is_the_worst_or_what_all_agree_on(task, of_b, united):
    own = np.full((5, 3), NO_LABEL)
    place = [each["name"] for each in OWN_TASKS].index(task)
    own[np.flatnonzero(STUDIES == "b"), place] = of_b
    own[4, place] = 1
    found = studies.by_study(five_images(own=own))
    assert found.own_labels[:, place].tolist() == [united, NO_LABEL, 1]
    assert found.tasks[task].labels(found)[0] == max(united, UNLABELLED)


@pytest.fixture(scope="module")
def by_image() -> FakeEmbedder:
    embedder = three_splits()
    embedder.images = lambda split, rows: np.stack(
        [np.full((20, 20, 1), row % 250, np.uint8) for row in rows]
    )
    return embedder


def test_without_learnt_pooling_it_is_the_normalised_mean(by_image):
    images, found = by_image(None, "test"), StudyEmbedder(by_image)(None, "test")
    assert len(found) == 40
    expected = unit(images.image_embeds.reshape(40, 3, -1).mean(axis=1))
    np.testing.assert_allclose(found.image_embeds, expected, atol=1e-6)
    features = images.image_features.reshape(40, 3, -1).mean(axis=1)
    np.testing.assert_allclose(found.image_features, features, atol=1e-6)
    np.testing.assert_array_equal(found.text_embeds, images.text_embeds[::3])


def test_of_one_study_a_patient_retrieval_is_that_by_patient(by_image):
    names = ("retrieval",)
    images, _ = evaluate_split(by_image, None, "test", resamples=100, names=names)
    found, _ = evaluate_split(StudyEmbedder(by_image), None, "test", resamples=100, names=names)
    ranked = ("recall_at_1", "recall_at_5", "recall_at_10", "mrr", "median_rank")
    ways = (("image_to_text", "patient_to_text"), ("text_to_image", "text_to_patient"))
    for measure, beside in itertools.product(ranked, ("", "_ci_low", "_ci_high", "_chance")):
        for way, of_patients in ways:
            name = f"test/retrieval/{{}}_{measure}{beside}".format
            assert found[name(way)] == images[name(of_patients)]
    assert found["test/retrieval/studies"] == images["test/retrieval/patients"] == 40
    assert images["test/retrieval/images"] == 120
    assert "test/retrieval/images" not in found
    assert found[BY_STUDY] == 1.0
    assert BY_STUDY not in images


@pytest.mark.parametrize("name", sorted({*EVALUATORS} - {"zero_shot_features"}))
def test_every_evaluator_takes_studies_or_says_that_it_does_not(by_image, name, caplog):
    caplog.set_level("INFO")
    embedder = StudyEmbedder(by_image)
    found, kept = evaluate_split(embedder, None, "test", resamples=10, names=(name,))
    numbers = {each for each in found if each.startswith(f"test/{name}/")}
    assert not [each for each in numbers if each.endswith("/images")]
    if name == "label_heads":
        assert not numbers
        assert "test/label_heads is not measured by study, as the heads of" in caplog.text
    elif name == "cross_sequence":
        assert not numbers
        assert "no sequence to cross to" in caplog.text
    else:
        assert numbers
    names = set(embedder.columns("test").study_id) | {""}  # "" of answers by patient
    assert all(set(said.image_id) <= names for said in kept.predictions.values())


def test_features_that_both_towers_share_answer_for_studies_too():
    class SharesFeatures(FakeEmbedder):
        has_shared_features = True

        def encode_text(self, state, texts, output="text_embeds"):
            return super().encode_text(state, texts)[:, :5]

    embedder = StudyEmbedder(SharesFeatures(test=make_split(40, 2)))
    found, _ = evaluate_split(embedder, None, "test", resamples=10, names=("zero_shot_features",))
    assert found["test/zero_shot_features/disc_displacement/studies"] == 40
    assert found["test/zero_shot_features/disc_displacement/auroc"] > 0.6


def test_of_two_sequences_in_a_study_none_is_crossed_to(caplog):
    caplog.set_level("INFO")
    split = make_split(60, 0)
    mixed = dataclasses.replace(split, sequence=np.tile(["T1", "T2", "T1"], 60))
    apart = dataclasses.replace(split, sequence=np.repeat(["T1", "T2"], 90))

    def crossed(of):
        embedder = StudyEmbedder(FakeEmbedder(train=of, validation=of, test=of))
        return evaluate_split(embedder, None, "test", resamples=10, names=("cross_sequence",))[0]

    assert list(crossed(mixed)) == [BY_STUDY]
    assert "all images are T1+T2, no sequence to cross to" in caplog.text
    found = crossed(apart)
    name = "test/cross_sequence/linear_probe/T1_to_T2/disc_displacement"
    assert found[f"{name}/auroc"] > 0.6
    assert f"{name}/auroc_within_level" not in found  # all studies are of all discs


def test_a_picture_of_a_study_shows_its_slices(by_image):
    pictures = StudyEmbedder(by_image).images("test", [1, 0])
    assert pictures.shape == (2, 20, 20, 1)
    quarters = [pictures[0, top, left, 0] for top in (0, 10) for left in (0, 10)]
    assert quarters == [3, 4, 5, 0]  # rows of the split, and none
    assert pictures[1, 0, [0, 10], 0].tolist() == [0, 1]
    lone = dataclasses.replace(make_split(2, 0), study_id=np.arange(6).astype(str))
    embedder = FakeEmbedder(test=lone)
    alone = StudyEmbedder(embedder).images("test", [4])
    np.testing.assert_array_equal(alone, embedder.images("test", [4]))


def test_texts_of_a_single_disc_are_refused():
    with pytest.raises(ValueError, match=r"train with data\.level_prefix=False"):
        StudyEmbedder(FakeEmbedder(level_prefix=True, test=make_split(2, 0)))
