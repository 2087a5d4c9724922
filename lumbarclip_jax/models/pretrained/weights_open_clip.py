"""open_clip checkpoints with a timm image tower and a Hugging Face BERT, such as BiomedCLIP.

The key names are those of open_clip's `CustomTextCLIP`, `TimmModel` and `HFTextEncoder`.
"""

import dataclasses
import pathlib
from typing import Any

from lumbarclip_jax.models.pretrained import weights_hf, weights_timm
from lumbarclip_jax.models.pretrained.checkpoint_files import read_json
from lumbarclip_jax.models.pretrained.key_tables import Layout, Rule, Tensors, within
from lumbarclip_jax.models.pretrained.published_encoder import PublishedEncoder
from lumbarclip_jax.models.variants import bert_sizes

CONFIG_FILE = "open_clip_config.json"
IMAGE_PREFIX, TEXT_PREFIX = "visual.trunk.", "text.transformer."
OTHER_PARTS = ("visual.head.", "text.proj.", "logit_scale", "logit_bias")

POOLINGS = {"cls_last_hidden_state_pooler": "cls", "cls_pooler": "pooler", "mean_pooler": "mean"}
# open_clip's name of a text head -> our kind of projection, and where its layers lie.
TEXT_PROJECTIONS = {
    "linear": ("linear_no_bias", {"text.proj": "fc1"}),
    "mlp": ("gelu", {"text.proj.0": "fc1", "text.proj.2": "fc2"}),
}


@dataclasses.dataclass(frozen=True)
class OpenClip:
    """What an open_clip_config.json describes."""

    embed_dim: int
    image_encoder: PublishedEncoder
    text_encoder: PublishedEncoder
    image_projection: str  # kind
    text_projection: str  # kind
    layout: Layout  # of the whole, in the tree of `LumbarCLIP`


def read_config(folder: pathlib.Path) -> OpenClip:
    """Reads the config of an open_clip folder, and the config.json of its BERT beside it.

    open_clip itself takes the BERT's config from the hub by name. Here it must lie in the folder,
    unless the name says "base-uncased", whose sizes are BERT-base's.

    Raises:
      FileNotFoundError: there is no open_clip_config.json, or it names a BERT of unknown sizes.
      ValueError: other towers, poolings or heads than this package has.
    """
    path = folder / CONFIG_FILE
    config = read_json(path).get("model_cfg", {})
    image, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    if not ("embed_dim" in config and "timm_model_name" in image and "hf_model_name" in text):
        raise ValueError(
            f"{path} names no timm image tower (timm_model_name) with a Hugging Face text tower "
            "(hf_model_name) and a shared embed_dim: pass a model that has them, such as BiomedCLIP"
        )
    projection = option(image, "timm_proj", "linear", ("linear",), path)
    text_projection = option(text, "hf_proj_type", "mlp", tuple(TEXT_PROJECTIONS), path)
    kind, layers = TEXT_PROJECTIONS[text_projection]
    image_encoder, text_encoder = image_tower(folder, image), text_tower(folder, text)
    return OpenClip(
        embed_dim=config["embed_dim"],
        image_encoder=image_encoder,
        text_encoder=text_encoder,
        image_projection=projection if image.get("timm_proj_bias") else "linear_no_bias",
        text_projection=kind,
        layout=whole_layout(image_encoder.layout, text_encoder.layout, layers),
    )


def image_tower(folder: pathlib.Path, config: dict[str, Any]) -> PublishedEncoder:
    path = folder / CONFIG_FILE
    family, sizes, side = weights_timm.read_sizes(config["timm_model_name"], {}, path)
    default = "token" if family == "vit" else "avg"
    layout = weights_timm.LAYOUTS[family]
    return PublishedEncoder(
        folder,
        family,
        sizes,
        weights_timm.read_pooling(family, config.get("timm_pool", "avg") or default, path),
        dataclasses.replace(layout, prefix=IMAGE_PREFIX, heads=(*OTHER_PARTS, TEXT_PREFIX)),
        side,
    )


def text_tower(folder: pathlib.Path, config: dict[str, Any]) -> PublishedEncoder:
    path, name = folder / CONFIG_FILE, config["hf_model_name"]
    pooling = option(config, "hf_pooler_type", "mean_pooler", tuple(POOLINGS), path)
    bert_path = folder / "config.json"
    bert_config = read_json(bert_path) if bert_path.is_file() else {}
    if bert_config.get("model_type") == "bert":
        _, sizes = weights_hf.read_sizes(bert_config, bert_path)
    elif "base-uncased" in name:
        sizes = {"vocab_size": 30_522} | bert_sizes("base")
    else:
        raise FileNotFoundError(
            f"{bert_path} of a BERT is missing: place the config.json of {name}, the text tower "
            f"that {CONFIG_FILE} names, there"
        )
    layout = weights_hf.LAYOUTS["bert"]
    return PublishedEncoder(
        folder,
        "bert",
        sizes,
        POOLINGS[pooling],
        dataclasses.replace(layout, prefix=TEXT_PREFIX, heads=(*OTHER_PARTS, IMAGE_PREFIX)),
    )


def whole_layout(image: Layout, text: Layout, text_projection: dict[str, str]) -> Layout:
    """The layout of both towers, their heads and the scale."""

    def adapt(tensors: Tensors) -> Tensors:
        adapted, rest = {}, dict(tensors)
        for tower in (image, text):
            own = {key: rest.pop(key) for key in tensors if key.startswith(tower.prefix)}
            own = {key.removeprefix(tower.prefix): tensor for key, tensor in own.items()}
            adapted |= {tower.prefix + key: x for key, x in tower.adapt(own).items()}
        return adapted | rest

    return Layout(
        (
            *within(image.rules, IMAGE_PREFIX, "image_encoder/"),
            *within(text.rules, TEXT_PREFIX, "text_encoder/"),
            Rule("visual.head.proj", "image_projection/fc1", "linear"),
            *(
                Rule(published, f"text_projection/{ours}", "linear")
                for published, ours in text_projection.items()
            ),
            Rule("logit_scale", "logit_scale", "array"),
            Rule("logit_bias", "logit_bias", "array"),
        ),
        buffers=image.buffers + text.buffers,
        adapt=adapt,
    )


def option(
    config: dict[str, Any], name: str, default: str, known: tuple[str, ...], path: pathlib.Path
) -> str:
    """The value of a config's field.

    Raises:
      ValueError: it is not a known one.
    """
    value = config.get(name, default)
    if value not in known:
        raise ValueError(
            f"{path} sets {name}={value!r}, which is not known here: pass a model with one of "
            f"{', '.join(known)}"
        )
    return value
