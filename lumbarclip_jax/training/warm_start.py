"""Runs that start from published checkpoints: what these bring into config, text and weights."""

import dataclasses
import logging
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from lumbarclip_jax.data.tokenizer import published_lowercase, published_vocabulary
from lumbarclip_jax.models.pretrained import loading
from lumbarclip_jax.models.pretrained.published_encoder import PublishedEncoder
from lumbarclip_jax.models.vit import OF_CLASS_TOKEN

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """The published encoders of a run; none of them has to be there again once it is trained."""

    encoders: dict[str, PublishedEncoder]  # by tower: image_encoder, text_encoder
    image_size_px: int
    heads: dict[str, Any] = dataclasses.field(default_factory=dict)  # parameters beside the towers

    @property
    def vocabulary(self) -> pathlib.Path | None:
        """The file with the vocabulary of a published text encoder.

        Raises:
          FileNotFoundError: its folder has none.
        """
        if "text_encoder" not in self.encoders:
            return None
        folder = self.encoders["text_encoder"].folder
        if (file := published_vocabulary(folder)) is None:
            raise FileNotFoundError(
                f"{folder} has no vocabulary: place the vocab.txt that was published with this "
                "text encoder there"
            )
        return file

    def variables(self, model) -> dict:
        """The part of the model's variables that the checkpoints bring, as host arrays.

        Raises:
          FileNotFoundError, ValueError: as `pretrained.from_hf`.
        """
        variables = {"params": dict(self.heads), "batch_stats": {}}
        for tower, encoder in self.encoders.items():
            brought = encoder.variables(
                getattr(model, tower), encoder.tensors(), self.image_size_px
            )
            for collection, tree in brought.items():
                variables[collection][tower] = tree
        return variables


def adopt(config: ConfigDict) -> tuple[ConfigDict, WarmStart]:
    """Opens the checkpoints a config names.

    Returns:
      (the config with what they settle in it, the checkpoints). `sizes` replace an encoder's
      variant, `data.lowercase` follows the text encoder's tokenizer, and an image encoder without
      class token pools as it was published where it was to pool by that token; `model.pretrained`
      settles all but how the model is computed. The config that a run keeps describes its model
      without the checkpoints.

    Raises:
      FileNotFoundError, ValueError: as `pretrained.from_hf`; a checkpoint of another architecture
        than the config's.
    """
    config, encoders, heads = config.copy_and_resolve_references(), {}, {}
    if whole := config.model.pretrained:
        heads = _adopt_whole(config, whole)
    for tower in ("image_encoder", "text_encoder"):
        fields = config.model[tower]
        if not (whole or fields.pretrained):
            continue
        encoder = loading.open_encoder(whole or fields.pretrained, tower)
        if whole:
            fields.pooling = encoder.pooling
            if tower == "image_encoder":
                fields.name = encoder.family
        family = fields.name if tower == "image_encoder" else "bert"
        if encoder.family != family:
            remedy = f"pass a checkpoint of a {family}"
            if tower == "image_encoder" and encoder.family != "bert":
                remedy += f", or set --config.model.image_encoder.name={encoder.family}"
            raise ValueError(
                f"{encoder.folder} holds a {encoder.family}, but config.model.{tower} is a "
                f"{family}: {remedy}"
            )
        fields.sizes = encoder.sizes
        log.info(
            "%s: %s of %s, in its sizes (variant %s is not used)",
            tower,
            encoder.family,
            encoder.folder,
            fields.variant,
        )
        if not encoder.sizes.get("use_class_token", True) and fields.pooling in OF_CLASS_TOKEN:
            log.info("%s: no class token, so pooling is %s", tower, encoder.pooling)
            fields.pooling = encoder.pooling
        encoders[tower] = encoder
    if "text_encoder" in encoders:
        config.data.lowercase = published_lowercase(encoders["text_encoder"].folder)
    return config, WarmStart(encoders, config.data.image_size_px, heads)


def _adopt_whole(config: ConfigDict, path_or_name: str) -> dict[str, Any]:
    """Takes projections and scale of an open_clip model; its towers are adopted as others are.

    Returns:
      The parameters of these, as host arrays.

    Raises:
      FileNotFoundError, ValueError: as `pretrained.from_open_clip`; the config names checkpoints of
        single towers, too, or features before the projections.
    """
    model = config.model
    for tower in ("image_encoder", "text_encoder"):
        if model[tower].pretrained:
            raise ValueError(
                f"config.model.pretrained={path_or_name} brings both towers, and "
                f"config.model.{tower}.pretrained={model[tower].pretrained} one: leave one out"
            )
    if model.feature_dim:
        raise ValueError(
            f"config.model.pretrained={path_or_name} has projections on what its encoders pool: "
            "set config.model.feature_dim=0"
        )
    module, variables = loading.from_open_clip(path_or_name)
    params = jax.device_get(variables["params"])
    model.embed_dim = module.image_projection.features
    model.projection.kind = module.image_projection.kind
    model.projection.text_kind = module.text_projection.kind
    if "logit_bias" in params:
        model.logit_bias_init = float(params["logit_bias"])
    heads = {name: of for name, of in params.items() if not name.endswith("_encoder")}
    log.info("%s: a whole model, with its %s", path_or_name, ", ".join(heads))
    return heads
