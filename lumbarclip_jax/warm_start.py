"""Runs that start from published checkpoints: what these bring into config, text and weights."""

import dataclasses
import logging
import pathlib

from ml_collections import ConfigDict

from lumbarclip_jax.data.tokenizer import published_lowercase, published_vocabulary
from lumbarclip_jax.models import pretrained
from lumbarclip_jax.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """The published encoders of a run; none of them has to be there again once it is trained."""

    checkpoints: dict[str, Checkpoint]  # by tower: image_encoder, text_encoder
    image_size_px: int

    @property
    def vocabulary(self) -> pathlib.Path | None:
        """The file with the vocabulary of a published text encoder.

        Raises:
          FileNotFoundError: its folder has none.
        """
        if "text_encoder" not in self.checkpoints:
            return None
        folder = self.checkpoints["text_encoder"].folder
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
        for tower, checkpoint in self.checkpoints.items():
            brought = checkpoint.variables(
                getattr(model, tower), checkpoint.tensors(), self.image_size_px
            )
            for collection, tree in brought.items():
                variables[collection][tower] = tree
        return variables


def adopt(config: ConfigDict) -> WarmStart:
    """Opens the checkpoints a config names, and writes what they settle into it.

    `sizes` replace an encoder's variant, `data.lowercase` follows the text encoder's tokenizer. The
    config that a run keeps therefore describes its model without the checkpoints.

    Raises:
      FileNotFoundError, ValueError: as `pretrained.from_hf`; a checkpoint of another architecture
        than the config's.
    """
    checkpoints = {}
    for tower in ("image_encoder", "text_encoder"):
        encoder = config.model[tower]
        if not encoder.pretrained:
            continue
        checkpoint = pretrained.open_checkpoint(encoder.pretrained, tower)
        family = encoder.name if tower == "image_encoder" else "bert"
        if checkpoint.family != family:
            remedy = f"pass a checkpoint of a {family}"
            if tower == "image_encoder" and checkpoint.family != "bert":
                remedy += f", or set --config.model.image_encoder.name={checkpoint.family}"
            raise ValueError(
                f"{checkpoint.folder} holds a {checkpoint.family}, but config.model.{tower} is a "
                f"{family}: {remedy}"
            )
        encoder.sizes = checkpoint.sizes
        log.info(
            "%s: %s of %s, in its sizes (variant %s is not used)",
            tower,
            checkpoint.family,
            checkpoint.folder,
            encoder.variant,
        )
        checkpoints[tower] = checkpoint
    if "text_encoder" in checkpoints:
        config.data.lowercase = published_lowercase(checkpoints["text_encoder"].folder)
    return WarmStart(checkpoints, config.data.image_size_px)
