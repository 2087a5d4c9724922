"""open_clip checkpoints: live against open_clip, and by the keys it documents without it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from safetensors.numpy import save_file

from lumbarclip_jax.models.pretrained import key_tables, loading, weights_open_clip
from lumbarclip_jax.models.pretrained.loading import from_hf, from_open_clip, open_encoder
from lumbarclip_jax.models.projection import Projection
from tests.pretrained_folders import config, write_vocabulary
from tests.torchvision_shim import import_module

VISION = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear"}
TEXT = {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
IMAGES = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)
IDS = np.array([[2, 5, 9, 17, 3, 0, 0], [2, 39, 5, 6, 7, 8, 3]])


def write_configs(folder, vision: dict, text: dict):
    """open_clip_config.json, and the config.json of the tiny BERT it names."""
    text = {"hf_model_name": str(folder), "hf_model_pretrained": False} | text
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    (folder / "config.json").write_text(json.dumps(config("bert")))
    return model


def write_random(folder, vision=VISION, text=TEXT) -> dict[str, np.ndarray]:
    """A folder of random weights under the keys that our tables give the model."""
    write_configs(folder, vision, text)
    clip = weights_open_clip.read_config(folder)
    rng = np.random.default_rng(0)
    tensors = {}
    for tower in (clip.image_encoder, clip.text_encoder):
        shapes = tower.shapes(tower.module(tower.pooling))
        published = key_tables.published_shapes(shapes, tower.layout.rules)
        tensors |= {tower.layout.prefix + key: shape for key, shape in published.items()}
    width = clip.text_encoder.sizes["width"]
    tensors |= {"visual.head.proj.weight": (24, 192), "logit_scale": ()}
    tensors |= {"text.proj.0.weight": (20, width), "text.proj.2.weight": (24, 20)}
    tensors = {key: rng.normal(size=shape).astype(np.float32) for key, shape in tensors.items()}
    tensors = join_fused(tensors)
    save_file(tensors, folder / "open_clip_model.safetensors")
    return tensors


def join_fused(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Queries, keys and values in one layer, as timm has them."""
    thirds = [key for key in tensors if key.endswith("[query]")]
    joined = {key: x for key, x in tensors.items() if not key.endswith("]")}
    for key in thirds:
        stem = key.removesuffix("[query]")
        parts = [tensors[f"{stem}[{part}]"] for part in ("query", "key", "value")]
        joined[stem] = np.concatenate(parts)
    return joined


@pytest.fixture(scope="module")
def open_clip():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    try:
        return import_module("open_clip")
    except ImportError as error:
        pytest.skip(f"open_clip does not import ({error})")


def relative_error(actual, expected) -> float:
    expected = expected.detach().numpy()
    return float(np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vision", "text", "bias"),
    [
        (VISION, TEXT, None),  # BiomedCLIP's
        (
            VISION | {"timm_pool": "avg", "timm_proj_bias": True},
            {"hf_proj_type": "linear", "hf_pooler_type": "mean_pooler"},
            -10.0,
        ),
        (VISION, TEXT | {"hf_pooler_type": "cls_pooler"}, None),
    ],
    ids=["biomedclip", "means", "pooler"],
)
def test_embeddings_are_those_of_open_clip(open_clip, tmp_path, vision, text, bias):
    import torch

    torch.manual_seed(0)
    fields = write_configs(tmp_path, vision, text)
    published = open_clip.model.CustomTextCLIP(**fields, init_logit_bias=bias).eval()
    with torch.no_grad():
        for parameter in published.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    tensors = {key: x.numpy().copy() for key, x in published.state_dict().items()}
    tensors["text.transformer.embeddings.position_ids"] = np.arange(16)[None]
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    write_vocabulary(tmp_path / "vocab.txt", 40)

    model, variables = from_open_clip(tmp_path)
    out = jax.jit(model.apply)(variables, IMAGES, IDS, (IDS > 0).astype(np.int32))
    with torch.no_grad():
        images = published.encode_image(torch.tensor(IMAGES).permute(0, 3, 1, 2), normalize=True)
        texts = published.encode_text(torch.tensor(IDS), normalize=True)
        trunk = published.visual.trunk(torch.tensor(IMAGES).permute(0, 3, 1, 2))
    assert relative_error(out["image_embeds"], images) <= 1e-5
    assert relative_error(out["text_embeds"], texts) <= 1e-5
    assert relative_error(out["image_features"], trunk) <= 1e-5
    assert out["logit_scale"] == published.logit_scale.item()
    assert out.get("logit_bias") == (None if bias is None else published.logit_bias.item())
    count = sum(x.size for x in jax.tree.leaves(variables))
    assert count == sum(x.numel() for x in published.parameters())


