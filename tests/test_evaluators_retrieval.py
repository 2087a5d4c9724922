"""Retrieval on a made-up model, and the contract every evaluator keeps."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from lumbarclip_jax.evaluators import evaluator_class
from lumbarclip_jax.evaluators.bootstrap import patient_resamples
from lumbarclip_jax.evaluators.gallery import retrieval_gallery
from lumbarclip_jax.evaluators.reports import distinct_reports
from lumbarclip_jax.evaluators.retrieval_units import by_image, by_patient
from lumbarclip_jax.evaluators.shared_findings import finding_sets
from tests.fake_embedder import EMBED, FakeEmbedder, make_split, run, three_splits, unit
from tests.test_evaluators_ranking import unit_vectors_with_products


@pytest.fixture(scope="module")
def embedder() -> FakeEmbedder:
    return three_splits()


@pytest.mark.parametrize("name", ["retrieval", "robustness", "class_retrieval"])
def test_evaluators_keep_their_contract(name, embedder):
    found = run(name, embedder)
    assert found == run(name, embedder)  # the resampling is seeded
    for key, value in found.items():
        assert key.startswith(f"test/{name}/")
        assert type(value) is float
        assert np.isfinite(value)
        if key.endswith("_ci_low"):
            number = key.removesuffix("_ci_low")
            assert value <= found[number] <= found[f"{number}_ci_high"]
            assert f"{number}_chance" in found or number.endswith("_retention")
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
    rows = np.array([0, 1, 3, 6, 7, 8])  # patient 1, report 0 like patient 0, shows L3-L4 alone
    split = make_split(3, 0).take(rows)
    embedder = FakeEmbedder(level_prefix=True, test=split)
    reports = distinct_reports(embedder, None, split)
    assert reports.text_embeds.shape == (3, 2, EMBED)
    np.testing.assert_array_equal(reports.text_embeds[:2, 0], split.text_embeds[:2])
    np.testing.assert_array_equal(reports.text_embeds[:, 1], split.text_embeds[3:])
    np.testing.assert_array_equal(
        reports.text_embeds[2, 0], embedder.encode_text(None, ["L5-S1 : report number 0"])[0]
    )


def one_image_a_patient(**replaced):
    """Four patients with one image at L4-L5: a bulge, a protrusion, both, nothing."""
    status = np.zeros((4, 8), np.uint8)
    status[:, :2] = [[1, 2], [3, 1], [1, 1], [0, 2]]  # 2 is absent and 3 uncertain: not present
    return dataclasses.replace(
        make_split(4, 0).take(np.arange(0, 12, 3)),
        level_findings=status,
        level=np.full(4, "L4-L5"),
        report_group=np.array(list("abcd")),
        **replaced,
    )


def test_precision_of_shared_findings_by_hand():
    images, texts = unit_vectors_with_products(
        np.array([[5, 4, 3, 2], [5, 1, 2, 3], [1, 2, 3, 4], [3, 0, 4, 5]], np.float64)
    )
    found = run(
        "retrieval",
        FakeEmbedder(test=one_image_a_patient(image_embeds=images, text_embeds=texts)),
    )
    # Image 0 has texts 0 and 2 at places 1 and 3; image 1 has texts 2 and 1 at 3 and 4; image 2
    # has texts 2, 1 and 0 at 2, 3 and 4; image 3 has no finding and asks nothing.
    to_text = ((1 + 2 / 3) / 2 + (1 / 3 + 2 / 4) / 2 + (1 / 2 + 2 / 3 + 3 / 4) / 3) / 3
    # Text 0 scores 5 5 1 3, and image 1, as near as image 0, goes before it: places 2 and 4. Text 1
    # scores 4 1 2 0: images 2 and 1 at 2 and 3. Text 2 scores 3 2 3 4: places 2, 3 and 4.
    to_image = ((1 / 2 + 2 / 4) / 2 + (1 / 2 + 2 / 3) / 2 + (1 / 2 + 2 / 3 + 3 / 4) / 3) / 3
    for view in ("image", "patient"):
        for direction, expected in ((f"{view}_to_text", to_text), (f"text_to_{view}", to_image)):
            name = f"test/retrieval/{direction}_map"
            assert found[f"{name}_queries"] == 3
            assert found[f"{name}_shared_findings"] == pytest.approx(expected)
            # Two, two and three relevant of four: 49/72, 49/72 and 121/144.
            assert found[f"{name}_shared_findings_chance"] == pytest.approx(317 / 432)


def test_a_finding_is_shared_at_the_same_level_only():
    split = make_split(2, 0)  # L3-L4, L4-L5, L5-S1 of two patients
    status = np.zeros((6, 8), np.uint8)
    status[[0, 1, 3, 5], [0, 0, 0, 7]] = 1
    split = dataclasses.replace(split, level_findings=status, report_group=np.repeat(["a", "b"], 3))
    sets = finding_sets(split)
    np.testing.assert_array_equal(sets, [1, 1 << 8, 0, 1, 0, 1 << 23])
    reports = distinct_reports(FakeEmbedder(test=split), None, split)
    np.testing.assert_array_equal(by_image(split, reports).text_findings, [257, 1 + (1 << 23)])
    np.testing.assert_array_equal(by_patient(split, reports).image_findings, [257, 1 + (1 << 23)])


@pytest.mark.parametrize("level_prefix", [False, True])
def test_streamed_retrieval_equals_the_whole_matrix(monkeypatch, level_prefix):
    """The plain way, with all scores of every image at every reading in memory."""
    for name, size in (("ranking.TILE_IMAGES", 7), ("ranking.TILE_TEXTS", 5)):
        monkeypatch.setattr(f"lumbarclip_jax.evaluators.{name}", size)
    monkeypatch.setattr("lumbarclip_jax.evaluators.retrieval.BLOCK_ELEMENTS", 100)
    split = make_split(13, 3)
    embedder = FakeEmbedder(level_prefix=level_prefix, test=split)
    evaluator = evaluator_class("retrieval")(embedder, split="test", resamples=100)
    found, kept = evaluator.run(None)

    reports = distinct_reports(embedder, None, split)
    text_of_row, reading_of_row = reports.report_of_row, reports.reading_of_row
    texts = reports.text_embeds[reading_of_row]
    by_row = np.einsum("me,mge->mg", split.image_embeds, texts)
    bulge = np.zeros((39, 3), bool)
    bulge[np.arange(39), np.tile(np.arange(3), 13)] = split.level_findings[:, 0] == 1
    text_bulge = np.stack([bulge[text_of_row == text].any(axis=0) for text in range(12)])
    rows_of = [
        np.flatnonzero(split.patient_id == patient) for patient in np.unique(split.patient_id)
    ]

    def mean_score(rows: np.ndarray) -> np.ndarray:
        sums = np.zeros((3, EMBED))
        np.add.at(sums, reading_of_row[rows], split.image_embeds[rows])
        return by_row[rows].sum(axis=0) / np.linalg.norm(sums)

    for view, scores, present, text_of in (
        ("image", by_row, bulge, text_of_row),
        (
            "patient",
            np.stack([mean_score(rows) for rows in rows_of]),
            np.stack([bulge[rows].any(axis=0) for rows in rows_of]),
            np.array([text_of_row[rows[0]] for rows in rows_of]),
        ),
    ):
        correct = text_of[:, None] == np.arange(12)
        relevant = (present[:, None] & text_bulge).any(axis=2)
        for direction, s, c, r in (
            (f"{view}_to_text", scores, correct, relevant),
            (f"text_to_{view}", scores.T, correct.T, relevant.T),
        ):
            best = np.where(c, s, -np.inf).max(axis=1, keepdims=True)
            ranks, patients = kept.ranks[f"test/retrieval/{direction}"]
            np.testing.assert_array_equal(ranks, 1 + (~c & (s >= best - 1e-6)).sum(axis=1))
            assert len(patients) == len(ranks)
            queries = np.flatnonzero(r.any(axis=1))
            precisions = np.array([average_precision_score(r[q], s[q]) for q in queries])
            name = f"test/retrieval/{direction}_map_shared_findings"
            assert found[name] == pytest.approx(precisions.mean())
            times = np.concatenate(list(patient_resamples(patients, resamples=100)))[:, queries]
            resampled = times @ precisions / times.sum(axis=1)
            assert found[f"{name}_ci_low"] == pytest.approx(np.quantile(resampled, 0.025))


def test_the_precision_of_many_queries_is_that_of_some_patients(embedder):
    whole = run("retrieval", embedder)
    some = run("retrieval", embedder, map_queries=30)
    name = "test/retrieval/image_to_text_map"
    assert whole[f"{name}_queries"] == (embedder(None, "test").level_findings[:, 0] == 1).sum()
    assert some[f"{name}_queries"] == 30
    assert some[f"{name}_shared_findings"] != whole[f"{name}_shared_findings"]
    assert abs(some[f"{name}_shared_findings"] - whole[f"{name}_shared_findings"]) < 0.1


def test_without_findings_there_is_no_precision(embedder):
    split = embedder(None, "test")
    split = dataclasses.replace(split, level_findings=np.zeros_like(split.level_findings))
    found = run("retrieval", FakeEmbedder(test=split))
    assert not [name for name in found if "map_shared" in name]
    assert found["test/retrieval/image_to_text_map_queries"] == 0
    assert "test/retrieval/text_to_patient_mrr" in found


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
