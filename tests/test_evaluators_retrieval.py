"""Retrieval on a made-up model, and the contract every evaluator keeps."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.evaluators import EVALUATORS
from lumbarclip_jax.evaluators.gallery import retrieval_gallery
from lumbarclip_jax.evaluators.reports import distinct_reports
from tests.fake_embedder import EMBED, FakeEmbedder, make_split, run, three_splits, unit


@pytest.fixture(scope="module")
def embedder() -> FakeEmbedder:
    return three_splits()


@pytest.mark.parametrize("name", sorted(EVALUATORS))
def test_every_evaluator_yields_its_contract(name, embedder):
    found = run(name, embedder)
    assert found == run(name, embedder)  # the resampling is seeded
    for key, value in found.items():
        assert key.startswith(f"test/{name}/")
        assert type(value) is float
        assert np.isfinite(value)
        if key.endswith("_ci_low"):
            number = key.removesuffix("_ci_low")
            assert value <= found[number] <= found[f"{number}_ci_high"]
            assert f"{number}_chance" in found
    assert any(key.endswith("_ci_low") for key in found)


def test_retrieval_merges_equal_reports_and_beats_chance(embedder):
    found = run("retrieval", embedder)
    assert (found["test/retrieval/images"], found["test/retrieval/texts"]) == (120, 39)
    assert found["test/retrieval/patients"] == 40
    assert found["test/retrieval/image_to_text_recall_at_1_chance"] == pytest.approx(1 / 39)
    for direction in ("image_to_text", "text_to_image", "patient_to_text", "text_to_patient"):
        name = f"test/retrieval/{direction}_recall_at_1"
        assert found[f"{name}_ci_low"] > found[f"{name}_chance"]
    # Text 0 is answered by either of its two patients, the other 38 by one of 40.
    assert found["test/retrieval/text_to_patient_recall_at_5_chance"] == pytest.approx(
        (38 * 5 / 40 + 1 - (35 * 34) / (40 * 39)) / 39
    )


def test_retrieval_by_patient_averages_images():
    """Two patients, whose images alone mislead and together tell."""
    split = make_split(2, 0)
    texts = np.eye(2, EMBED, dtype=np.float32)
    images = np.zeros((6, EMBED), np.float32)
    images[:, :2] = [[0, 1], [1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]
    split = dataclasses.replace(
        split,
        image_embeds=images,
        text_embeds=np.repeat(texts, 3, axis=0),
        report_group=np.repeat(["a", "b"], 3),
    )
    found = run("retrieval", FakeEmbedder(test=split))
    assert found["test/retrieval/image_to_text_recall_at_1"] == pytest.approx(4 / 6)
    assert found["test/retrieval/patient_to_text_recall_at_1"] == 1


def test_a_level_before_the_text_gives_nothing_away():
    """Texts and images that hold their level and nothing else retrieve no better than chance."""
    split = make_split(30, 0)
    level = np.eye(3, EMBED)[np.tile(np.arange(3), 30)]
    noise = np.random.default_rng(1)
    split = dataclasses.replace(
        split,
        text_embeds=unit(level + 0.01 * noise.normal(size=level.shape)),
        image_embeds=unit(level + 0.01 * noise.normal(size=level.shape)),
        report_group=np.repeat(np.arange(30), 3).astype(str),
    )
    found = run("retrieval", FakeEmbedder(level_prefix=True, test=split), resamples=1000)
    assert found["test/retrieval/texts"] == 30
    for direction in ("image_to_text", "text_to_image", "patient_to_text", "text_to_patient"):
        name = f"test/retrieval/{direction}_recall_at_10"
        assert found[f"{name}_ci_low"] <= found[f"{name}_chance"] <= found[f"{name}_ci_high"]


def test_a_reading_no_row_has_is_encoded():
    split = make_split(3, 0)
    rows = np.array([0, 1, 3, 6, 7, 8])  # patient 1, report 0 like patient 0, shows L3-L4 alone
    arrays = {
        field.name: getattr(split, field.name)[rows]
        for field in dataclasses.fields(split)
        if field.name not in ("names", "level_names")
    }
    split = dataclasses.replace(split, **arrays)
    embedder = FakeEmbedder(level_prefix=True, test=split)
    reports = distinct_reports(embedder, None, split)
    assert reports.text_embeds.shape == (3, 2, EMBED)
    np.testing.assert_array_equal(reports.text_embeds[:2, 0], split.text_embeds[:2])
    np.testing.assert_array_equal(reports.text_embeds[:, 1], split.text_embeds[3:])
    np.testing.assert_array_equal(
        reports.text_embeds[2, 0], embedder.encode_text(None, ["L5-S1 : report number 0"])[0]
    )


def test_gallery_shows_what_retrieval_ranks(embedder):
    gallery = retrieval_gallery(embedder, None, "test", queries=4, hits=3)
    split = embedder(None, "test")
    assert len(gallery.image_queries) == len(gallery.text_queries) == 4
    for query in gallery.image_queries:
        scores = [hit.score for hit in query.hits]
        assert scores == sorted(scores, reverse=True)
        assert [hit.correct for hit in query.hits] == [
            hit.report == query.report for hit in query.hits
        ]
        assert query.rank == 1 + [hit.correct for hit in query.hits].index(True)
        row = int(query.image[0, 0])
        assert split.report[row] == query.report
        assert split.level[row] == query.level
    for query in gallery.text_queries:
        for hit in query.hits:
            assert hit.correct == (split.report[int(hit.image[0, 0])] == query.report)
