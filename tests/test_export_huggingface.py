"""Exported encoders in `transformers`: the same bits, the same features."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from data_prep.images import pixels
from lumbarclip_jax import inference
from lumbarclip_jax.export import huggingface
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.models.pretrained import key_tables
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.vit import ViT
from tests import slow
from tests.tiny_runs import make_run, tiny_config

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    ResNetConfig,
    ResNetModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
    dynamic_module_utils,
)

from tests.golden.reference import checkpoint, randomise

# No field at its default, so that one lost on the way changes the features.
TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "layer_norm_eps": 1e-2,
}
SIZES = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 24, "norm_epsilon": 1e-2}
IMAGES = torch.tensor(np.random.default_rng(0).normal(size=(2, 1, 24, 24)), dtype=torch.float32)
TOKENS = torch.tensor(np.random.default_rng(0).integers(1, 40, (2, 12)))
FAMILIES = {
    "bert": (
        lambda: BertModel(
            BertConfig(
                **TRANSFORMER,
                vocab_size=40,
                max_position_embeddings=12,
                type_vocab_size=3,
                hidden_act="gelu_new",
            )
        ),
        Bert(40, **SIZES, pooling="pooler", max_positions=12, token_types=3, activation="gelu_new"),
        {"input_ids": TOKENS, "attention_mask": (TOKENS > 8).long()},
    ),
    "vit": (
        lambda: ViTModel(
            ViTConfig(
                **TRANSFORMER,
                patch_size=6,
                image_size=24,
                num_channels=1,
                qkv_bias=False,
                hidden_act="relu",
            )
        ),
        ViT(
            **SIZES,
            pooling="pooler",
            patch_size=6,
            in_channels=1,
            use_qkv_bias=False,
            activation="relu",
        ),
        {"pixel_values": IMAGES},
    ),
    "swin": (
        lambda: SwinModel(
            SwinConfig(
                embed_dim=8,
                depths=[2, 1],
                num_heads=[1, 4],
                patch_size=2,
                window_size=3,
                mlp_ratio=2.0,
                num_channels=1,
                qkv_bias=False,
                hidden_act="relu",
            )
        ),
        Swin(
            8,
            (2, 1),
            (1, 4),
            patch_size=2,
            window=3,
            mlp_ratio=2.0,
            use_qkv_bias=False,
            activation="relu",
            in_channels=1,
        ),
        {"pixel_values": IMAGES},
    ),
    "resnet": (
        lambda: ResNetModel(
            ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[2, 1], num_channels=1)
        ),
        ResNet(8, (16, 32), (2, 1), in_channels=1),
        {"pixel_values": IMAGES},
    ),
    "siglip": (
        lambda: SiglipVisionModel(
            SiglipVisionConfig(
                **TRANSFORMER, patch_size=6, image_size=24, num_channels=1, hidden_act="relu"
            )
        ),
        ViT(
            **SIZES,
            pooling="map",
            patch_size=6,
            use_class_token=False,
            in_channels=1,
            activation="relu",
        ),
        {"pixel_values": IMAGES},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_pytorch_through_our_layout_and_back(family, tmp_path):
    make, module, inputs = FAMILIES[family]
    original = randomise(make())
    layout = huggingface.LAYOUTS[huggingface.family_of(module)]
    variables, unknown = key_tables.to_flax(layout.adapt(checkpoint(original)), layout.rules)
    assert unknown == []

    huggingface.write_encoder(tmp_path, module, variables, 24)
    loaded, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is type(original)
    assert not any(report.values())
    ours, theirs = loaded.state_dict(), original.state_dict()
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert torch.equal(ours[key], tensor), key
    with torch.no_grad():
        actual, expected = loaded.eval()(**inputs), original(**inputs)
    assert torch.equal(actual.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(actual.pooler_output, expected.pooler_output)


SIGLIP = {"sizes": SIZES | {"patch_size": 8, "use_class_token": False}}
RUNS = {
    "vit cls, linear": {},
    "vit pooler, positions of another size": {"image_encoder": {"pooling": "pooler"}},
    "vit mean, mlp, scanned": {
        "image_encoder": {"pooling": "mean"},
        "text_encoder": {"pooling": "mean"},
        "projection": {"kind": "mlp"},
        "scan_layers": True,
    },
    "resnet, convirt": {
        "image_encoder": {"name": "resnet", "variant": "XS", "pooling": "mean"},
        "text_encoder": {"pooling": "last"},
        "projection": {"kind": "convirt"},
        "logit_bias_init": -1.0,
    },
    "vit mean, features of hidden states": {
        "image_encoder": {"pooling": "mean"},
        "text_encoder": {"pooling": "mean_with_padding", "pool_layers": (0, 1, -1)},
        "feature_dim": 24,
        "projection": {"kind": "relu", "text_kind": "linear"},
    },
    "tower of siglip, its pooling": {"image_encoder": SIGLIP | {"pooling": "map"}},
    "tower of siglip, mean": {"image_encoder": SIGLIP | {"pooling": "mean"}},
    "swin, pooler": {
        "image_encoder": {"name": "swin", "variant": "XS", "pooling": "mean"},
        "text_encoder": {"pooling": "pooler"},
    },
}
TEXTS = ["disc protrusion touching the thecal sac", "normal study of the discs . ", "disc"]


@pytest.mark.parametrize("name", slow.but_first(RUNS))
def test_the_code_of_the_card_gives_our_embeddings(name, tiny_dataset, tmp_path, monkeypatch):
    config = tiny_config(tiny_dataset)
    config.model.update(RUNS[name])
    if "swin" in name:
        config.data.image_size_px = 112  # maps no smaller than a window
    if "positions" in name:
        config.data.image_size_px = 40
    run = make_run(tmp_path / "run", config)
    if "positions" in name:  # as a published checkpoint brings them
        config.data.image_size_px = 52
    folder = tmp_path / "out"
    folder.mkdir()
    huggingface.write(run, folder)

    monkeypatch.chdir(folder)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    slices = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    PIL.Image.fromarray(slices[0]).save("slice.png")
    card = {}
    for code in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S):
        exec(code, card)
    model = inference.Model(run)
    features = run.model.apply(
        {"params": run.state.params, "batch_stats": run.state.batch_stats},
        prepare_images(jnp.asarray(slices[:1, ..., None]), config.data),
        method="encode_image",
    )["image_features"]
    for actual, expected in (
        (card["encode_image"](list(slices)).numpy(), model.encode_image(slices)),
        (card["encode_text"](TEXTS).numpy(), model.encode_text(TEXTS)),
        (card["image_features"].numpy(), np.asarray(features)),
    ):
        assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)
    assert np.linalg.norm(model.encode_image(slices[:1]) - model.encode_image(slices[1:2])) > 0.01


@pytest.fixture
def processor(tiny_run, tmp_path, monkeypatch):
    huggingface.write(tiny_run, tmp_path)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    return AutoImageProcessor.from_pretrained(tmp_path / "image_encoder", trust_remote_code=True)


@pytest.mark.parametrize("shape", [(32, 32), (33, 40), (20, 31), (9, 60)])
def test_the_processor_prepares_slices_of_any_shape_as_training_does(shape, processor, tiny_run):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    stored = inference.stored_slice(image, pixels.Rendering(32))[None]
    expected = np.asarray(prepare_images(jnp.asarray(stored), tiny_run.config.data))[..., 0]
    coloured = PIL.Image.fromarray(image).convert("RGB")
    for form in (image, PIL.Image.fromarray(image), coloured, [image]):
        actual = processor(form, return_tensors="np")["pixel_values"]
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, np.repeat(expected[:, None], 3, 1), atol=2e-5)


@pytest.mark.parametrize("mode", ["I;16", "P", "RGB"])
def test_the_processor_refuses_what_is_not_8_bit_grey(mode, processor):
    image = PIL.Image.new(mode, (32, 32))
    image.putpixel((0, 0), (1, 2, 3) if mode == "RGB" else 1)
    with pytest.raises(ValueError, match="an image is not 8-bit grey: render it as the training"):
        processor(image)


def test_no_other_processor_takes_its_place(tiny_run, tmp_path):
    huggingface.write(tiny_run, tmp_path)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        AutoImageProcessor.from_pretrained(tmp_path / "image_encoder", trust_remote_code=False)


def test_the_tokenizer_gives_our_ids(tiny_run, tmp_path):
    huggingface.write(tiny_run, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "text_encoder")
    texts = [*TEXTS, "Élan: L4-L5 DISC-protrusion?! " * 5, ""]
    theirs = tokenizer(texts, padding="max_length", truncation=True, return_tensors="np")
    for name, ours in tiny_run.tokenizer(texts).items():
        np.testing.assert_array_equal(theirs[name], ours)


def test_what_transformers_has_no_place_for_is_refused(tmp_path):
    _, module, _ = FAMILIES["resnet"]
    variables = {"params": {"stem_conv": {"kernel": np.zeros((7, 7, 1, 8)), "extra": np.zeros(1)}}}
    with pytest.raises(ValueError, match="no place for params/stem_conv/extra: export with"):
        huggingface.write_encoder(tmp_path, module, variables, 24)


def test_maps_smaller_than_a_window_of_swin_are_refused(tmp_path):
    _, module, _ = FAMILIES["swin"]
    variables = {"params": {"patch_embed": {"kernel": np.zeros((2, 2, 1, 8))}}}
    module = dataclasses.replace(module, window=7)
    with pytest.raises(ValueError, match="of 24 px images is 6 x 6, smaller than the window of 7"):
        huggingface.write_encoder(tmp_path, module, variables, 24)
