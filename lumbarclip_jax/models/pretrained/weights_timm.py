"""timm checkpoints of plain ViT, Swin and ResNet: key tables, and sizes from architecture names."""

import pathlib
import re
from typing import Any

from lumbarclip_jax.models.pretrained.checkpoint_files import square_side
from lumbarclip_jax.models.pretrained.key_tables import Layout, Rule, Tensors, split_fused
from lumbarclip_jax.models.variants import resnet_sizes, swin_sizes, vit_sizes

# What a block of ViT and of Swin have in common.
BLOCK = (
    ("norm1", "attention_norm", "norm"),
    ("attn.qkv", "attention/query", "query"),
    ("attn.qkv", "attention/key", "key"),
    ("attn.qkv", "attention/value", "value"),
    ("attn.proj", "attention/out", "linear"),
    ("norm2", "mlp_norm", "norm"),
    ("mlp.fc1", "mlp/fc1", "linear"),
    ("mlp.fc2", "mlp/fc2", "linear"),
)

VIT = (
    Rule("cls_token", "class_token", "row"),
    Rule("pos_embed", "position_embedding", "row"),
    Rule("patch_embed.proj", "patch_embed", "conv"),
    *(Rule(f"blocks.{{}}.{timm}", f"layer_{{}}/{ours}", kind) for timm, ours, kind in BLOCK),
    Rule("norm", "norm", "norm"),
)

SWIN = (
    Rule("patch_embed.proj", "patch_embed", "conv"),
    Rule("patch_embed.norm", "embed_norm", "norm"),
    *(
        Rule(f"layers.{{}}.blocks.{{}}.{timm}", f"stage_{{}}_block_{{}}/{ours}", kind)
        for timm, ours, kind in (
            *BLOCK,
            ("attn.relative_position_bias_table", "relative_position_table", "array"),
        )
    ),
    # timm merges patches at the start of a stage, we do at the end of the one before.
    *(
        Rule(f"layers.{stage + 1}.downsample.{part}", f"stage_{stage}_merge/{part}", kind)
        for stage in range(3)
        for part, kind in (("norm", "norm"), ("reduction", "linear"))
    ),
    Rule("norm", "norm", "norm"),
)

RESNET = (
    Rule("conv1", "stem_conv", "conv"),
    Rule("bn1", "stem_norm", "batch_norm"),
    *(
        Rule(f"layer{stage + 1}.{{}}.{timm}", f"stage_{stage}_block_{{}}/{ours}", kind)
        for stage in range(4)
        for timm, ours, kind in (
            ("conv1", "conv_0", "conv"),
            ("bn1", "norm_0", "batch_norm"),
            ("conv2", "conv_1", "conv"),
            ("bn2", "norm_1", "batch_norm"),
            ("conv3", "conv_2", "conv"),
            ("bn3", "norm_2", "batch_norm"),
            ("downsample.0", "conv_shortcut", "conv"),
            ("downsample.1", "norm_shortcut", "batch_norm"),
        )
    ),
)


def swin_tensors(tensors: Tensors) -> Tensors:
    """Tensors under today's names: before timm 0.9, as in the original code, a merge was numbered
    by the stage it ends."""
    old = any(key.startswith("layers.0.downsample.") for key in tensors)

    def renumbered(key: str) -> str:
        return re.sub(r"^layers\.(\d+)\.downsample", later_stage, key) if old else key

    def later_stage(found: re.Match) -> str:
        return f"layers.{int(found[1]) + 1}.downsample"

    return split_fused({renumbered(key): tensor for key, tensor in tensors.items()})


LAYOUTS = {
    "vit": Layout(VIT, heads=("head.",), adapt=split_fused),
    "swin": Layout(
        SWIN,
        heads=("head.",),
        buffers=("relative_position_index", "attn_mask"),
        adapt=swin_tensors,
    ),
    "resnet": Layout(RESNET, heads=("fc.",), buffers=("num_batches_tracked",)),
}

