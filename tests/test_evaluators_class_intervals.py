"""How certain retrieval by class is: of a class, of the mean over classes, of a balance."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.evaluators.bootstrap import patient_resamples
from tests.class_queries import hedged, queries_of
from tests.fake_embedder import EMBED, FakeEmbedder, make_split, run


def test_intervals_resample_the_patients_of_both_directions_together():
    """Means and balances have percentiles, or, where wider, what their parts leave open."""
    split = hedged(make_split(13, 3))
    embedder = FakeEmbedder(test=split)
    prefix = "test/class_retrieval/disc_displacement"
    found = run("class_retrieval", embedder, tasks=("disc_displacement",), resamples=100)
    directions = queries_of(split, embedder, split.tasks["disc_displacement"])
    patients = np.unique([q.patient for q in directions["image_to_text"]])
    times = np.concatenate(list(patient_resamples(patients, resamples=100)))
    means, off = {}, {}
    for direction in ("image_to_text", "text_to_image"):
        queries = directions[direction]
        owner = np.searchsorted(patients, [query.patient for query in queries])
        shares = np.array([query.share("precision_at_5") for query in queries])
        each, distances = [], []
        for label, said in enumerate(("not_displaced", "displaced")):
            of_class = np.array([query.label == label for query in queries])
            drawn = times[:, owner] * of_class
            each.append(drawn @ shares / drawn.sum(axis=1))
            ends = np.quantile(each[-1], [0.025, 0.975])
            assert ends_of(found, f"{prefix}/{said}/{direction}_precision_at_5") == approx(ends)
            distances.append(np.abs(ends - shares[of_class].mean()) / 2)
        means[direction] = np.mean(each, axis=0)
        off[direction] = np.linalg.norm(distances, axis=0)
        name = f"{prefix}/{direction}_precision_at_5"
        percentiles = np.quantile(means[direction], [0.025, 0.975])
        wider = found[name] + [-1, 1] * np.maximum(
            off[direction], np.abs(percentiles - found[name])
        )
        assert ends_of(found, name) == approx(wider)
        off[direction] = np.abs(wider - found[name])
    balance = f"{prefix}/balance_at_5"
    percentiles = np.quantile(means["image_to_text"] - means["text_to_image"], [0.025, 0.975])
    of_parts = np.hypot(off["image_to_text"], off["text_to_image"][::-1])
    wider = np.maximum(of_parts, np.abs(percentiles - found[balance]))
    assert ends_of(found, balance) == approx(found[balance] + [-1, 1] * wider)


def ends_of(found, name: str) -> list[float]:
    return [found[f"{name}_ci_{end}"] for end in ("low", "high")]


def approx(values):
    return pytest.approx(np.asarray(values).tolist())


def test_a_class_of_which_nothing_is_found_leaves_the_mean_open():
    """Every report finds images that are not displaced: 37 are right, and the 2 others wrong."""
    split = make_split(40, 2)
    displaced = np.repeat(np.arange(40) < 3, 3)
    status = np.zeros_like(split.level_findings)
    status[:, 0] = displaced
    axes = np.eye(2, EMBED, dtype=np.float32)
    split = dataclasses.replace(
        split,
        level_findings=status,
        image_embeds=axes[np.where(displaced, 1, 0)],
        text_embeds=axes[np.zeros(120, np.int64)],
    )
    found = run("class_retrieval", FakeEmbedder(test=split), tasks=("disc_displacement",))
    name = "test/class_retrieval/disc_displacement"
    high = 1 - 0.025 ** (1 / 2)
    rare = f"{name}/displaced/text_to_image_precision_at_1"
    assert (found[rare], *ends_of(found, rare)) == pytest.approx((0, 0, high))
    mean = f"{name}/text_to_image_precision_at_1"
    low = 0.025 ** (1 / 37)
    assert found[mean] == 0.5
    assert ends_of(found, mean) == pytest.approx([0.5 - (1 - low) / 2, 0.5 + high / 2])
    # All reports tie for an image, so that images find none.
    assert found[f"{name}/balance_at_1"] == -0.5
    assert found[f"{name}/balance_at_1_ci_low"] == pytest.approx(-0.5 - high / 2)


def test_all_of_a_class_is_no_proof_of_always():
    """Images that hold their label: the trials are the patients of the class."""
    split = make_split(20, 2)
    label = np.where(split.level_findings[:, :1] == 1, 1, -1)
    at = np.eye(EMBED, dtype=np.float32)[:1]
    split = dataclasses.replace(
        split,
        image_embeds=label * at,
        text_embeds=label * at,
        report_group=np.arange(60).astype(str),
    )
    found = run("class_retrieval", FakeEmbedder(test=split), tasks=("disc_displacement",))
    name = "test/class_retrieval/disc_displacement/displaced/image_to_text_precision_at_1"
    patients = len(np.unique(split.patient_id[split.level_findings[:, 0] == 1]))
    assert found[name] == 1
    assert found[f"{name}_ci_low"] == pytest.approx(0.025 ** (1 / patients))
