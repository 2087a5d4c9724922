"""Runs that start from published checkpoints: their weights, their vocabulary, their sizes."""

import json
import logging
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import resnet_linear, vit_linear
from lumbarclip_jax import sharding, train
from lumbarclip_jax.models import build_model, unstack_layers
from lumbarclip_jax.models.patches import resize_positions
from lumbarclip_jax.models.pretrained.loading import from_hf
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.training import train_step, warm_start
from tests.pretrained_folders import recorded, write, write_vocabulary

pytestmark = pytest.mark.usefixtures("plain_page")


def text_checkpoint(folder, vocabulary: int = 40, **tokenizer_config):
    write_vocabulary(write(folder, "bert") / "vocab.txt", vocabulary)
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    return folder


def tiny_config(dataset, image="", text="", run_file=vit_linear):
    config = run_file.get_config("quick")
    config.total_steps = 3
    config.log_every_steps = 1
    config.data.update(
        dir=str(dataset), global_batch_size=8, image_size_px=32, crop_px=32, max_tokens=12
    )
    config.model.embed_dim = 16
    config.model.image_encoder.pretrained = str(image)
    config.model.text_encoder.pretrained = str(text)
    config.optim.warmup_steps = 1
    config.optim.lr = 1e-2
    config.eval.update(every_steps=0, batch_size=8, bootstrap_resamples=2)
    return config


def flat(tree) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


@pytest.mark.slow
def test_a_frozen_published_text_encoder_keeps_every_bit(tiny_dataset, tmp_path, caplog):
    image, text = write(tmp_path / "vit", "vit"), text_checkpoint(tmp_path / "bert")
    config = tiny_config(tiny_dataset, image, text)
    config.optim.frozen = ("text_encoder/.*",)
    with caplog.at_level(logging.INFO):
        train.train_and_evaluate(config, tmp_path / "run")
    assert f"bert of {text}, in its sizes (variant tiny is not used)" in caplog.text
    published = {"image": from_hf(image)[1]["params"], "text": from_hf(text)[1]["params"]}

    # Nothing of the checkpoints is needed again.
    shutil.rmtree(image)
    shutil.rmtree(text)
    run = load_run(tmp_path / "run")
    assert run.config.model.text_encoder.sizes.width == 16
    assert run.tokenizer.vocab_size == 40
    assert int(run.state.step) == 3
    published["text"].pop("pooler")  # its pooling is cls
    trained, before = flat(run.state.params["text_encoder"]), flat(published["text"])
    assert trained.keys() == before.keys()
    for path, array in trained.items():
        np.testing.assert_array_equal(array, before[path], strict=True)
    kernel = "['layer_0']['mlp']['fc1']['kernel']"
    moved = flat(run.state.params["image_encoder"])[kernel] - flat(published["image"])[kernel]
    # Three Adam steps at a rate of 0.01.
    assert 0.001 < np.abs(moved).max() < 0.1


def test_training_begins_at_the_published_weights(tmp_path):
    """Before the first step, on the devices and in the layout that the run keeps them in."""
    image, text = write(tmp_path / "vit", "vit"), text_checkpoint(tmp_path / "bert")
    config = tiny_config("", image, text)
    config.model.scan_layers = True
    config.model.text_encoder.pooling = "pooler"
    config, start = warm_start.adopt(config)
    mesh = sharding.make_mesh(fsdp=2)
    model = build_model(config.model, 40)
    state, _ = train_step.create_train_state(model, config, mesh)
    loaded = train_step.replace_variables(state, start.variables(model))

    before = jax.tree.map(lambda leaf: leaf.sharding, state.params)
    assert jax.tree.map(lambda leaf: leaf.sharding, loaded.params) == before
    assert any("fsdp" in leaf.spec for leaf in jax.tree.leaves(before))
    params = unstack_layers(jax.device_get(loaded.params))
    _, text_variables = from_hf(text)
    jax.tree.map(np.testing.assert_array_equal, params["text_encoder"], text_variables["params"])
    _, image_variables = from_hf(image)
    expected = {name: x for name, x in image_variables["params"].items() if name != "pooler"}
    # 4 x 4 patches were published, 8 x 8 are trained on.
    table = expected["position_embedding"]
    assert table.shape == (1 + 4 * 4, 16)
    resized = np.concatenate([table[:1], resize_positions(table[1:], (8, 8))])
    expected["position_embedding"] = resized
    jax.tree.map(np.testing.assert_array_equal, params["image_encoder"], expected)
    # What no checkpoint brings is as it was drawn.
    for name in ("image_projection", "text_projection"):
        drawn, kept = state.params[name], loaded.params[name]
        jax.tree.map(np.testing.assert_array_equal, drawn, kept)


