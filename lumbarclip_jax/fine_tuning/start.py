"""What a classifier starts from: an encoder, how its images are cut, weights if it has some."""

import dataclasses
from typing import Any

from lumbarclip_jax.models.small_cnn import SmallCNN
from lumbarclip_jax.models.small_resnet import SmallResNet
from lumbarclip_jax.run import Run


@dataclasses.dataclass(frozen=True)
class Start:
    """`encoder` is a linen module, `variables` its "params" and "batch_stats" or None if new."""

    encoder: Any
    crop_px: int
    image_size_px: int
    variables: dict[str, dict] | None = None


def from_run(run: Run, *, new_weights: bool = False) -> Start:
    """The image encoder of a trained run, as it is or as it was before training."""
    begin = Start(run.model.image_encoder, run.config.data.crop_px, run.config.data.image_size_px)
    if new_weights:
        return begin
    variables = {
        "params": run.state.params["image_encoder"],
        "batch_stats": run.state.batch_stats.get("image_encoder", {}),
    }
    return dataclasses.replace(begin, variables=variables)


def small_resnet() -> Start:
    """A small ResNet on 176 px (121 mm): disc, canal, facets, and the muscles, which show age."""
    return Start(SmallResNet(), crop_px=176, image_size_px=112)


def small_cnn() -> Start:
    """The plain baseline: a small convolutional network on 96 px (66 mm) around the disc."""
    return Start(SmallCNN(), crop_px=96, image_size_px=96)
