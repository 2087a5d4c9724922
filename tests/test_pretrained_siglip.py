"""SigLIP checkpoints: read and written back bit for bit, and the outputs of transformers."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from lumbarclip_jax.models.pretrained import key_tables, loading, weights_siglip
from lumbarclip_jax.models.pretrained.loading import from_hf, from_siglip
from tests import slow
from tests.pretrained_folders import SIGLIP, siglip_shapes, write_siglip

LAYOUTS = weights_siglip.LAYOUTS


def vision(**fields) -> dict:
    """Overrides of a folder's config: fields of the image tower."""
    return {"vision_config": SIGLIP["vision_config"] | fields}


def text(**fields) -> dict:
    return {"text_config": SIGLIP["text_config"] | fields}


def published(variables, model_type: str) -> dict[str, np.ndarray]:
    """Our weights in the names and layouts of transformers."""
    layout = LAYOUTS[model_type]
    tensors, unknown = key_tables.to_published(variables, layout.rules)
    assert unknown == []
    return layout.restore(tensors)


def assert_same_bits(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]):
    assert actual.keys() == expected.keys()
    for key, tensor in actual.items():
        np.testing.assert_array_equal(tensor, expected[key], strict=True)


def test_both_towers_return_bit_for_bit(tmp_path):
    tensors = write_siglip(tmp_path)
    _, variables = from_siglip(tmp_path)
    assert_same_bits(published(variables, "siglip"), tensors)


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_the_image_tower_alone_is_read_by_from_hf(tmp_path, prefix):
    """transformers 5 writes it without the prefix that earlier versions gave it."""
    both, alone = tmp_path / "both", tmp_path / "alone"
    tensors = {
        key.removeprefix("vision_model."): x
        for key, x in write_siglip(both).items()
        if key.startswith("vision_model.")
    }
    alone.mkdir()
    (alone / "config.json").write_text(json.dumps(SIGLIP["vision_config"]))
    save_file({prefix + key: x for key, x in tensors.items()}, alone / "model.safetensors")
    module, variables = from_hf(alone)
    assert module == from_siglip(both)[0].image_encoder
    assert_same_bits(published(variables, "siglip_vision_model"), tensors)


BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
SO400M = {
    "hidden_size": 1152,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "intermediate_size": 4304,
}
# What the config.json of each leaves to the defaults of transformers, and what it says.
SIZES = {
    "google/siglip-base-patch16-224": (
        {"image_size": 224, "patch_size": 16, **BASE},
        {"vocab_size": 32_000, "max_position_embeddings": 64, **BASE},
        {},
        {},
    ),
    "google/siglip2-base-patch16-512": (
        {"patch_size": 16, **BASE},
        {"max_position_embeddings": 64, **BASE},
        {"image_size": 512},
        {"vocab_size": 256_000},
    ),
    "google/medsiglip-448": (
        {},
        {"vocab_size": 32_000, "max_position_embeddings": 64},
        {"image_size": 448, "patch_size": 14, **SO400M},
        SO400M,
    ),
}


@pytest.mark.parametrize("name", slow.but_first(SIZES))
def test_every_tensor_of_the_published_sizes_has_a_place(name, tmp_path, monkeypatch):
    image_defaults, text_defaults, image_fields, text_fields = SIZES[name]
    config = {"model_type": "siglip", "vision_config": image_fields, "text_config": text_fields}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shapes = siglip_shapes(
        {
            "vision_config": image_defaults | image_fields,
            "text_config": text_defaults | text_fields,
        }
    )
    # Integers, which `fit` lists, are not looked through for what is not finite.
    tensors = {key: np.broadcast_to(np.int8(0), shape) for key, shape in shapes.items()}
    tensors |= {"one.more": np.zeros(1, np.float32)}
    monkeypatch.setattr(loading, "read_tensors", lambda folder: tensors)
    with pytest.raises(ValueError, match=r"describes: 1 unexpected \(one.more\); \d+ in whole"):
        from_siglip(tmp_path)


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers")
    return pytest.importorskip("torch")


def assert_close(actual, expected):
    expected = expected.detach().numpy()
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)


def hidden_states(sown: dict) -> list[jax.Array]:
    """What goes into the first block of an encoder, and what comes out of each."""
    return [x["hidden_states"][0] for x in (sown, sown["layer_0"], sown["layer_1"])]


