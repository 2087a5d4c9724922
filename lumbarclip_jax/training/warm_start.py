"""Runs that start from published checkpoints: what these bring into config, text and weights."""

import dataclasses
import logging
import pathlib

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
        variables = {"params": {}, "batch_stats": {}}
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
      class token pools as it was published where it was to pool by that token: the config that a
      run keeps describes its model without the checkpoints.

    Raises:
      FileNotFoundError, ValueError: as `pretrained.from_hf`; a checkpoint of another architecture
        than the config's.
    """
    config, encoders = config.copy_and_resolve_references(), {}
    for tower in ("image_encoder", "text_encoder"):
        fields = config.model[tower]
        if not fields.pretrained:
            continue
        encoder = loading.open_encoder(fields.pretrained, tower)
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
    return config, WarmStart(encoders, config.data.image_size_px)
