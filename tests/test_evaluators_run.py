"""The evaluators on a made-up model: what they yield, what they skip, what they may look at."""

import dataclasses
import re

import numpy as np
import pytest

from lumbarclip_jax.embedder import EmbeddedSplit
from lumbarclip_jax.evaluators import EVALUATORS
from lumbarclip_jax.evaluators.gallery import retrieval_gallery
from lumbarclip_jax.evaluators.prompts import load_prompts
from lumbarclip_jax.evaluators.reports import distinct_reports
from lumbarclip_jax.evaluators.tasks import TASKS, UNLABELLED

LEVELS = ("L3-L4", "L4-L5", "L5-S1")
LEVEL_NAMES = (
    "disc_bulge",
    "disc_protrusion",
    "disc_extrusion",
    "disc_herniation",
    "thecal_sac_compression",
    "nerve_root_compression",
    "canal_stenosis",
    "annular_tear",
)
EMBED = 16


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def make_split(patients: int, seed: int, signal: float = 2.0) -> EmbeddedSplit:
    """Three levels a patient; the bulge of a level moves feature 0 and embedding axis 0.

    Patients 0 and 1 of a split carry the same report.
    """
    rng = np.random.default_rng(seed)
    rows = 3 * patients
    patient = np.repeat(np.arange(patients), 3)
    bulge = rng.random(rows) < np.tile([0.3, 0.6, 0.4], patients)
    status = np.zeros((rows, len(LEVEL_NAMES)), np.uint8)
    status[:, 0] = bulge
    group = np.where(patient == 1, 0, patient)
    report_vectors = unit(rng.normal(size=(patients, EMBED)))
    report_vectors[:, 0] = 0
    features = rng.normal(size=(rows, 5))
    features[:, 0] += signal * bulge
    embeds = 0.8 * report_vectors[group] + 0.1 * rng.normal(size=(rows, EMBED))
    embeds[:, 0] = 0.5 * signal * (bulge - 0.5) + 0.3 * rng.normal(size=rows)
    return EmbeddedSplit(
        image_embeds=unit(embeds),
        image_features=features.astype(np.float32),
        text_embeds=unit(report_vectors[group]),
        patient_id=np.char.add(f"s{seed}p", patient.astype(str)),
        image_id=np.char.add(f"s{seed}i", np.arange(rows).astype(str)),
        report_group=np.char.add("g", group.astype(str)),
        report=np.char.add("report number ", group.astype(str)),
        level=np.tile(LEVELS, patients),
        sequence=np.full(rows, "T1"),
        findings=np.zeros((rows, 17), np.uint8),
        level_findings=status,
        pfirrmann=np.where(bulge, 4, 2).astype(np.uint8),
        study_id=np.char.add(f"s{seed}p", patient.astype(str)),
        names=tuple(f"finding_{i}" for i in range(17)),
        level_names=LEVEL_NAMES,
    )


class FakeEmbedder:
    """Serves given splits; its text encoder knows negation and nothing else."""

    def __init__(self, level_prefix: bool = False, **splits: EmbeddedSplit):
        self._splits = splits
        self.splits = tuple(splits)
        self.level_prefix = level_prefix

    def __call__(self, state, split: str) -> EmbeddedSplit:
        return self._splits[split]

    def encode_text(self, state, texts: list[str]) -> np.ndarray:
        embeds = np.zeros((len(texts), EMBED))
        denied = [re.search(r"\b(no|normal|unremarkable)\b", text.lower()) for text in texts]
        embeds[:, 0] = np.where(np.array(denied, bool), -1, 1)
        embeds[:, 1] = [len(text) / 100 for text in texts]
        return unit(embeds)

    def images(self, split: str, indices: np.ndarray) -> np.ndarray:
        return np.stack([np.full((4, 4, 1), index, np.uint8) for index in indices])


@pytest.fixture(scope="module")
def embedder() -> FakeEmbedder:
    return FakeEmbedder(
        train=make_split(60, 0), validation=make_split(20, 1), test=make_split(40, 2)
    )


def run(name: str, embedder: FakeEmbedder, **options) -> dict[str, float]:
    options = {"split": "test", "resamples": 200, **options}
    return dict(EVALUATORS[name](embedder, **options).run(state=None))


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
def test_a_task_without_labels_is_skipped_aloud(name, embedder, caplog):
    bare = dataclasses.replace(
        embedder(None, "test"),
        level_findings=np.zeros((120, 8), np.uint8),
        pfirrmann=np.full(120, 2, np.uint8),
    )
    splits = {split: embedder(None, split) for split in ("train", "validation")}
    with caplog.at_level("WARNING"):
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
    assert caplog.text.count("skipped") == 3


def test_a_set_with_only_a_test_split_has_no_probe(embedder, caplog):
    with caplog.at_level("WARNING"):
        assert run("linear_probe", FakeEmbedder(test=embedder(None, "test"))) == {}
    assert "no train and no validation split" in caplog.text


def test_zero_shot_and_probe_find_the_planted_bulge(embedder):
    zero_shot, probe = run("zero_shot", embedder), run("linear_probe", embedder)
    assert zero_shot["test/zero_shot/disc_displacement/auroc_ci_low"] > 0.5
    name = "test/linear_probe/disc_displacement"
    assert probe[f"{name}/image_features/auroc_ci_low"] > 0.7
    assert probe[f"{name}/image_features/auroc_gain_over_level_ci_low"] > 0
    assert probe[f"{name}/level_only/auroc"] < probe[f"{name}/image_features/auroc"]


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
    assert predicted.probabilities[1] == pytest.approx(expected, rel=1e-5)


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
def test_prompts_are_clean_and_name_their_level(task, polarity):
    for level in LEVELS:
        prompts = load_prompts(task, level, polarity)
        assert len(prompts) == len(set(prompts)) >= 10
        for prompt in prompts:
            assert level.replace("/", "-") in prompt.replace("/", "-")
            assert not re.search(r"[{}]|  | \.|^\s|\s$", prompt)
    opposite = {"positive": "negative", "negative": "positive"}[polarity]
    assert not set(prompts) & set(load_prompts(task, level, opposite))


def test_an_unknown_level_names_the_file_to_edit():
    with pytest.raises(ValueError, match=r"levels\.json has no entry for level 'T12-L1'"):
        load_prompts("compression", "T12-L1", "positive")
