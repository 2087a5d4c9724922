"""Runs that start from the image tower of a SigLIP: its sizes, its pooling, its weights."""

import dataclasses
import json
import logging

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs import vit_linear
from lumbarclip_jax.export import huggingface
from lumbarclip_jax.models import build_model
from lumbarclip_jax.models.patches import resize_positions
from lumbarclip_jax.models.pretrained.loading import from_siglip
from lumbarclip_jax.models.vit import ViT
from lumbarclip_jax.training import train_step, warm_start
from tests.pretrained_folders import SIGLIP, write_siglip
from tests.tiny_runs import make_run, tiny_config


def siglip_config(folder, dataset="", pooling="cls"):
    config = tiny_config(dataset)
    config.model.image_encoder.pretrained = str(folder)
    config.model.image_encoder.pooling = pooling
    return config


def image_tensors(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the image tower, as `SiglipVisionModel` alone names them."""
    prefix = "vision_model."
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def test_the_image_tower_pools_as_it_was_published(tmp_path, caplog):
    tensors = write_siglip(tmp_path)
    with caplog.at_level(logging.INFO):
        config, start = warm_start.adopt(siglip_config(tmp_path))
        model = build_model(config.model, 40)
        variables = start.variables(model)
    assert config.model.image_encoder.pooling == "map"
    assert "image_encoder: no class token, so pooling is map" in caplog.text
    others = len(tensors) - len(image_tensors(tensors))
    assert f"left out {others} tensors of other parts (logit_bias, logit_scale, text" in caplog.text
    whole, published = from_siglip(tmp_path)
    assert model.image_encoder == whole.image_encoder
    expected = published["params"]["image_encoder"]
    brought = variables["params"]["image_encoder"]
    jax.tree.map(np.testing.assert_array_equal, brought, expected)


def test_pooling_by_the_mean_leaves_the_head_out(tmp_path, caplog):
    write_siglip(tmp_path)
    config, start = warm_start.adopt(siglip_config(tmp_path, pooling="mean"))
    model = build_model(config.model, 40)
    with caplog.at_level(logging.INFO):
        variables = start.variables(model)
    assert model.image_encoder.pooling == "mean"
    assert "left out its pooler, pooling is mean" in caplog.text
    assert "pool" not in variables["params"]["image_encoder"]


def test_positions_are_resampled_to_the_images_of_the_run(tmp_path):
    table = write_siglip(tmp_path)["vision_model.embeddings.position_embedding.weight"]
    config = siglip_config(tmp_path)
    config.data.image_size_px = 48
    config, start = warm_start.adopt(config)
    variables = start.variables(build_model(config.model, 40))
    actual = variables["params"]["image_encoder"]["position_embedding"]
    np.testing.assert_array_equal(actual, resize_positions(table, (6, 6)))


def test_the_text_tower_cannot_start_a_run(tmp_path):
    write_siglip(tmp_path)
    config = vit_linear.get_config("quick")
    config.model.text_encoder.pretrained = str(tmp_path)
    with pytest.raises(ValueError, match=r"another tokenizer than a run's: take its image tower"):
        warm_start.adopt(config)


def test_a_classifier_of_images_brings_its_tower(tmp_path):
    """As `SiglipForImageClassification` is saved: one tower, and a head on its mean."""
    tensors = write_siglip(
        tmp_path, vision_config=SIGLIP["vision_config"] | {"vision_use_head": False}
    )
    kept = {
        key: x
        for key, x in tensors.items()
        if key.startswith("vision_model.") and not key.startswith("vision_model.head.")
    }
    save_file(kept | {"classifier.bias": np.zeros(2, np.float32)}, tmp_path / "model.safetensors")
    config, start = warm_start.adopt(siglip_config(tmp_path))
    assert config.model.image_encoder.pooling == "mean"
    variables = start.variables(build_model(config.model, 40))
    count = sum(x.size for x in jax.tree.leaves(variables["params"]["image_encoder"]))
    assert count == sum(x.size for x in kept.values())


@pytest.mark.parametrize("pooling", ["cls", "pooler"])
def test_without_class_token_no_pooling_takes_it(pooling):
    with pytest.raises(
        ValueError, match=r"without class token cannot pool by .*: set pooling to map"
    ):
        ViT(16, 2, 2, 24, 8, pooling, use_class_token=False)


def test_the_tower_returns_bit_for_bit_from_the_export_of_a_run(tiny_dataset, tmp_path):
    tensors = write_siglip(tmp_path / "siglip")
    config, start = warm_start.adopt(siglip_config(tmp_path / "siglip", tiny_dataset))
    run = make_run(tmp_path / "run", config)
    state = train_step.replace_variables(run.state, start.variables(run.model))
    (tmp_path / "out").mkdir()
    huggingface.write(dataclasses.replace(run, state=state), tmp_path / "out")
    written = load_file(tmp_path / "out" / "image_encoder" / "model.safetensors")
    expected = image_tensors(tensors)
    assert written.keys() == expected.keys()
    for key, tensor in written.items():
        np.testing.assert_array_equal(tensor, expected[key], strict=True)
    said = json.loads((tmp_path / "out" / "image_encoder" / "config.json").read_text())
    assert said["vision_use_head"]
    assert {key: said[key] for key in SIGLIP["vision_config"]} == SIGLIP["vision_config"]
