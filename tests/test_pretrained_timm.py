"""timm checkpoints against timm's own models, level by level."""

import functools
import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lumbarclip_jax.models.pretrained import weights_timm
from lumbarclip_jax.models.pretrained.loading import from_hf
from tests.golden.make_timm import MODELS, make_model, outputs
from tests.torchvision_shim import import_module

torch = pytest.importorskip("torch")
try:
    timm = import_module("timm")
except ImportError as error:
    pytest.skip(f"timm does not import ({error})", allow_module_level=True)

PUBLISHED = ("vit_base_patch16_224", "swin_tiny_patch4_window7_224", "resnet18", "resnet50")
# Published, less the classifier of 1000 classes.
PARAMETERS = {
    "vit_base_patch16_224": 86_567_656 - 769_000,
    "swin_tiny_patch4_window7_224": 28_288_354 - 769_000,
    "resnet18": 11_689_512 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
}


def published_levels(model, images) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The hidden states where our encoders sow theirs, and `outputs`."""
    seen = []
    if hasattr(model, "blocks"):
        modules = [model.norm_pre, *model.blocks]
    elif hasattr(model, "patch_embed"):
        merges = [layer.downsample for layer in model.layers[1:]]
        modules = [model.patch_embed, *merges, model.layers[-1]]
    else:
        modules = [model.maxpool, model.layer1, model.layer2, model.layer3, model.layer4]
    for module in modules:
        module.register_forward_hook(lambda module, inputs, out: seen.append(out))
    last, pooled = outputs(model, images)
    seen = [x.permute(0, 2, 3, 1) if hasattr(model, "conv1") else x for x in seen]
    return [x.detach().numpy() for x in seen], last, pooled


def relative_error(actual, expected: np.ndarray) -> float:
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def compare(folder, model, side: int):
    images = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    expected, last, pooled = published_levels(model, images)
    module, variables = from_hf(folder)
    out, sown = jax.jit(functools.partial(module.apply, mutable="intermediates"))(variables, images)
    sown = sown["intermediates"]
    layers = [f"layer_{i}" for i in range(len(sown)) if f"layer_{i}" in sown]
    levels = [*sown["hidden_states"], *(sown[layer]["hidden_states"][0] for layer in layers)]
    assert len(levels) == len(expected)
    for index, (level, wanted) in enumerate(zip(levels, expected, strict=True)):
        assert relative_error(level, wanted) <= 1e-5, index
    assert relative_error(out["last_hidden_state"], last) <= 1e-5
    assert relative_error(out["pooled"], pooled) <= 1e-5
    return variables


@pytest.mark.parametrize("family", MODELS)
def test_every_level_of_a_tiny_model(tmp_path, family):
    name, arguments = MODELS[family]
    compare(tmp_path, make_model(tmp_path, name, arguments), arguments.get("img_size", 40))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_level_of_a_published_size(tmp_path, name):
    variables = compare(tmp_path, make_model(tmp_path, name, {}, scale=0.02), 224)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert count == PARAMETERS[name]


def test_mean_pooling_of_a_vit(tmp_path):
    model = make_model(tmp_path, *MODELS["vit"])
    model.reset_classifier(0, global_pool="avg")
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    compare(tmp_path, model, 16)


def test_swin_in_the_layout_before_timm_0_9(tmp_path):
    model = make_model(tmp_path, *MODELS["swin"])
    old = {
        re.sub(r"layers\.1\.downsample", "layers.0.downsample", key).replace("head.fc", "head"): x
        for key, x in load_file(tmp_path / "model.safetensors").items()
    }
    old["layers.0.blocks.1.attn_mask"] = np.zeros(3, np.float32)
    save_file(old, tmp_path / "model.safetensors")
    compare(tmp_path, model, 64)


def test_architecture_names_mean_the_sizes_they_have_in_timm(tmp_path):
    """Every name of timm that we accept, by the shapes of its tensors."""
    accepted = [
        name
        for name in timm.list_models()
        if any(re.fullmatch(p, name) for p in weights_timm.ARCHITECTURES.values())
    ]
    assert len(accepted) > 25
    for name in accepted:
        with torch.device("meta"):
            model = timm.create_model(name)
        family, sizes, side = weights_timm.read_sizes(name, {}, tmp_path)
        assert model.default_cfg["input_size"] == (3, side, side)
        if family == "resnet":
            stages = [model.layer1, model.layer2, model.layer3, model.layer4]
            assert sizes["stage_depths"] == tuple(len(stage) for stage in stages)
            last = "conv2" if sizes["block"] == "basic" else "conv3"
            widths = (getattr(stage[-1], last).out_channels for stage in stages)
            assert sizes["stage_widths"] == tuple(widths)
            continue
        patches = model.patch_embed
        assert sizes["width"] == patches.proj.out_channels
        assert patches.patch_size == (sizes.get("patch_size", 4),) * 2
        if family == "vit":
            assert sizes["depth"] == len(model.blocks)
            assert sizes["heads"] == model.blocks[0].attn.num_heads
            assert sizes["mlp_width"] == model.blocks[0].mlp.fc1.out_features
            assert sizes["norm_epsilon"] == model.norm.eps
        else:
            assert sizes["stage_depths"] == tuple(len(layer.blocks) for layer in model.layers)
            heads = tuple(layer.blocks[0].attn.num_heads for layer in model.layers)
            assert sizes["stage_heads"] == heads
            assert model.layers[0].blocks[0].window_size == (sizes["window"],) * 2


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("vit_base_patch16_clip_224", {}, "describes a timm 'vit_base_patch16_clip_224'"),
        ("resnet50d", {}, "describes a timm 'resnet50d'"),
        ("vit_tiny_patch16_224", {"init_values": 0.1}, "sets init_values=0.1"),
        ("vit_tiny_patch16_224", {"global_pool": "map"}, "sets global_pool='map'"),
        ("vit_tiny_patch16_224", {"img_size": [32, 48]}, "images or patches of [32, 48]"),
    ],
)
def test_other_models_of_timm_are_named(tmp_path, name, arguments, said):
    config = {"architecture": name, "model_args": arguments}
    config |= {k: v for k, v in arguments.items() if k == "global_pool"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="pass a ") as error:
        from_hf(tmp_path)
    assert said in str(error.value)