def test_one_tower_can_be_taken_alone(tmp_path):
    tensors = write_random(tmp_path)
    image = open_encoder(tmp_path, "image_encoder")
    variables = image.variables(image.module("cls"), image.tensors())
    kernel = variables["params"]["layer_3"]["attention"]["key"]["kernel"]
    fused = tensors["visual.trunk.blocks.3.attn.qkv.weight"]
    np.testing.assert_array_equal(kernel, fused[192:384].T)

    text = open_encoder(tmp_path, "text_encoder")
    variables = text.variables(text.module("cls"), text.tensors())
    words = variables["params"]["word_embedding"]["embedding"]
    np.testing.assert_array_equal(
        words, tensors["text.transformer.embeddings.word_embeddings.weight"]
    )


def test_the_whole_has_every_tensor_in_its_place(tmp_path):
    tensors = write_random(tmp_path)
    module, variables = from_open_clip(tmp_path)
    assert module.image_projection.kind == "linear_no_bias"
    assert module.text_projection.kind == "gelu"
    layout = weights_open_clip.read_config(tmp_path).layout
    returned, unknown = key_tables.to_published(meta.unbox(variables), layout.rules)
    assert unknown == []
    returned = join_fused(returned)
    assert returned.keys() == tensors.keys()
    for key, tensor in returned.items():
        np.testing.assert_array_equal(tensor, tensors[key], strict=True)


def test_the_gelu_head_is_two_layers_without_biases():
    """GELU(x) = x Φ(x): of 1 and -1, 0.8413447 and -0.1586553."""
    head = Projection(2, "gelu")
    kernels = {"fc1": np.array([[1.0, -1.0, 0.0]] + 3 * [[0.0] * 3]), "fc2": np.eye(3)[:, :2]}
    params = {name: {"kernel": kernel.astype(np.float32)} for name, kernel in kernels.items()}
    out = head.apply({"params": params}, jnp.eye(4)[:1])
    np.testing.assert_allclose(out, [[0.8413447, -0.1586553]], rtol=1e-6)


