"""Hugging Face checkpoints: key tables in the names that `save_pretrained` writes, and configs."""

import dataclasses
import pathlib
import re
from typing import Any

from lumbarclip_jax.models.layers import ACTIVATIONS
from lumbarclip_jax.models.pretrained.checkpoint_files import square_side
from lumbarclip_jax.models.pretrained.key_tables import Layout, Rule, Tensors
from lumbarclip_jax.models.resnet import BLOCKS

BERT = (
    Rule("embeddings.word_embeddings", "word_embedding", "embedding"),
    Rule("embeddings.position_embeddings", "position_embedding", "embedding"),
    Rule("embeddings.token_type_embeddings", "token_type_embedding", "embedding"),
    Rule("embeddings.LayerNorm", "embedding_norm", "norm"),
    Rule("encoder.layer.{}.attention.self.query", "layer_{}/attention/query", "linear"),
    Rule("encoder.layer.{}.attention.self.key", "layer_{}/attention/key", "linear"),
    Rule("encoder.layer.{}.attention.self.value", "layer_{}/attention/value", "linear"),
    Rule("encoder.layer.{}.attention.output.dense", "layer_{}/attention/out", "linear"),
    Rule("encoder.layer.{}.attention.output.LayerNorm", "layer_{}/attention_norm", "norm"),
    Rule("encoder.layer.{}.intermediate.dense", "layer_{}/mlp/fc1", "linear"),
    Rule("encoder.layer.{}.output.dense", "layer_{}/mlp/fc2", "linear"),
    Rule("encoder.layer.{}.output.LayerNorm", "layer_{}/mlp_norm", "norm"),
    Rule("pooler.dense", "pooler", "linear"),
)

VIT = (
    Rule("embeddings.cls_token", "class_token", "row"),
    Rule("embeddings.position_embeddings", "position_embedding", "row"),
    Rule("embeddings.patch_embeddings.projection", "patch_embed", "conv"),
    Rule("encoder.layer.{}.attention.attention.query", "layer_{}/attention/query", "linear"),
    Rule("encoder.layer.{}.attention.attention.key", "layer_{}/attention/key", "linear"),
    Rule("encoder.layer.{}.attention.attention.value", "layer_{}/attention/value", "linear"),
    Rule("encoder.layer.{}.attention.output.dense", "layer_{}/attention/out", "linear"),
    Rule("encoder.layer.{}.layernorm_before", "layer_{}/attention_norm", "norm"),
    Rule("encoder.layer.{}.intermediate.dense", "layer_{}/mlp/fc1", "linear"),
    Rule("encoder.layer.{}.output.dense", "layer_{}/mlp/fc2", "linear"),
    Rule("encoder.layer.{}.layernorm_after", "layer_{}/mlp_norm", "norm"),
    Rule("layernorm", "norm", "norm"),
    Rule("pooler.dense", "pooler", "linear"),
)

SWIN = (
    Rule("embeddings.patch_embeddings.projection", "patch_embed", "conv"),
    Rule("embeddings.norm", "embed_norm", "norm"),
    *(
        Rule("encoder.layers.{}.blocks.{}." + published, "stage_{}_block_{}/" + ours, kind)
        for published, ours, kind in (
            ("attention.self.query", "attention/query", "linear"),
            ("attention.self.key", "attention/key", "linear"),
            ("attention.self.value", "attention/value", "linear"),
            ("attention.output.dense", "attention/out", "linear"),
            ("attention.self.relative_position_bias_table", "relative_position_table", "array"),
            ("layernorm_before", "attention_norm", "norm"),
            ("intermediate.dense", "mlp/fc1", "linear"),
            ("output.dense", "mlp/fc2", "linear"),
            ("layernorm_after", "mlp_norm", "norm"),
        )
    ),
    Rule("encoder.layers.{}.downsample.norm", "stage_{}_merge/norm", "norm"),
    Rule("encoder.layers.{}.downsample.reduction", "stage_{}_merge/reduction", "linear"),
    Rule("layernorm", "norm", "norm"),
)

RESNET = (
    Rule("embedder.embedder.convolution", "stem_conv", "conv"),
    Rule("embedder.embedder.normalization", "stem_norm", "batch_norm"),
    *(
        Rule("encoder.stages.{}.layers.{}." + published, "stage_{}_block_{}/" + ours, kind)
        for published, ours, kind in (
            ("layer.{}.convolution", "conv_{}", "conv"),
            ("layer.{}.normalization", "norm_{}", "batch_norm"),
            ("shortcut.convolution", "conv_shortcut", "conv"),
            ("shortcut.normalization", "norm_shortcut", "batch_norm"),
        )
    ),
)


def modern_names(tensors: Tensors) -> Tensors:
    """Renames `gamma` and `beta`, as checkpoints converted from TensorFlow call scale and bias."""

    def modern(key: str) -> str:
        return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", key))

    return {modern(key): tensor for key, tensor in tensors.items()}


