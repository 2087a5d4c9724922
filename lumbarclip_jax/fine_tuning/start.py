"""What a classifier starts from: an encoder, how its images are cut, weights if it has some."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from lumbarclip_jax.models.lumbarclip import build_image_encoder
from lumbarclip_jax.models.small_cnn import SmallCNN
from lumbarclip_jax.run import Run
from lumbarclip_jax.train_step import compute_dtype


@dataclasses.dataclass(frozen=True)
class Start:
    """`encoder` is a linen module, `variables` its "params" and "batch_stats" or None if new."""

    encoder: Any
    crop_px: int
    image_size_px: int
    variables: dict[str, dict] | None = None


def from_run(run: Run) -> Start:
    """The image encoder of a trained run."""
    state = run.state
    return Start(
        run.model.image_encoder,
        run.config.data.crop_px,
        run.config.data.image_size_px,
        {
            "params": state.params["image_encoder"],
            "batch_stats": state.batch_stats.get("image_encoder", {}),
        },
    )


def from_scratch(config: ConfigDict) -> Start:
    """The image encoder that a run config describes, with new weights.

    Raises:
      ValueError: there is no such encoder.
    """
    encoder = build_image_encoder(config.model, compute_dtype(config))
    return Start(encoder, config.data.crop_px, config.data.image_size_px)


def small_cnn() -> Start:
    """The plain baseline: a small convolutional network on 96 px around the disc."""
    return Start(SmallCNN(), crop_px=96, image_size_px=96)
