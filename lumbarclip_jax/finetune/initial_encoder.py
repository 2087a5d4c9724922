"""What a classifier starts from: an encoder, how its images are cut, weights if it has some."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.small_cnn import SmallCNN
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.variants import resnet_sizes
from lumbarclip_jax.models.vit import ViT
from lumbarclip_jax.run_folder.run import Run
from lumbarclip_jax.training import train_step

ENCODERS = {
    "vit": ViT,
    "swin": Swin,
    "resnet": ResNet,
    "small_cnn": SmallCNN,
}
# Of a linen module, what is no size of it: linen's own, and the type it computes in.
NO_SIZES = ("parent", "name", "dtype")


@dataclasses.dataclass(frozen=True)
class InitialEncoder:
    """`encoder` is a linen module, `variables` its "params" and "batch_stats" or None if new.

    `dtype` is what the encoder of a run computes in, as in its config: "auto" depends on the
    machine. The small networks compute in float32.
    """

    encoder: Any
    crop_px: int
    image_size_px: int
    variables: dict[str, dict] | None = None
    dtype: str = "float32"


def from_run(run: Run, *, new_weights: bool = False) -> InitialEncoder:
    """The image encoder of a trained run, as it is or as it was before training.

    The heads of a classifier sit on what it pools: what the run has on that, a reduction to
    `model.feature_dim` and the projection, is left behind.
    """
    data = run.config.data
    initial = InitialEncoder(
        run.model.image_encoder, data.crop_px, data.image_size_px, dtype=run.config.dtype
    )
    if new_weights:
        return initial
    variables = {
        "params": run.state.params["image_encoder"],
        "batch_stats": run.state.batch_stats.get("image_encoder", {}),
    }
    return dataclasses.replace(initial, variables=variables)


def small_resnet() -> InitialEncoder:
    """A small ResNet on 176 px (121 mm): disc, canal, facets, and the muscles, which show age."""
    encoder = ResNet(**resnet_sizes("small"), in_channels=1)
    return InitialEncoder(encoder, crop_px=176, image_size_px=112)


def small_cnn() -> InitialEncoder:
    """The plain baseline: a small convolutional network on 96 px (66 mm) around the disc."""
    return InitialEncoder(SmallCNN(), crop_px=96, image_size_px=96)


def definition(encoder: Any) -> dict[str, Any]:
    """An encoder as JSON: the name of its class in `ENCODERS` and every size."""
    name = next(name for name, module in ENCODERS.items() if type(encoder) is module)
    sizes = {field.name: getattr(encoder, field.name) for field in dataclasses.fields(encoder)}
    sizes = {field: size for field, size in sizes.items() if field not in NO_SIZES}
    return {"name": name} | {k: list(x) if isinstance(x, tuple) else x for k, x in sizes.items()}


def defined(definition: Mapping[str, Any], dtype: str) -> Any:
    """The encoder of a `definition`, which computes in `dtype`, see `InitialEncoder`."""
    sizes: dict[str, Any] = {
        k: tuple(x) if isinstance(x, list) else x for k, x in definition.items() if k != "name"
    }
    name = definition["name"]
    if name == "small_resnet":  # so called before ResNet had basic blocks
        name, width = "resnet", sizes.pop("width")
        widths = tuple(width * 2**stage for stage in range(len(sizes["stage_depths"])))
        sizes.update(stem_width=width, stage_widths=widths, block="basic", in_channels=1)
    module = ENCODERS[name]
    if any(field.name == "dtype" for field in dataclasses.fields(module)):
        sizes["dtype"] = train_step.compute_dtype(ConfigDict({"dtype": dtype}))
    return module(**sizes)
