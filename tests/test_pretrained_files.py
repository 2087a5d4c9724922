"""Published checkpoints in folders: what loads, what is left out, and what is refused how."""

import json
import logging

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from lumbarclip_jax.models.pretrained import key_tables, weights_hf
from lumbarclip_jax.models.pretrained.checkpoint_files import read_tensors
from lumbarclip_jax.models.pretrained.loading import from_hf
from tests.pretrained_folders import FAMILIES, recorded, write


def relative_error(actual, expected) -> float:
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def apply(folder, family):
    module, variables = from_hf(folder)
    return jax.jit(module.apply)(variables, **recorded(family, "inputs/"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_the_published_outputs(tmp_path, family):
    out = apply(write(tmp_path, family), family)
    for name in ("last_hidden_state", "pooled"):
        assert relative_error(out[name], recorded(family, name)[""]) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_return_bit_for_bit(tmp_path, family):
    weights = recorded(family, "weights/")
    _, variables = from_hf(write(tmp_path, family))
    returned, unknown = key_tables.to_published(variables, weights_hf.LAYOUTS[family].rules)
    assert unknown == []
    buffers = weights_hf.LAYOUTS[family].buffers
    assert returned.keys() == {key for key in weights if not key.endswith(buffers or ("\n",))}
    for key, tensor in returned.items():
        np.testing.assert_array_equal(tensor, weights[key], strict=True)


@pytest.mark.parametrize("family", ["vit", "swin", "resnet"])
def test_a_folder_of_timm_gives_the_published_outputs(tmp_path, family):
    tensors = recorded(f"timm_{family}", "weights/")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(str(recorded(f"timm_{family}", "config")[""]))
    module, variables = from_hf(tmp_path)
    out = jax.jit(module.apply)(variables, recorded(f"timm_{family}", "images")[""])
    for name in ("last_hidden_state", "pooled"):
        assert relative_error(out[name], recorded(f"timm_{family}", name)[""]) <= 1e-5


def task_model(family: str) -> dict[str, np.ndarray]:
    """The weights as a model with a task head keeps them, with buffers of old library versions."""
    head = {
        "bert": {"cls.predictions.bias": 40, "bert.embeddings.position_ids": 16},
        "vit": {"classifier.weight": 5, "vit.embeddings.mask_token": 3},
        "swin": {
            "classifier.bias": 5,
            "swin.encoder.layers.0.blocks.0.attention.self.relative_position_index": 9,
        },
        "resnet": {"classifier.1.weight": 5, "resnet.embedder.x.num_batches_tracked": 1},
    }[family]
    weights = {f"{family}.{k}": v for k, v in recorded(family, "weights/").items()}
    return weights | {key: np.zeros(size, np.float32) for key, size in head.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_head_is_left_out_and_named(tmp_path, family, caplog):
    with caplog.at_level(logging.INFO):
        out = apply(write(tmp_path, family, task_model(family)), family)
    assert relative_error(out["pooled"], recorded(family, "pooled")[""]) <= 1e-5
    heads = {"bert": "cls.predictions.bias", "vit": "classifier.weight", "swin": "classifier.bias"}
    assert f"1 tensors of other parts ({heads.get(family, 'classifier.1.weight')})" in caplog.text


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "module._orig_mod.model."])
def test_prefixes_of_training_code_are_left_out(tmp_path, wrapper):
    wrapped = {wrapper + key: tensor for key, tensor in task_model("vit").items()}
    _, variables = from_hf(write(tmp_path, "vit", wrapped))
    _, expected = from_hf(write(tmp_path, "vit"))
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_a_compiled_part_of_an_averaged_model_is_found(tmp_path):
    wrapped = {
        "module." + key.replace("bert.", "bert._orig_mod."): tensor
        for key, tensor in task_model("bert").items()
    }
    wrapped["n_averaged"] = np.array(7)
    _, variables = from_hf(write(tmp_path, "bert", wrapped))
    _, expected = from_hf(write(tmp_path, "bert"))
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_a_prefix_that_only_some_have_is_none(tmp_path):
    weights = recorded("resnet", "weights/")
    first = next(iter(weights))
    weights["module." + first] = weights.pop(first)
    with pytest.raises(ValueError, match=rf"1 missing.*1 unexpected \(module\.{first}\)"):
        from_hf(write(tmp_path, "resnet", weights))


@pytest.mark.parametrize(
    ("dtype", "name"), [(ml_dtypes.float8_e4m3fn, "F8_E4M3"), (ml_dtypes.float8_e5m2, "F8_E5M2")]
)
def test_numbers_that_need_a_scale_are_refused(tmp_path, dtype, name):
    weights = recorded("vit", "weights/")
    key = "encoder.layer.0.intermediate.dense.weight"
    weights[key] = weights[key].astype(dtype)
    folder = write(tmp_path, "vit", weights)
    with pytest.raises(ValueError, match=rf"model\.safetensors holds {key} in {name}: pass"):
        from_hf(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.astype(np.int8), "1 in whole numbers"),
        (lambda x: np.where(x == x.max(), np.nan, x), "1 not finite"),
    ],
)
def test_weights_that_are_no_finite_floats_are_refused_by_name(tmp_path, change, words):
    weights = recorded("bert", "weights/")
    key = "encoder.layer.0.intermediate.dense.weight"
    weights[key] = change(weights[key])
    with pytest.raises(ValueError, match=rf"{words} \({key}\)"):
        from_hf(write(tmp_path, "bert", weights))


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_without_a_pooler_layer_the_first_token_is_pooled(tmp_path, family):
    weights = recorded(family, "weights/")
    without = {key: x for key, x in weights.items() if not key.startswith("pooler.")}
    assert len(without) == len(weights) - 2
    out = apply(write(tmp_path, family, without), family)
    np.testing.assert_array_equal(out["pooled"], out["last_hidden_state"][:, 0])
    assert relative_error(out["pooled"], recorded(family, "last_hidden_state")[""][:, 0]) <= 1e-5


