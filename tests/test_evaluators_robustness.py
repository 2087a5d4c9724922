"""Corrupted images and crossed sequences, on a made-up model and through the real embedder."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators.cross_sequence import CrossSequence
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.robustness import Robustness
from tests.fake_embedder import FakeEmbedder, make_split, unit


class FragileEmbedder(FakeEmbedder):
    """Embeds an image worse the more its pixels have changed; its images are symmetric."""

    def images(self, split: str, indices) -> np.ndarray:
        half = np.random.default_rng(0).integers(30, 200, size=(len(indices), 20, 10, 1))
        return np.concatenate([half, half[:, :, ::-1]], axis=2).astype(np.uint8)

    def changed(self, state, split: str, change):
        assert split == "test", "probes and prompts stay those of clean images"
        embedded = self(state, split)
        rows = list(range(len(embedded)))
        images = self.images(split, rows)
        changed = change(images, rows)
        harm = np.abs(changed.astype(float) - images).mean(axis=(1, 2, 3))[:, None] / 100
        noise = np.random.default_rng(1)
        embeds = embedded.image_embeds + harm * noise.normal(size=embedded.image_embeds.shape)
        features = embedded.image_features
        return dataclasses.replace(
            embedded,
            image_embeds=unit(embeds),
            image_features=features + 10 * harm * noise.normal(size=features.shape),
        )


@pytest.fixture(scope="module")
def embedder() -> FragileEmbedder:
    return FragileEmbedder(
        train=make_split(60, 0), validation=make_split(20, 1), test=make_split(40, 2)
    )


TASKS = ("pfirrmann_ge_3", "disc_displacement")
NUMBERS = (
    "image_to_text_recall_at_5",
    *(f"zero_shot/{task}/auroc_within_level" for task in TASKS),
    *(f"linear_probe/{task}/auroc_within_level" for task in TASKS),
)


def robustness(embedder, **options) -> dict[str, float]:
    found, _ = Robustness(embedder, split="test", resamples=200, **options).run(state=None)
    return found


def test_what_is_left_of_every_number(embedder):
    corruptions = ("occlusion", "left_right_flip")
    found = robustness(embedder, corruptions=corruptions)
    where = "test/robustness/{}".format
    assert [found[where(f"occlusion/severity_{s}/amount")] for s in (1, 3, 5)] == [0.1, 0.5, 0.9]
    assert not [name for name in found if "left_right_flip/severity_3" in name]
    for number in NUMBERS:
        clean = found[where(f"clean/{number}")]
        chance = found[where(f"clean/{number}_chance")]
        assert found[where(f"clean/{number}_ci_low")] > chance
        values = [found[where(f"occlusion/severity_{s}/{number}")] for s in (1, 3, 5)]
        retained = [found[where(f"occlusion/severity_{s}/{number}_retention")] for s in (1, 3, 5)]
        np.testing.assert_allclose(retained, (np.array(values) - chance) / (clean - chance))
        assert retained[2] < 0.6 < retained[0]
        name = where(f"occlusion/severity_5/{number}_retention")
        assert found[f"{name}_ci_low"] < found[name] < found[f"{name}_ci_high"]
        # Mirrored symmetric images are the same images: all is retained, in every resample.
        mirrored = where(f"left_right_flip/severity_1/{number}")
        assert found[mirrored] == clean
        assert found[f"{mirrored}_retention_ci_low"] == found[f"{mirrored}_retention"] == 1


def test_accidents_differ_by_image_and_by_seed(embedder, monkeypatch):
    keys = []

    def watched(images, name, severity, of):
        keys.append(tuple(of))
        return images

    monkeypatch.setattr("lumbarclip_jax.evaluators.robustness.corrupt", watched)
    for seed in (0, 1):
        robustness(embedder, corruptions=("blur",), severities=(2,), tasks=(), seed=seed)
    assert len(set(keys[0] + keys[1])) == 240


def test_what_is_at_chance_on_clean_images_retains_nothing(embedder):
    split = embedder(None, "test")
    lost = dataclasses.replace(split, image_embeds=-split.image_embeds)
    found = robustness(FragileEmbedder(test=lost), corruptions=("blur",), severities=(1,))
    assert "test/robustness/blur/severity_1/image_to_text_recall_at_5" in found
    assert not [name for name in found if "retention" in name or "linear_probe" in name]


def test_the_embedder_changes_each_row_alone(tiny_run, tiny_dataset):
    embedder, state = tiny_run.embedder(Dataset(tiny_dataset)), tiny_run.state
    clean = embedder(state, "test")
    same = embedder.changed(state, "test", lambda images, rows: images)
    np.testing.assert_array_equal(same.image_embeds, clean.image_embeds)
    np.testing.assert_array_equal(same.text_embeds, clean.text_embeds)

    def turn_row_8(images, rows):
        assert images.dtype == np.uint8
        return np.where(np.array(rows)[:, None, None, None] == 8, 255 - images, images)

    turned = embedder.changed(state, "test", turn_row_8)
    differs = np.any(turned.image_features != clean.image_features, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(differs), [8])
    np.testing.assert_array_equal(embedder(state, "test").image_embeds, clean.image_embeds)


def two_sequences(patients: int, seed: int):
    """T1 shows the finding in feature 0 and T2 in feature 1; T2 knows nothing of its report."""
    split = make_split(patients, seed)
    sequence = np.where(np.arange(len(split)) % 2, "T2", "T1")
    features = split.image_features.copy()
    features[sequence == "T2", :2] = features[sequence == "T2", 1::-1]
    blind = unit(np.random.default_rng(0).normal(size=split.image_embeds.shape))
    embeds = np.where(sequence[:, None] == "T2", blind, split.image_embeds)
    return dataclasses.replace(
        split, sequence=sequence, image_features=features, image_embeds=embeds
    )


def test_a_probe_crosses_to_the_other_sequence():
    embedder = FakeEmbedder(
        train=two_sequences(120, 0), validation=two_sequences(40, 1), test=two_sequences(80, 2)
    )
    evaluator = CrossSequence(embedder, split="test", tasks=("pfirrmann_ge_3",), resamples=200)
    found, kept = evaluator.run(None)
    prefix = "test/cross_sequence"
    for own, other in (("T1", "T2"), ("T2", "T1")):
        stays = f"{prefix}/linear_probe/{own}_to_{own}/pfirrmann_ge_3/auroc"
        crosses = f"{prefix}/linear_probe/{own}_to_{other}/pfirrmann_ge_3/auroc"
        assert found[f"{stays}_ci_low"] > 0.8
        assert found[f"{crosses}_ci_low"] < 0.5 < found[f"{crosses}_ci_high"]
        back = found[f"{prefix}/linear_probe/{other}_to_{other}/pfirrmann_ge_3/auroc"]
        assert found[f"{crosses}_gain_over_own"] == pytest.approx(found[crosses] - back)
        assert found[f"{crosses}_gain_over_own_ci_high"] < 0
        assert f"{stays}_gain_over_own" not in found
        images = kept.predictions[f"{prefix}/linear_probe/{own}_to_{other}/pfirrmann_ge_3"].image_id
        split = embedder(None, "test")
        np.testing.assert_array_equal(images, split.image_id[split.sequence == other])
    recall = f"{prefix}/retrieval/{{}}/image_to_text_recall_at_1".format
    assert found[recall("T1")] > 0.9
    assert found[recall("T2")] < 0.1
    assert found[f"{recall('T1')}_chance"] == pytest.approx(1 / 79)


def test_what_a_sequence_lacks_is_said_once(caplog):
    train = two_sequences(20, 0)
    grades = np.where(train.sequence == "T2", 2, train.pfirrmann).astype(np.uint8)
    embedder = FakeEmbedder(
        train=dataclasses.replace(train, pfirrmann=grades),
        validation=two_sequences(10, 1),
        test=two_sequences(10, 2),
    )
    tasks = ("pfirrmann_ge_3", "disc_displacement")
    evaluator = CrossSequence(embedder, split="test", tasks=tasks, resamples=20)
    found, kept = evaluator.run(None)
    crossed = {"T1_to_T1", "T1_to_T2", "T2_to_T1", "T2_to_T2"}
    expected = {f"{name}/disc_displacement" for name in crossed} | {"T1_to_T1/pfirrmann_ge_3"}
    assert kept.predictions.keys() == {f"test/cross_sequence/linear_probe/{x}" for x in expected}
    assert "test/cross_sequence/linear_probe/T1_to_T1/pfirrmann_ge_3/auroc" in found
    (warning,) = caplog.messages
    assert warning.startswith("test/cross_sequence: 1 of 4 tasks skipped")
    assert "pfirrmann_ge_3 on T2 (train 20 grade 1-2, 0 grade 3-5; validation " in warning


def test_one_sequence_cannot_be_crossed(embedder, caplog):
    with caplog.at_level("INFO"):
        assert CrossSequence(embedder, split="test").run(None) == ({}, Kept())
    assert "test: all images are T1, no sequence to cross to" in caplog.text
