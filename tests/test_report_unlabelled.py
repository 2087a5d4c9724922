"""The page of a data set without labels: nothing grey, nothing empty, no false caption."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.evaluators import evaluator_class
from lumbarclip_jax.evaluators.gallery import retrieval_gallery
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.report.embedding_map import embedding_map
from lumbarclip_jax.report.examples import Examples
from lumbarclip_jax.report.maps import ImageMaps, Maps
from tests.fake_embedder import FakeEmbedder, make_split
from tests.report_pages import MANIFEST, Page, write


def maps(label: str) -> Maps:
    one = ImageMaps(
        image=np.zeros((8, 8), np.uint8),
        level="L4-L5",
        label=label,
        report="Normal discs.",
        cosine=0.25,
        similarity=np.eye(2),
        contrast=np.eye(2),
        saliency=np.ones((4, 4)),
    )
    return Maps("test", "disc_displacement", ("no", "yes"), True, True, 4, 0.5, (one, one))


def without_labels(split):
    return dataclasses.replace(
        split,
        level_findings=np.zeros_like(split.level_findings),
        findings=np.zeros_like(split.findings),
        pfirrmann=np.zeros_like(split.pfirrmann),
    )


def page_of(folder, embedder, label: str, sources: dict) -> Page:
    """The page of a run that was measured by the evaluators of a training run."""
    metrics, kept = {}, Kept()
    tasks = {"tasks": ("disc_displacement", "pfirrmann_ge_3", "disc_bulge")}
    for name, options in (("retrieval", {}), ("zero_shot", tasks), ("linear_probe", tasks)):
        evaluator = evaluator_class(name)(embedder, split="test", resamples=20, **options)
        found, answered = evaluator.run(None)
        metrics, kept = metrics | found, kept | answered
    examples = Examples(
        gallery=retrieval_gallery(embedder, None, "test", queries=1),
        embeddings=embedding_map(embedder, None, "test"),
        maps=maps(label),
        parameters=1_370_000,
    )
    manifest = MANIFEST | sources
    return write(folder, metrics=metrics, kept=kept, examples=examples, manifest=manifest)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory) -> Page:
    embedder = FakeEmbedder(
        **{
            name: without_labels(make_split(patients, seed))
            for seed, (name, patients) in enumerate(
                (("train", 40), ("validation", 20), ("test", 20))
            )
        }
    )
    sources = {"findings_source": "none", "grades_source": "none"}
    return page_of(tmp_path_factory.mktemp("run"), embedder, "", sources)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Page:
    embedder = FakeEmbedder(
        train=make_split(40, 0), validation=make_split(20, 1), test=make_split(20, 2)
    )
    sources = {"findings_source": "given", "grades_source": "given"}
    return page_of(tmp_path_factory.mktemp("run"), embedder, "no", sources)


def pictures(page: Page) -> list[str]:
    return [image["alt"] for image in page.attributes("img")]


def test_the_map_of_embeddings_is_coloured_by_what_is_known(labelled, unlabelled):
    assert any(alt.startswith("Coloured by disc displacement at the") for alt in pictures(labelled))
    assert not any("not labelled" in alt for alt in pictures(unlabelled))
    assert any(alt.startswith("Coloured by disc level") for alt in pictures(unlabelled))
    assert "no image has a label to be coloured by" in unlabelled.text
    assert "the next by the classes of disc displacement at the level; normal or" in labelled.text
    assert "the next by" not in unlabelled.text


def test_maps_do_not_claim_to_be_drawn_by_label(labelled, unlabelled):
    claim = "with and without disc displacement at the level in turn"
    assert claim in labelled.text
    assert claim not in unlabelled.text
    assert "by its label" not in unlabelled.text


def test_tasks_are_gone_and_the_reason_is_one_sentence(labelled, unlabelled):
    assert unlabelled.text.count("No classification was measured, as the data set has no") == 1
    for gone in ("AUROC", "Confusion matrix", "Reliability", " 0 queries", " 0 images"):
        assert gone not in unlabelled.text
    for there in ("AUROC", "Confusion matrix", "Reliability"):
        assert there in labelled.text
    tiles = [of for of in unlabelled.attributes("div") if of.get("class") == "tile"]
    assert len(tiles) == 2  # recall both ways
    assert {link["href"] for link in unlabelled.attributes("a")} <= {
        f"#{attributes['id']}" for _, attributes in unlabelled.tags if "id" in attributes
    }


def test_size_of_the_model_and_what_the_file_holds_are_said(unlabelled):
    assert "LumbarCLIP of 1.37 million parameters" in unlabelled.text
    assert "This file contains report texts and images of the data set : hand it on" in (
        unlabelled.text
    )
