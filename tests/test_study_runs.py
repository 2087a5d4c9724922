"""A run that pools studies, from its config to what is loaded, exported and measured of it."""

import numpy as np
import pytest

import lumbarclip_jax
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluate import trained_folder
from lumbarclip_jax.evaluators.study_embedder import StudyEmbedder
from lumbarclip_jax.evaluators.suite import BY_STUDY
from lumbarclip_jax.export import export
from lumbarclip_jax.finetune import initial_encoder
from lumbarclip_jax.report.examples import find_examples
from lumbarclip_jax.run_folder import start
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.train import train_and_evaluate
from tests import test_accumulation
from tests.tiny_runs import tiny_config


def config_of(dataset, pooling="attention"):
    config = tiny_config(dataset)
    config.data.update(image_views=2, other_images=("level",), level_prefix=False)
    config.data.global_batch_size = 8
    config.model.study_pooling = pooling
    config.model.image_encoder.sizes = test_accumulation.IMAGE_ENCODERS["vit"]
    config.model.text_encoder.sizes = test_accumulation.tiny_config().model.text_encoder.sizes
    config.total_steps, config.optim.warmup_steps, config.optim.lr = 3, 1, 0.01
    config.eval.update(at_the_end=("retrieval",), every_steps=0, bootstrap_resamples=20)
    return config


@pytest.fixture(scope="module")
def trained(tiny_dataset, tmp_path_factory, plain_page):
    """(folder, metrics, run)"""
    folder = tmp_path_factory.mktemp("study") / "run"
    metrics = train_and_evaluate(config_of(tiny_dataset), folder)
    return folder, metrics, load_run(folder)


def test_training_moves_the_attention_and_is_measured_by_study(trained):
    _, metrics, run = trained
    assert np.abs(run.state.params["study_pool"]["scores"]).max() > 1e-4
    assert metrics[BY_STUDY] == 1.0
    assert metrics["test/retrieval/studies"] == metrics["test/retrieval/patients"] > 1


def test_a_loaded_model_embeds_a_study_as_it_is_measured(trained, tiny_dataset):
    folder, _, run = trained
    dataset, model = Dataset(tiny_dataset), lumbarclip_jax.load(folder)
    rows = np.flatnonzero(dataset.columns("test").study == 1)
    images = dataset.images("test", rows)
    expected = run.embedder(dataset)(run.state, "test").image_embeds[1]
    np.testing.assert_allclose(model.encode_study(images), expected, atol=1e-6)
    np.testing.assert_allclose(model.encode_study(images[::-1]), expected, atol=1e-6)
    alone = model.encode_image(images[:1])[0]
    np.testing.assert_allclose(model.encode_study(images[0]), alone, atol=1e-6)
    with pytest.raises(ValueError, match="a study has images, and here is none"):
        model.encode_study([])


def test_without_learnt_pooling_a_study_is_the_mean(tiny_run, tiny_dataset):
    model = lumbarclip_jax.load(tiny_run.folder)
    images = Dataset(tiny_dataset).images("test", [0, 1, 2])
    total = model.encode_image(images).sum(axis=0)
    expected = total / np.linalg.norm(total)
    np.testing.assert_allclose(model.encode_study(images), expected, atol=1e-6)


def test_an_export_pools_or_is_refused(trained, tmp_path, tiny_dataset):
    folder, _, _ = trained
    for form in ("hf", "stablehlo"):
        with pytest.raises(ValueError, match=f"has no form in {form}: export it with --format=saf"):
            export(folder, form, tmp_path / form)
        assert not (tmp_path / form).exists()
    export(folder, "safetensors", tmp_path / "exported")
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "model.encode_study([" in card
    assert "All numbers are of studies" in card
    images = Dataset(tiny_dataset).images("test", [0, 1, 2])
    own, other = (lumbarclip_jax.load(of) for of in (folder, tmp_path / "exported"))
    np.testing.assert_array_equal(other.encode_study(images), own.encode_study(images))


def test_either_unit_can_be_measured_of_a_run(trained):
    folder, metrics, _ = trained
    options = {"evaluators": ("retrieval",), "resamples": 20}
    by_study, kept = trained_folder.measured(folder, "", "test", **options)
    assert {**by_study, **metrics} == by_study
    assert len(kept.ranks["test/retrieval/image_to_text"][0]) == metrics["test/retrieval/studies"]
    by_image, _ = trained_folder.measured(folder, "", "test", **options, unit="image")
    assert by_image["test/retrieval/images"] == 3 * metrics["test/retrieval/studies"]
    assert BY_STUDY not in by_image


def test_the_page_has_studies_in_its_gallery_and_images_in_its_maps(trained, tiny_dataset):
    _, metrics, run = trained
    embedder = run.embedder(Dataset(tiny_dataset))
    assert isinstance(embedder, StudyEmbedder)
    examples = find_examples(run, embedder, "test")
    assert examples.gallery.images == metrics["test/retrieval/studies"]
    assert {query.level for query in examples.gallery.image_queries} == {"all"}
    assert {one.level for one in examples.maps.images} <= {"L3-L4", "L4-L5", "L5-S1"}


def test_a_fine_tune_begins_from_the_image_encoder(trained):
    _, _, run = trained
    initial = initial_encoder.from_run(run)
    assert initial.variables["params"] is run.state.params["image_encoder"]


@pytest.mark.parametrize("pooling", ["", "mean", "attention"])
def test_a_run_begins_with_the_pooling_of_its_own_config(trained, tiny_dataset, pooling):
    folder, _, run = trained
    config = config_of(tiny_dataset, pooling)
    config.model.pretrained = str(folder)
    adopted, earlier = start.adopt(config)
    assert adopted.model.study_pooling == pooling
    params = set(earlier.variables(run.model)["params"])
    left = set() if pooling == "attention" else {"study_pool"}
    assert params == set(run.state.params) - left