# Names of timm that differ from these (vit_base_patch16_clip_224, resnet50d, ...) are other models.
ARCHITECTURES = {
    "vit": r"(?:vit|deit)_(tiny|small|base|large)_patch(\d+)_(\d+)",
    "swin": r"swin_(tiny|small|base|large)_patch4_window(\d+)_(\d+)",
    "resnet": r"resnet(18|34|50|101|152)",
}
EXAMPLES = "vit_base_patch16_224, swin_tiny_patch4_window7_224, resnet50"

# Arguments that `create_model` was given, and the fields of our modules they set.
ARGUMENTS = {
    "vit": {
        "embed_dim": "width",
        "depth": "depth",
        "num_heads": "heads",
        "patch_size": "patch_size",
        "qkv_bias": "use_qkv_bias",
        "in_chans": "in_channels",
    },
    "swin": {
        "embed_dim": "width",
        "depths": "stage_depths",
        "num_heads": "stage_heads",
        "patch_size": "patch_size",
        "window_size": "window",
        "mlp_ratio": "mlp_ratio",
        "qkv_bias": "use_qkv_bias",
        "in_chans": "in_channels",
    },
    # `channels` are those inside the blocks: of a bottleneck a quarter of what leaves it.
    "resnet": {"layers": "stage_depths", "channels": "stage_widths", "in_chans": "in_channels"},
}
# Of no concern for the features, read elsewhere, or seen in the weights' names.
OTHER_ARGUMENTS = r"num_classes|global_pool|fc_norm|(?:strict_|dynamic_)?img_size|\w*_rate"


def read_sizes(
    architecture: str, arguments: dict[str, Any], path: pathlib.Path
) -> tuple[str, dict[str, Any], int]:
    """The family, the fields of our module, and the side in pixels of the images it was made for.

    Args:
      architecture: timm's name, with or without a tag (`vit_base_patch16_224.augreg_in21k`).
      arguments: what timm saves as `model_args`.
      path: the config they are from.

    Raises:
      ValueError: another architecture, or an argument that is not known here.
    """
    name = architecture.partition(".")[0]
    matches = {family: re.fullmatch(p, name) for family, p in ARCHITECTURES.items()}
    family, found = next(((f, m) for f, m in matches.items() if m), ("", None))
    if found is None:
        raise ValueError(
            f"{path} describes a timm {architecture!r}: pass a plain ViT, Swin or ResNet such as "
            f"{EXAMPLES}"
        )
    if family == "vit":
        size, patch, image = found.groups()
        letters = "Ti" if size == "tiny" else size[0].upper()
        sizes = vit_sizes(f"{letters}/{patch}") | {"norm_epsilon": 1e-6}
    elif family == "swin":
        size, window, image = found.groups()
        sizes = swin_sizes(size[0].upper()) | {"window": int(window)}
    else:
        sizes, image = resnet_sizes(found[1]), 224

    for argument, value in arguments.items():
        if argument in ARGUMENTS[family]:
            if argument in ("patch_size", "window_size"):
                value = square_side(value, path)
            if argument == "channels" and sizes["block"] == "bottleneck":
                value = [4 * channels for channels in value]
            value = tuple(value) if isinstance(value, list) else value
            sizes[ARGUMENTS[family][argument]] = value
        elif not re.fullmatch(OTHER_ARGUMENTS, argument):
            raise ValueError(
                f"{path} sets {argument}={value!r}, which is not known here: pass a checkpoint of "
                f"{name} without it"
            )
    if family == "vit":
        sizes["mlp_width"] = 4 * sizes["width"]
    return family, sizes, square_side(arguments.get("img_size", int(image)), path)


def read_pooling(family: str, pool: str, path: pathlib.Path) -> str:
    """Our name of timm's `global_pool`.

    Raises:
      ValueError: a pooling our encoder does not have.
    """
    poolings = {"token": "cls", "avg": "mean"} if family == "vit" else {"avg": "mean"}
    if pool not in poolings:
        raise ValueError(
            f"{path} sets global_pool={pool!r}: pass a {family} that pools by "
            f"{' or '.join(poolings)}"
        )
    return poolings[pool]