def test_shards_are_joined(tmp_path):
    weights = recorded("bert", "weights/")
    folder, names = write(tmp_path, "bert"), sorted(weights)
    (folder / "model.safetensors").unlink()
    shards = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, keys in shards.items():
        save_file({key: weights[key] for key in keys}, folder / file)
    weight_map = {key: file for file, keys in shards.items() for key in keys}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert relative_error(apply(folder, "bert")["pooled"], recorded("bert", "pooled")[""]) <= 1e-5

    weight_map["pooler.dense.weight"] = "model-1.safetensors"
    index.write_text(json.dumps({"weight_map": weight_map | {"more": "model-1.safetensors"}}))
    with pytest.raises(ValueError, match=r"lack 1 tensors it names, more among them"):
        from_hf(folder)
    index.write_text(json.dumps({"weight_map": weight_map | {"more": "../secret.safetensors"}}))
    with pytest.raises(ValueError, match=r"outside its folder, '../secret.safetensors'"):
        from_hf(folder)
    index.write_text("{}")
    with pytest.raises(ValueError, match=r"index.json has no weight_map"):
        from_hf(folder)
    index.write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-2.safetensors is missing"):
        from_hf(folder)


def test_names_of_the_tensorflow_age(tmp_path):
    """The scale and bias of a norm, as bert-base-uncased has them on the hub."""
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in recorded("bert", "weights/").items()
    }
    assert sum("gamma" in key for key in old) == 5
    out = apply(write(tmp_path, "bert", old), "bert")
    assert relative_error(out["pooled"], recorded("bert", "pooled")[""]) <= 1e-5


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_any_float_comes_as_float32(tmp_path, dtype):
    save_file({"x": np.arange(3).astype(dtype), "i": np.arange(3)}, tmp_path / "model.safetensors")
    tensors = read_tensors(tmp_path)
    assert tensors["x"].dtype == np.float32
    assert tensors["x"].tolist() == [0, 1, 2]
    assert tensors["i"].dtype == np.int64


def test_every_difference_is_listed_by_its_published_name(tmp_path):
    weights = recorded("bert", "weights/")
    del weights["encoder.layer.1.output.dense.bias"]
    weights["encoder.layer.0.adapter.weight"] = np.zeros(2, np.float32)
    weights["embeddings.word_embeddings.weight"] = np.zeros((41, 16), np.float32)
    with pytest.raises(ValueError, match="are not those of the model") as error:
        from_hf(write(tmp_path, "bert", weights))
    assert "1 missing (encoder.layer.1.output.dense.bias)" in str(error.value)
    assert "1 unexpected (encoder.layer.0.adapter.weight)" in str(error.value)
    assert (
        "1 of another shape (embeddings.word_embeddings.weight [41, 16] instead of [40, 16])"
        in str(error.value)
    )
    assert str(tmp_path) in str(error.value)


def test_long_lists_are_cut_after_ten(tmp_path):
    with pytest.raises(ValueError, match=r"unexpected \(([^,]+, ){10}\.\.\.\)"):
        from_hf(write(tmp_path, "bert", num_hidden_layers=1))


def test_a_key_outside_the_prefix_does_not_pass_for_one_inside(tmp_path):
    weights = task_model("bert")
    weights["pooler.dense.bias"] = weights.pop("bert.pooler.dense.bias")
    with pytest.raises(ValueError, match=r"1 missing \(pooler.dense.bias\)") as error:
        from_hf(write(tmp_path, "bert", weights))
    assert "1 unexpected (pooler.dense.bias outside bert.)" in str(error.value)


def test_weights_of_another_architecture_than_the_config(tmp_path):
    folder = write(tmp_path, "vit", recorded("bert", "weights/"))
    with pytest.raises(ValueError, match=r"missing .*cls_token.*unexpected .*word_embeddings"):
        from_hf(folder)


@pytest.mark.parametrize(
    ("family", "option", "value"),
    [
        ("bert", "position_embedding_type", "relative_key"),
        ("bert", "hidden_act", "silu"),
        ("vit", "hidden_act", "quick_gelu"),
        ("swin", "use_absolute_embeddings", True),
        ("resnet", "layer_type", "inverted"),
        ("vit", "patch_size", [4, 2]),
        ("bert", "model_type", "roberta"),
    ],
)
def test_an_option_that_is_not_known_here_is_named(tmp_path, family, option, value):
    with pytest.raises(ValueError, match="pass ") as error:
        from_hf(write(tmp_path, family, **{option: value}))
    assert str(tmp_path / "config.json") in str(error.value)
    assert str(value) in str(error.value)


def test_a_config_without_sizes_or_architecture(tmp_path):
    folder = write(tmp_path, "bert")
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 16}')
    with pytest.raises(ValueError, match=r"config.json lacks num_hidden_layers"):
        from_hf(folder)
    (folder / "config.json").write_text('{"hidden_size": 16}')
    with pytest.raises(ValueError, match=r"neither the model_type .* nor the architecture"):
        from_hf(folder)
    (folder / "config.json").write_text('{"model_type"')
    with pytest.raises(ValueError, match=r"config.json is not JSON"):
        from_hf(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config.json"):
        from_hf(folder)