def biomedclip_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in BiomedCLIP: ViT-B/16, PubMedBERT without its pooler, 512 shared."""
    shapes = {
        "logit_scale": (),
        "visual.head.proj.weight": (512, 768),
        "text.proj.0.weight": (640, 768),
        "text.proj.2.weight": (512, 640),
        "visual.trunk.cls_token": (1, 1, 768),
        "visual.trunk.pos_embed": (1, 197, 768),
        "visual.trunk.patch_embed.proj.weight": (768, 3, 16, 16),
        "visual.trunk.patch_embed.proj.bias": (768,),
        "text.transformer.embeddings.word_embeddings.weight": (30522, 768),
        "text.transformer.embeddings.position_embeddings.weight": (512, 768),
        "text.transformer.embeddings.token_type_embeddings.weight": (2, 768),
    }
    trunk = [f"visual.trunk.blocks.{i}." for i in range(12)]
    layers = [f"text.transformer.encoder.layer.{i}." for i in range(12)]
    linear = {block + "attn.qkv": (2304, 768) for block in trunk}
    linear |= {block + "attn.proj": (768, 768) for block in trunk}
    linear |= {block + "mlp.fc1": (3072, 768) for block in trunk}
    linear |= {block + "mlp.fc2": (768, 3072) for block in trunk}
    linear |= {
        f"{layer}attention.{part}": (768, 768)
        for layer in layers
        for part in ("self.query", "self.key", "self.value", "output.dense")
    }
    linear |= {layer + "intermediate.dense": (3072, 768) for layer in layers}
    linear |= {layer + "output.dense": (768, 3072) for layer in layers}
    norms = ["visual.trunk.norm", "text.transformer.embeddings.LayerNorm"]
    norms += [block + norm for block in trunk for norm in ("norm1", "norm2")]
    norms += [layer + f"{part}output.LayerNorm" for layer in layers for part in ("attention.", "")]
    shapes |= {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    return shapes | {f"{norm}.{part}": (768,) for norm in norms for part in ("weight", "bias")}


def test_every_tensor_of_biomedclip_has_a_place(tmp_path, monkeypatch):
    vision = VISION | {"timm_model_name": "vit_base_patch16_224", "image_size": 224}
    name = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    text = TEXT | {"hf_model_name": name, "hf_tokenizer_name": name, "context_length": 256}
    model = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    shapes = biomedclip_shapes() | {"one.more": ()}
    tensors = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    monkeypatch.setattr(loading, "read_tensors", lambda folder: tensors)
    with pytest.raises(ValueError, match=r"config describes: 1 unexpected \(one.more\); pass"):
        from_open_clip(tmp_path)


def test_bert_base_needs_no_config_beside_it(tmp_path):
    write_configs(tmp_path, VISION, TEXT | {"hf_model_name": "some/PubMedBERT-base-uncased"})
    (tmp_path / "config.json").unlink()
    sizes = weights_open_clip.read_config(tmp_path).text_encoder.sizes
    assert sizes == {
        "vocab_size": 30_522,
        "width": 768,
        "depth": 12,
        "heads": 12,
        "mlp_width": 3072,
    }
    write_configs(tmp_path, VISION, TEXT | {"hf_model_name": "some/MiniLM"})
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(FileNotFoundError, match=r"place the config.json of some/MiniLM"):
        from_open_clip(tmp_path)


@pytest.mark.parametrize(
    ("vision", "text", "said"),
    [
        ({"layers": 12, "width": 768}, TEXT, "names no timm image tower"),
        (VISION | {"timm_proj": "mlp"}, TEXT, "sets timm_proj='mlp'"),
        (VISION | {"timm_pool": "abs_attn"}, TEXT, "sets global_pool='abs_attn'"),
        (VISION | {"timm_model_name": "vit_medium_patch16_gap_256"}, TEXT, "vit_medium_patch16"),
        (VISION, TEXT | {"hf_proj_type": None}, "sets hf_proj_type=None"),
        (VISION, TEXT | {"hf_pooler_type": "max_pooler"}, "sets hf_pooler_type='max_pooler'"),
    ],
)
def test_other_open_clip_models_are_named(tmp_path, vision, text, said):
    write_configs(tmp_path, vision, text)
    with pytest.raises(ValueError, match="pass a ") as error:
        from_open_clip(tmp_path)
    assert said in str(error.value)
    assert "open_clip_config.json" in str(error.value)


def test_a_difference_is_listed_by_its_published_name(tmp_path):
    tensors = write_random(tmp_path)
    del tensors["visual.trunk.blocks.3.attn.qkv.bias"]
    tensors["text.proj.0.weight"] = np.zeros((21, 16), np.float32)
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(ValueError, match=r"3 missing \(visual.trunk.blocks.3.attn.qkv.bias") as e:
        from_open_clip(tmp_path)
    assert "text.proj.0.weight [21, 16] instead of [20, 16]" in str(e.value)


def test_from_hf_points_to_from_open_clip(tmp_path):
    write_configs(tmp_path, VISION, TEXT)
    with pytest.raises(ValueError, match="load it with from_open_clip"):
        from_hf(tmp_path)


def test_a_pickle_is_refused(tmp_path):
    write_configs(tmp_path, VISION, TEXT)
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"open_clip_pytorch_model.bin is a pickle.*python -c"):
        from_open_clip(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_the_file_may_have_either_name(tmp_path):
    tensors = write_random(tmp_path)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / "model.safetensors")
    _, variables = from_open_clip(tmp_path)
    assert variables["params"]["logit_scale"] == tensors["logit_scale"]
