"""SigLIP checkpoints of `transformers` (arXiv 2303.15343 and 2502.14786): key tables, and configs.

The key names are those of `SiglipModel`, which SigLIP 2 in its fixed image sizes and MedSigLIP
share.
"""

import dataclasses
import pathlib
from typing import Any

from lumbarclip_jax.models.pretrained.checkpoint_files import read_json, square_side
from lumbarclip_jax.models.pretrained.key_tables import (
    Layout,
    Rule,
    Tensors,
    join_fused,
    split_fused,
    within,
)
from lumbarclip_jax.models.pretrained.published_encoder import PublishedEncoder
from lumbarclip_jax.models.pretrained.weights_hf import Fields, read_fields
from lumbarclip_jax.models.siglip_text import SiglipText

BOTH_TOWERS, IMAGE_TOWER, TEXT_TOWER = "siglip", "siglip_vision_model", "siglip_text_model"
IMAGE_PREFIX, TEXT_PREFIX = "vision_model.", "text_model."

LAYERS = tuple(
    Rule(f"encoder.layers.{{}}.{published}", f"layer_{{}}/{ours}", kind)
    for published, ours, kind in (
        ("layer_norm1", "attention_norm", "norm"),
        ("self_attn.q_proj", "attention/query", "linear"),
        ("self_attn.k_proj", "attention/key", "linear"),
        ("self_attn.v_proj", "attention/value", "linear"),
        ("self_attn.out_proj", "attention/out", "linear"),
        ("layer_norm2", "mlp_norm", "norm"),
        ("mlp.fc1", "mlp/fc1", "linear"),
        ("mlp.fc2", "mlp/fc2", "linear"),
    )
)

IMAGE = (
    Rule("embeddings.patch_embedding", "patch_embed", "conv"),
    Rule("embeddings.position_embedding", "position_embedding", "table"),
    *LAYERS,
    Rule("post_layernorm", "norm", "norm"),
    Rule("head.probe", "pool/probe", "row"),
    Rule("head.attention.qkv", "pool/query", "query"),
    Rule("head.attention.qkv", "pool/key", "key"),
    Rule("head.attention.qkv", "pool/value", "value"),
    Rule("head.attention.out_proj", "pool/out", "linear"),
    Rule("head.layernorm", "pool/norm", "norm"),
    Rule("head.mlp.fc1", "pool/mlp/fc1", "linear"),
    Rule("head.mlp.fc2", "pool/mlp/fc2", "linear"),
)

TEXT = (
    Rule("embeddings.token_embedding", "word_embedding", "embedding"),
    Rule("embeddings.position_embedding", "position_embedding", "embedding"),
    *LAYERS,
    Rule("final_layer_norm", "norm", "norm"),
)

# The head of the text tower is the text's projection; images are pooled into the shared embedding.
WHOLE = (
    *within(IMAGE, IMAGE_PREFIX, "image_encoder/"),
    *within(TEXT, TEXT_PREFIX, "text_encoder/"),
    Rule(f"{TEXT_PREFIX}head", "text_projection/fc1", "linear"),
    Rule("logit_scale", "logit_scale", "row"),
    Rule("logit_bias", "logit_bias", "row"),
)


def split_pooling(tensors: Tensors) -> Tensors:
    """Tensors with the fused layer of PyTorch's `MultiheadAttention` in its thirds."""
    return split_fused({key.replace("in_proj_", "qkv."): x for key, x in tensors.items()})


def join_pooling(tensors: Tensors) -> Tensors:
    """The inverse of `split_pooling`."""
    return {key.replace("qkv.", "in_proj_"): x for key, x in join_fused(tensors).items()}


BUFFERS = ("embeddings.position_ids",)
LAYOUTS = {
    BOTH_TOWERS: Layout(WHOLE, buffers=BUFFERS, adapt=split_pooling, restore=join_pooling),
    IMAGE_TOWER: Layout(
        IMAGE,
        prefix=IMAGE_PREFIX,
        heads=(TEXT_PREFIX, "logit_scale", "logit_bias", "classifier."),
        buffers=BUFFERS,
        adapt=split_pooling,
        restore=join_pooling,
    ),
}

TRANSFORMER = {
    "width": ("hidden_size", 768),
    "depth": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "mlp_width": ("intermediate_size", 3072),
    "norm_epsilon": ("layer_norm_eps", 1e-6),
    "activation": ("hidden_act", "gelu_pytorch_tanh"),
    "attention_dropout": ("attention_dropout", 0.0),
}
FIELDS = {
    IMAGE_TOWER: Fields(
        TRANSFORMER | {"patch_size": ("patch_size", 16), "in_channels": ("num_channels", 3)}, {}
    ),
    TEXT_TOWER: Fields(
        TRANSFORMER
        | {"vocab_size": ("vocab_size", 32_000), "max_positions": ("max_position_embeddings", 64)},
        {},
    ),
}


@dataclasses.dataclass(frozen=True)
class Siglip:
    """What the config.json of both towers describes."""

    embed_dim: int
    image_encoder: PublishedEncoder
    text_encoder: SiglipText


def is_siglip(config: dict[str, Any]) -> bool:
    return config.get("model_type", "").startswith("siglip")


def read_config(folder: pathlib.Path) -> Siglip:
    """Reads the config of both towers.

    Raises:
      FileNotFoundError: there is no config.json.
      ValueError: another model, one tower alone, or two that share no embedding.
    """
    path = folder / "config.json"
    config = read_json(path)
    refuse_unless(config, path, BOTH_TOWERS)
    image, text = image_tower(folder), config.get("text_config") or {}
    sizes = read_fields(FIELDS[TEXT_TOWER], text, path)
    embed_dim = text.get("projection_size") or sizes["width"]
    if image.pooling != "map" or image.sizes["width"] != embed_dim:
        raise ValueError(
            f"{path} describes images of {image.sizes['width']} features pooled by "
            f"{image.pooling} and texts of {embed_dim}, which share no embedding: pass a SigLIP "
            "that was trained on pairs, such as google/siglip-base-patch16-224"
        )
    return Siglip(embed_dim, image, SiglipText(**sizes))


def image_tower(folder: pathlib.Path) -> PublishedEncoder:
    """The image tower, of a folder with both or with it alone.

    Raises:
      FileNotFoundError: there is no config.json.
      ValueError: a SigLIP without image tower, or one of images of any shape.
    """
    path = folder / "config.json"
    config = read_json(path)
    refuse_unless(config, path, BOTH_TOWERS, IMAGE_TOWER)
    image = config if config["model_type"] == IMAGE_TOWER else config.get("vision_config") or {}
    return PublishedEncoder(
        folder,
        "vit",
        {"use_class_token": False} | read_fields(FIELDS[IMAGE_TOWER], image, path),
        "map" if image.get("vision_use_head", True) else "mean",
        LAYOUTS[IMAGE_TOWER],
        square_side(image.get("image_size", 224), path),
    )


def refuse_unless(config: dict[str, Any], path: pathlib.Path, *known: str) -> None:
    """Raises ValueError for a model of another type than those known."""
    model_type = config.get("model_type", "")
    if model_type in known:
        return
    if model_type.startswith("siglip2"):
        raise ValueError(
            f"{path} describes a SigLIP 2 of images of any shape (NaFlex), which has other patches "
            "and positions: pass one of a fixed size, such as google/siglip2-base-patch16-224"
        )
    raise ValueError(
        f"{path} describes a model of type {model_type!r}: pass a SigLIP of type "
        f"{' or '.join(known)}, such as google/siglip-base-patch16-224"
    )
