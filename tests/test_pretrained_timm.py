"""timm checkpoints against timm's own models, level by level."""

import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lumbarclip_jax.models import weights_timm
from lumbarclip_jax.models.pretrained import from_hf
from tests.torchvision_shim import import_module

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors.torch")
try:
    timm = import_module("timm")
except ImportError as error:
    pytest.skip(f"timm does not import ({error})", allow_module_level=True)

TINY = {
    "vit_tiny_patch16_224": {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 48},
    "swin_tiny_patch4_window7_224": {
        "embed_dim": 16,
        "depths": (2, 2),
        "num_heads": (1, 2),
        "window_size": 4,
        "img_size": 64,
    },
    "resnet50": {"layers": (1, 2, 1, 1)},
}
PUBLISHED = ("vit_base_patch16_224", "swin_tiny_patch4_window7_224", "resnet50")
# Published, less the classifier of 1000 classes; without Swin's tables of token pairs.
PARAMETERS = {
    "vit_base_patch16_224": 86_567_656 - 769_000,
    "swin_tiny_patch4_window7_224": 28_288_354 - 769_000,
    "resnet50": 25_557_032 - 2_049_000,
}


def write(folder, name: str, **arguments):
    """A randomly initialised timm model in evaluation mode, saved as timm saves it."""
    torch.manual_seed(0)
    model = timm.create_model(name, **arguments).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn_like(buffer))
            if key.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand_like(buffer))
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return model


def published_levels(model, images) -> tuple[list, torch.Tensor, torch.Tensor]:
    """The hidden states where our encoders sow theirs, the last one, and what the head reads."""
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
    with torch.no_grad():
        last = model.forward_features(torch.tensor(images).permute(0, 3, 1, 2))
        pooled = model.forward_head(last, pre_logits=True)
    if not hasattr(model, "patch_embed"):
        seen, last = [x.permute(0, 2, 3, 1) for x in seen], last.permute(0, 2, 3, 1)
    return seen, last, pooled


def relative_error(actual, expected: torch.Tensor) -> float:
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.linalg.norm(actual - expected.numpy()) / np.linalg.norm(expected.numpy()))


def compare(folder, model, side: int):
    images = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    expected, last, pooled = published_levels(model, images)
    module, variables = from_hf(folder)
    out, sown = jax.jit(lambda v: module.apply(v, images, mutable="intermediates"))(variables)
    sown = sown["intermediates"]
    layers = [f"layer_{i}" for i in range(len(sown)) if f"layer_{i}" in sown]
    levels = [*sown["hidden_states"], *(sown[layer]["hidden_states"][0] for layer in layers)]
    assert len(levels) == len(expected)
    for index, (level, wanted) in enumerate(zip(levels, expected, strict=True)):
        assert relative_error(level, wanted) <= 1e-5, index
    assert relative_error(out["last_hidden_state"], last) <= 1e-5
    assert relative_error(out["pooled"], pooled) <= 1e-5
    return variables


@pytest.mark.parametrize("name", TINY)
def test_every_level_of_a_tiny_model(tmp_path, name):
    model = write(tmp_path, name, **TINY[name])
    compare(tmp_path, model, TINY[name].get("img_size", 48))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_level_of_a_published_size(tmp_path, name):
    variables = compare(tmp_path, write(tmp_path, name), 224)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert count == PARAMETERS[name]


def test_mean_pooling_of_a_vit(tmp_path):
    model = write(tmp_path, "vit_tiny_patch16_224", **TINY["vit_tiny_patch16_224"])
    model.reset_classifier(0, global_pool="avg")
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    compare(tmp_path, model, 48)


def test_swin_in_the_layout_before_timm_0_9(tmp_path):
    name = "swin_tiny_patch4_window7_224"
    model = write(tmp_path, name, **TINY[name])
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
            assert sizes["stage_widths"] == tuple(stage[-1].conv3.out_channels for stage in stages)
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