def test_running_statistics_come_along(tmp_path):
    config = tiny_config("", write(tmp_path, "resnet"), run_file=resnet_linear)
    config, start = warm_start.adopt(config)
    variables = start.variables(build_model(config.model, 40))
    _, published = from_hf(tmp_path)
    assert start.vocabulary is None
    statistics = variables["batch_stats"]["image_encoder"]
    jax.tree.map(np.testing.assert_array_equal, statistics, published["batch_stats"])


@pytest.mark.parametrize("has_layer", [True, False])
def test_pooling_by_a_layer_needs_the_layer(tmp_path, has_layer):
    weights = recorded("bert", "weights/")
    if not has_layer:
        weights = {key: x for key, x in weights.items() if not key.startswith("pooler.")}
    write(text_checkpoint(tmp_path), "bert", weights)
    config = tiny_config("", text=tmp_path)
    config.model.text_encoder.pooling = "pooler"
    config, start = warm_start.adopt(config)
    model = build_model(config.model, 40)
    if has_layer:
        assert "pooler" in start.variables(model)["params"]["text_encoder"]
    else:
        with pytest.raises(ValueError, match=r"2 missing \(pooler.dense"):
            start.variables(model)


def test_timm_has_no_pooler_layer(tmp_path):
    save_file(recorded("timm_vit", "weights/"), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(str(recorded("timm_vit", "config")[""]))
    config = tiny_config("", image=tmp_path)
    config.model.image_encoder.pooling = "pooler"
    config, start = warm_start.adopt(config)
    with pytest.raises(ValueError, match=r"2 missing \(params/pooler"):
        start.variables(build_model(config.model, 40))


@pytest.mark.parametrize("cased", [True, False])
def test_the_tokenizer_of_the_checkpoint_decides_on_case(tmp_path, cased):
    text = text_checkpoint(tmp_path, do_lower_case=not cased)
    config = tiny_config("", text=text)
    config, start = warm_start.adopt(config)
    assert start.vocabulary == text / "vocab.txt"
    assert config.data.lowercase is not cased


def test_a_tokenizer_json_will_do(tmp_path):
    text = text_checkpoint(tmp_path)
    words = (text / "vocab.txt").read_text().split()
    tokenizer = {
        "model": {"type": "WordPiece", "vocab": {word: i for i, word in enumerate(words)}},
        "normalizer": {"type": "BertNormalizer", "lowercase": False, "strip_accents": None},
    }
    (text / "vocab.txt").unlink()
    (text / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = tiny_config("", text=text)
    config, start = warm_start.adopt(config)
    assert start.vocabulary == text / "tokenizer.json"
    assert config.data.lowercase is False
    tokenizer["model"]["type"] = "BPE"
    (text / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match=r"tokenizer.json is no WordPiece tokenizer"):
        warm_start.adopt(tiny_config("", text=text))


def test_other_rules_of_a_tokenizer_are_refused(tmp_path):
    text = text_checkpoint(tmp_path, do_lower_case=True, strip_accents=False)
    with pytest.raises(ValueError, match="rules of its own for accents"):
        warm_start.adopt(tiny_config("", text=text))


def test_a_checkpoint_of_another_architecture(tmp_path):
    swin, text = write(tmp_path / "swin", "swin"), text_checkpoint(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"holds a swin, .*image_encoder is a vit.*name=swin"):
        warm_start.adopt(tiny_config("", image=swin))
    with pytest.raises(ValueError, match=r"holds a bert, .* is a vit: pass a checkpoint of a vit$"):
        warm_start.adopt(tiny_config("", image=text))
    with pytest.raises(ValueError, match=r"holds a swin, .*text_encoder is a bert: pass .* bert$"):
        warm_start.adopt(tiny_config("", text=swin))


def test_a_text_encoder_needs_its_own_vocabulary(tmp_path):
    config = tiny_config("", text=write(tmp_path, "bert"))
    with pytest.raises(FileNotFoundError, match=r"has no vocabulary: place the vocab.txt"):
        _ = warm_start.adopt(config)[1].vocabulary
    text_checkpoint(tmp_path, vocabulary=30)
    with pytest.raises(ValueError, match="has 30 tokens, but the BERT beside it knows 40"):
        warm_start.adopt(config)


def test_without_checkpoints_a_config_stays_as_it_is():
    config = tiny_config("")
    before = config.to_json()
    adopted, start = warm_start.adopt(config)
    assert start.encoders == {}
    assert adopted.to_json() == config.to_json() == before