@pytest.mark.parametrize(("size_px", "masked"), [((32, 32), False), ((40, 26), True)])
def test_outputs_are_those_of_transformers(torch, tmp_path, size_px, masked):
    from transformers import SiglipModel

    write_siglip(tmp_path)
    theirs = SiglipModel.from_pretrained(tmp_path).eval()
    model, variables = from_siglip(tmp_path)
    rng = np.random.default_rng(1)
    images = rng.normal(0, 0.5, (2, *size_px, 3)).astype(np.float32)
    ids = rng.integers(0, 40, (3, 12), dtype=np.int32)
    mask = np.ones_like(ids)
    if masked:
        mask[1, 7:] = 0
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(ids).long(),
            pixel_values=torch.tensor(images).permute(0, 3, 1, 2),
            attention_mask=torch.tensor(mask) if masked else None,
            output_hidden_states=True,
            interpolate_pos_encoding=True,
        )

    apply = jax.jit(functools.partial(model.apply, mutable="intermediates"))
    out, sown = apply(variables, images, ids, mask)
    for tower, theirs in (("image", "vision"), ("text", "text")):
        ours = hidden_states(sown["intermediates"][f"{tower}_encoder"])
        states = expected[f"{theirs}_model_output"].hidden_states
        for actual, state in zip(ours, states, strict=True):
            assert_close(actual, state)
    assert_close(out["image_features"], expected.vision_model_output.pooler_output)
    assert_close(out["image_embeds"], expected.image_embeds)
    assert_close(out["text_embeds"], expected.text_embeds)
    cosines = out["image_embeds"] @ out["text_embeds"].T
    logits = jnp.exp(out["logit_scale"]) * cosines + out["logit_bias"]
    assert_close(logits, expected.logits_per_image)


def test_shards_of_transformers_return_bit_for_bit(torch, tmp_path):
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(**SIGLIP))
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    _, variables = from_siglip(tmp_path)
    expected = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    assert_same_bits(published(variables, "siglip"), expected)


def test_a_difference_is_listed_by_its_published_name(tmp_path):
    tensors = write_siglip(tmp_path)
    tensors["text_model.head.weight"] = np.zeros((16, 17), np.float32)
    tensors["vision_model.head.scale"] = tensors.pop("vision_model.head.probe")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"1 missing \(vision_model.head.probe\); 1 unexpected"
    ) as e:
        from_siglip(tmp_path)
    assert "unexpected (vision_model.head.scale)" in str(e.value)
    assert "text_model.head.weight [16, 17] instead of [16, 16]" in str(e.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"model_type": "siglip2"}, r"images of any shape \(NaFlex\).* pass one of a fixed size"),
        ({"model_type": "siglip_vision_model"}, "type 'siglip_vision_model': pass a SigLIP of"),
        ({"model_type": "clip"}, "type 'clip': pass a SigLIP of type siglip, such as google/sig"),
        (vision(vision_use_head=False), "features pooled by mean and texts of 16, which share no"),
        (text(projection_size=24), "images of 16 features pooled by map and texts of 24, which"),
        (vision(image_size=[32, 16]), r"images or patches of \[32, 16\]: pass a model of squares"),
        (vision(hidden_act="silu"), "sets hidden_act='silu': pass a checkpoint with one of gelu"),
    ],
)
def test_other_models_are_refused_in_a_sentence(tmp_path, overrides, said):
    write_siglip(tmp_path, **overrides)
    with pytest.raises(ValueError, match=said) as error:
        from_siglip(tmp_path)
    assert "config.json" in str(error.value)


def test_from_hf_points_to_from_siglip(tmp_path):
    write_siglip(tmp_path)
    with pytest.raises(ValueError, match="both towers of a SigLIP: load it with from_siglip"):
        from_hf(tmp_path)


def test_from_hf_refuses_a_text_tower_alone(tmp_path):
    write_siglip(tmp_path, model_type="siglip_text_model")
    with pytest.raises(ValueError, match="type 'siglip_text_model': pass a SigLIP of type siglip"):
        from_hf(tmp_path)


def test_texts_longer_than_the_positions_are_refused(tmp_path):
    write_siglip(tmp_path)
    model, variables = from_siglip(tmp_path)
    ids = jnp.ones((1, 13), jnp.int32)
    with pytest.raises(ValueError, match="13 tokens do not fit the 12 positions of this SigLIP"):
        model.apply(variables, ids, ids, method="encode_text")
