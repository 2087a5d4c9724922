"""Published weights in our modules: Hugging Face, timm and open_clip checkpoints as safetensors.

    module, variables = from_hf("google-bert/bert-base-uncased")        # or a folder
    out = module.apply(variables, input_ids, attention_mask)            # last_hidden_state, pooled

    model, variables = from_open_clip("runs/biomedclip")
    embeds = model.apply(variables, images, method="encode_image")["image_embeds"]

    model, variables = from_siglip("google/medsiglip-448")              # used as the one above

Images are float [B, H, W, C], channels last, normalised as the checkpoint's publisher says.
"""

import pathlib

import jax
import jax.numpy as jnp
from flax import linen as nn

from lumbarclip_jax.data.tokenizer import published_vocabulary, read_vocabulary
from lumbarclip_jax.models.lumbarclip import LumbarCLIP
from lumbarclip_jax.models.pretrained import (
    key_tables,
    weights_hf,
    weights_open_clip,
    weights_siglip,
    weights_timm,
)
from lumbarclip_jax.models.pretrained.checkpoint_files import (
    find_folder,
    read_json,
    read_tensors,
    square_side,
)
from lumbarclip_jax.models.pretrained.key_tables import Tree
from lumbarclip_jax.models.pretrained.published_encoder import POOLERS, PublishedEncoder
from lumbarclip_jax.models.projection import NoProjection, Projection


def from_hf(path_or_name: str | pathlib.Path) -> tuple[nn.Module, Tree]:
    """The encoder and weights of a BERT, ViT, Swin or ResNet, or of SigLIP's image tower alone.

    Args:
      path_or_name: a folder with config.json and model.safetensors (or model.safetensors.index.json
        and its shards), as `transformers` or timm writes them; or such a model's name on the
        Hugging Face hub. Task heads are left out, and the log says so.

    Returns:
      (module, variables). `module.apply(variables, images)` or `module.apply(variables, input_ids,
      attention_mask)` gives `last_hidden_state`, the published model's with channels last, and
      `pooled`: the published model's pooler output where it has one. That is the tanh layer of a
      ViT or BERT saved with it, the class token without it, the attention pooling of SigLIP, and
      the mean for Swin and ResNet; for timm, what the classifier reads.

    Raises:
      FileNotFoundError: no such folder or model, or a file is missing.
      ValueError: a damaged file, a pickle, another architecture, a vocabulary of another size, or
        weights that differ from what the config describes; every difference is listed.
    """
    encoder = open_encoder(path_or_name)
    tensors = encoder.tensors()
    has_pooler = any(key.startswith(POOLERS["pooler"]) for key in tensors)
    module = encoder.module("pooler" if has_pooler else encoder.pooling)
    return module, on_device(encoder.variables(module, tensors))


def from_open_clip(path_or_name: str | pathlib.Path) -> tuple[LumbarCLIP, Tree]:
    """The two towers, projections and temperature of an open_clip checkpoint such as BiomedCLIP.

    Args:
      path_or_name: a folder with open_clip_config.json and open_clip_model.safetensors, or such a
        model's name on the hub. The image tower is a timm ViT, Swin or ResNet, the text tower a
        BERT; see `weights_open_clip.read_config`.

    Returns:
      (module, variables), used as the model of `build_model` is.

    Raises:
      FileNotFoundError, ValueError: as `from_hf`.
    """
    folder = find_folder(path_or_name)
    clip = weights_open_clip.read_config(folder)
    check_vocabulary(clip.text_encoder)
    tensors, _ = key_tables.encoder_tensors(read_tensors(folder), clip.layout)
    if clip.text_encoder.pooling != "pooler":
        unused = weights_open_clip.TEXT_PREFIX + POOLERS["pooler"]
        tensors = {key: x for key, x in tensors.items() if not key.startswith(unused)}
    module = LumbarCLIP(
        image_encoder=clip.image_encoder.module(clip.image_encoder.pooling),
        text_encoder=clip.text_encoder.module(clip.text_encoder.pooling),
        image_projection=Projection(clip.embed_dim, clip.image_projection),
        text_projection=Projection(clip.embed_dim, clip.text_projection),
        logit_scale_init=0.0,
        logit_bias_init=0.0 if "logit_bias" in tensors else None,
    )
    shapes = shapes_of_both(module, clip.image_encoder)
    return module, on_device(key_tables.fit(tensors, shapes, clip.layout.rules, folder))