LAYOUTS = {
    "bert": Layout(
        BERT,
        prefix="bert.",
        heads=("cls.", "classifier.", "qa_outputs."),
        buffers=("embeddings.position_ids", "embeddings.token_type_ids"),
        adapt=modern_names,
    ),
    "vit": Layout(
        VIT, prefix="vit.", heads=("classifier.", "decoder."), buffers=("embeddings.mask_token",)
    ),
    "swin": Layout(
        SWIN,
        prefix="swin.",
        heads=("classifier.", "decoder."),
        buffers=("embeddings.mask_token", "relative_position_index"),
    ),
    "resnet": Layout(
        RESNET, prefix="resnet.", heads=("classifier.",), buffers=("num_batches_tracked",)
    ),
}

REQUIRED = object()


@dataclasses.dataclass(frozen=True)
class Fields:
    """What a family's config.json says.

    `sizes` names for each field of our module the published field and the value that
    `transformers` takes for it where config.json is silent. `fixed` are published options of which
    our modules know this one value.
    """

    sizes: dict[str, tuple[str, Any]]
    fixed: dict[str, Any]


TRANSFORMER = {
    "width": ("hidden_size", REQUIRED),
    "depth": ("num_hidden_layers", REQUIRED),
    "heads": ("num_attention_heads", REQUIRED),
    "mlp_width": ("intermediate_size", REQUIRED),
    "norm_epsilon": ("layer_norm_eps", 1e-12),
    "activation": ("hidden_act", "gelu"),
}

FIELDS = {
    "bert": Fields(
        TRANSFORMER
        | {
            "vocab_size": ("vocab_size", REQUIRED),
            "max_positions": ("max_position_embeddings", 512),
            "token_types": ("type_vocab_size", 2),
            "dropout": ("hidden_dropout_prob", 0.1),
            "attention_dropout": ("attention_probs_dropout_prob", 0.1),
        },
        {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False},
    ),
    "vit": Fields(
        TRANSFORMER
        | {
            "patch_size": ("patch_size", 16),
            "use_qkv_bias": ("qkv_bias", True),
            "dropout": ("hidden_dropout_prob", 0.0),
            "attention_dropout": ("attention_probs_dropout_prob", 0.0),
            "in_channels": ("num_channels", 3),
        },
        {"pooler_act": "tanh"},
    ),
    "swin": Fields(
        {
            "width": ("embed_dim", REQUIRED),
            "stage_depths": ("depths", REQUIRED),
            "stage_heads": ("num_heads", REQUIRED),
            "patch_size": ("patch_size", 4),
            "window": ("window_size", 7),
            "mlp_ratio": ("mlp_ratio", 4.0),
            "use_qkv_bias": ("qkv_bias", True),
            "activation": ("hidden_act", "gelu"),
            "in_channels": ("num_channels", 3),
        },
        {"use_absolute_embeddings": False, "layer_norm_eps": 1e-5},
    ),
    "resnet": Fields(
        {
            "stem_width": ("embedding_size", REQUIRED),
            "stage_widths": ("hidden_sizes", REQUIRED),
            "stage_depths": ("depths", REQUIRED),
            "block": ("layer_type", "bottleneck"),
            "in_channels": ("num_channels", 3),
        },
        {
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
            "downsample_in_bottleneck": False,
        },
    ),
}


def read_sizes(config: dict[str, Any], path: pathlib.Path) -> tuple[str, dict[str, Any]]:
    """The family that a config.json names, and the fields of our module for it.

    Raises:
      ValueError: another architecture, or an option of it that is not known here.
    """
    family = config["model_type"]
    if family not in FIELDS:
        raise ValueError(
            f"{path} describes a model of type {family!r}: pass one of {', '.join(FIELDS)}, siglip"
        )
    return family, read_fields(FIELDS[family], config, path)


def read_fields(fields: Fields, config: dict[str, Any], path: pathlib.Path) -> dict[str, Any]:
    """The fields of our module that a family's config says.

    Raises:
      ValueError: an option that is not known here.
    """
    for name, value in fields.fixed.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"{path} sets {name}={config[name]!r}, which is not known here: pass a checkpoint "
                f"with {name}={value!r}"
            )
    sizes = {}
    for ours, (published, default) in fields.sizes.items():
        value = config.get(published, default)
        if value is REQUIRED:
            raise ValueError(
                f"{path} lacks {published}: pass the config.json of a {config['model_type']} model"
            )
        if published == "patch_size":
            value = square_side(value, path)
        sizes[ours] = tuple(value) if isinstance(value, list) else value
    for ours, known in (("activation", ACTIVATIONS), ("block", BLOCKS)):
        if ours in sizes and sizes[ours] not in known:
            published, _ = fields.sizes[ours]
            raise ValueError(
                f"{path} sets {published}={sizes[ours]!r}: pass a checkpoint with one of "
                f"{', '.join(known)}"
            )
    return sizes