def from_siglip(path_or_name: str | pathlib.Path) -> tuple[LumbarCLIP, Tree]:
    """The two towers, scale and bias of a SigLIP, a SigLIP 2 of a fixed image size, or a MedSigLIP.

    Args:
      path_or_name: a folder with config.json and model.safetensors, or its shards, as `SiglipModel`
        of `transformers` writes them; or such a model's name on the hub.

    Returns:
      (module, variables), used as the model of `build_model` is. Texts come from the checkpoint's
      own tokenizer, padded to 64 tokens as in its training, with a mask of ones: it attends to the
      padding.

    Raises:
      FileNotFoundError, ValueError: as `from_hf`; a SigLIP 2 of images of any shape (NaFlex).
    """
    folder = find_folder(path_or_name)
    siglip = weights_siglip.read_config(folder)
    layout = weights_siglip.LAYOUTS[weights_siglip.BOTH_TOWERS]
    tensors, _ = key_tables.encoder_tensors(read_tensors(folder), layout)
    module = LumbarCLIP(
        image_encoder=siglip.image_encoder.module("map"),
        text_encoder=siglip.text_encoder,
        image_projection=NoProjection(),
        text_projection=Projection(siglip.embed_dim, "linear"),
        logit_scale_init=0.0,
        logit_bias_init=0.0,
    )
    shapes = shapes_of_both(module, siglip.image_encoder)
    return module, on_device(key_tables.fit(tensors, shapes, layout.rules, folder))


def shapes_of_both(module: LumbarCLIP, image_encoder: PublishedEncoder) -> Tree:
    """Shapes of the variables of two towers, for images of the size they were published for."""
    side, channels = image_encoder.image_size_px, module.image_encoder.in_channels
    images = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    return nn.meta.unbox(jax.eval_shape(module.init, jax.random.key(0), images, tokens, tokens))


def open_encoder(path_or_name: str | pathlib.Path, tower: str | None = None) -> PublishedEncoder:
    """Finds the checkpoint of an encoder and reads its config.

    Args:
      path_or_name: as for `from_hf`.
      tower: "image_encoder" or "text_encoder": the one to take of a model with both.

    Raises:
      FileNotFoundError, ValueError: as `from_hf`.
    """
    folder = find_folder(path_or_name)
    if (folder / weights_open_clip.CONFIG_FILE).is_file():
        if tower is None:
            raise ValueError(f"{folder} holds an open_clip model: load it with from_open_clip")
        encoder = getattr(weights_open_clip.read_config(folder), tower)
    else:
        encoder = read_config(folder, tower)
    check_vocabulary(encoder)
    return encoder


def read_config(folder: pathlib.Path, tower: str | None) -> PublishedEncoder:
    """The encoder that a folder's config.json, of `transformers` or timm, describes."""
    path = folder / "config.json"
    config = read_json(path)
    if "architecture" in config:
        arguments = config.get("model_args", {})
        family, sizes, side = weights_timm.read_sizes(config["architecture"], arguments, path)
        default = "token" if family == "vit" else "avg"
        pooling = weights_timm.read_pooling(family, config.get("global_pool", default), path)
        return PublishedEncoder(folder, family, sizes, pooling, weights_timm.LAYOUTS[family], side)
    if weights_siglip.is_siglip(config):
        if tower is None and config["model_type"] == weights_siglip.BOTH_TOWERS:
            raise ValueError(f"{folder} holds both towers of a SigLIP: load it with from_siglip")
        if tower == "text_encoder":
            raise ValueError(
                f"{folder} holds a SigLIP, whose text tower reads the tokens of another tokenizer "
                "than a run's: take its image tower with config.model.image_encoder.pretrained, "
                "and a BERT for the texts"
            )
        return weights_siglip.image_tower(folder)
    if "model_type" in config:
        family, sizes = weights_hf.read_sizes(config, path)
        side = square_side(config.get("image_size", 224), path)
        pooling = "cls" if family in ("bert", "vit") else "mean"
        return PublishedEncoder(folder, family, sizes, pooling, weights_hf.LAYOUTS[family], side)
    raise ValueError(
        f"{path} has neither the model_type of a transformers model nor the architecture of a timm "
        "model: pass the folder of a published checkpoint"
    )


def check_vocabulary(encoder: PublishedEncoder) -> None:
    """Raises ValueError when a BERT's folder has a vocabulary of another size than its table."""
    if encoder.family != "bert" or not (file := published_vocabulary(encoder.folder)):
        return
    size, expected = len(read_vocabulary(file)), encoder.sizes["vocab_size"]
    if size != expected:
        raise ValueError(
            f"{file} has {size} tokens, but the BERT beside it knows {expected}: place the "
            "vocabulary that was published with it there"
        )


def on_device(tree: Tree) -> Tree:
    return jax.tree.map(jnp.asarray, tree)
