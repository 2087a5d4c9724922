"""Floating-point operations of a train step, counted from the sizes of the model.

A multiply-add of a matrix product or convolution is 2 FLOPs. Normalisation, softmax, activations,
pooling, the token tables and augmentation are not counted, nor the attention that `scan_layers`
computes again: a percent each at most. XLA's own count is not used because it takes the body of a
loop once, however often it runs.
"""

import dataclasses
import math

from ml_collections import ConfigDict

from lumbarclip_jax.models.lumbarclip import projection_kinds, sizes_of
from lumbarclip_jax.models.projection import hidden_width
from lumbarclip_jax.models.study_pool import HIDDEN
from lumbarclip_jax.models.variants import bert_sizes, resnet_sizes, swin_sizes, vit_sizes
from lumbarclip_jax.objectives.objective import Objective

# A float32 product of the highest precision is six bfloat16 passes through a TPU's matrix unit.
FLOAT32_PASSES = 6


@dataclasses.dataclass(frozen=True)
class Forward:
    """FLOPs of an encoder for one sample."""

    stem: float
    blocks: float  # what `remat` computes twice

    @property
    def total(self) -> float:
        return self.stem + self.blocks


@dataclasses.dataclass(frozen=True)
class StepFlops:
    """FLOPs of one optimizer step over all chips. Only those of the model are called useful."""

    model: float  # encoders, features and projections, three times their forward pass
    loss: float  # of similarities, counted once although their float32 products take more passes
    remat: float  # blocks that the backward pass computes again
    accumulation: float  # the forward pass that comes before the one with a gradient

    @property
    def on_the_matrix_unit(self) -> float:
        """What a TPU executes, in bfloat16 operations."""
        return self.model + self.remat + self.accumulation + FLOAT32_PASSES * self.loss


def step_flops(config: ConfigDict, batch: int, channels: int = 1) -> StepFlops:
    """FLOPs of one step of a run config on `batch` pairs of images with `channels` channels."""
    model, data, views = config.model, config.data, views_of(config)
    image = image_forward(model.image_encoder, data.image_size_px, channels)
    text = text_forward(model.text_encoder, data.max_tokens)
    widths = (image_width(model.image_encoder), _text_sizes(model.text_encoder)["width"])
    projections = [
        projection_forward(kind, model.feature_dim or width, model.embed_dim)
        for kind, width in zip(projection_kinds(model.projection), widths, strict=True)
    ]
    # Of a study that is pooled there is one embedding.
    compared = (1, views[1]) if model.study_pooling else views
    forward = batch * sum(
        count * (tower.total + 2 * width * model.feature_dim) + embedded * projection
        for count, embedded, tower, width, projection in zip(
            views, compared, (image, text), widths, projections, strict=True
        )
    )
    if model.study_pooling == "attention":
        forward += batch * views[0] * 4 * (model.feature_dim or widths[0]) * HIDDEN
    blocks = views[0] * image.blocks + views[1] * text.blocks
    accumulated = config.optim.accumulation_steps > 1
    return StepFlops(
        model=3 * forward,
        loss=Objective(config.objective).flops(batch, model.embed_dim, compared),
        remat=batch * blocks if model.remat else 0.0,
        accumulation=forward if accumulated else 0.0,
    )


def views_of(config: ConfigDict) -> tuple[int, int]:
    """Images and texts of a pair."""
    return config.data.image_views, config.data.text_views


def image_forward(encoder: ConfigDict, size_px: int, channels: int) -> Forward:
    """Forward FLOPs of `config.model.image_encoder` for one square image."""
    if encoder.name == "vit":
        return vit_forward(size_px, channels, **_needed(sizes_of(encoder, vit_sizes), VIT))
    if encoder.name == "swin":
        return swin_forward(size_px, channels, **_needed(sizes_of(encoder, swin_sizes), SWIN))
    return resnet_forward(size_px, channels, **_needed(sizes_of(encoder, resnet_sizes), RESNET))


def image_width(encoder: ConfigDict) -> int:
    """Features of the pooled output of `config.model.image_encoder`."""
    if encoder.name == "vit":
        return sizes_of(encoder, vit_sizes)["width"]
    if encoder.name == "swin":
        sizes = sizes_of(encoder, swin_sizes)
        return sizes["width"] * 2 ** (len(sizes["stage_depths"]) - 1)
    return sizes_of(encoder, resnet_sizes)["stage_widths"][-1]


def text_forward(encoder: ConfigDict, tokens: float) -> Forward:
    """Forward FLOPs of `config.model.text_encoder` for one text, padding included."""
    sizes = _text_sizes(encoder)
    return Forward(0.0, sizes["depth"] * _block(tokens, tokens, sizes["width"], sizes["mlp_width"]))


TRANSFORMER = ("width", "depth", "mlp_width")
VIT = (*TRANSFORMER, "patch_size")
SWIN = ("width", "stage_depths")
RESNET = ("stem_width", "stage_widths", "stage_depths", "block")


def _text_sizes(encoder: ConfigDict) -> dict:
    return _needed(sizes_of(encoder, bert_sizes), TRANSFORMER)


def _needed(sizes: dict, fields: tuple[str, ...]) -> dict:
    return {field: sizes[field] for field in fields}


def _block(tokens: float, attended: float, width: int, mlp_width: int) -> float:
    """A transformer block in which each token attends to `attended` tokens."""
    linear = tokens * (4 * width**2 + 2 * width * mlp_width)
    return 2 * (linear + 2 * tokens * attended * width)


def vit_forward(
    size_px: int, channels: int, *, width: int, depth: int, mlp_width: int, patch_size: int
) -> Forward:
    patches = (size_px // patch_size) ** 2
    tokens = 1 + patches
    return Forward(
        2 * patches * patch_size**2 * channels * width,
        depth * _block(tokens, tokens, width, mlp_width),
    )


def swin_forward(
    size_px: int,
    channels: int,
    *,
    width: int,
    stage_depths: tuple[int, ...],
    patch_size: int = 4,
    window: int = 7,
) -> Forward:
    side = math.ceil(size_px / patch_size)
    stem, blocks = 2 * side**2 * patch_size**2 * channels * width, 0.0
    for stage, depth in enumerate(stage_depths):
        padded = (math.ceil(side / window) * window) ** 2
        mlp = 2 * side**2 * 8 * width**2
        attention = 2 * (padded * 4 * width**2 + 2 * padded * window**2 * width)
        blocks += depth * (mlp + attention)
        if stage < len(stage_depths) - 1:
            side = math.ceil(side / 2)
            stem += 2 * side**2 * 4 * width * 2 * width  # merging is no part of a block
            width *= 2
    return Forward(stem, blocks)


def resnet_forward(
    size_px: int,
    channels: int,
    *,
    stem_width: int,
    stage_widths: tuple[int, ...],
    stage_depths: tuple[int, ...],
    block: str,
) -> Forward:
    side = math.ceil(size_px / 2)
    stem, blocks = 2 * side**2 * 49 * channels * stem_width, 0.0
    side, width_in = math.ceil(side / 2), stem_width
    for stage, (width, depth) in enumerate(zip(stage_widths, stage_depths, strict=True)):
        inner = width // 4
        for index in range(depth):
            strided = math.ceil(side / 2) if stage > 0 and index == 0 else side
            if block == "basic":
                macs = strided**2 * 9 * (width_in * width + width**2)
            else:
                macs = side**2 * width_in * inner
                macs += strided**2 * (9 * inner**2 + inner * width)
            if width_in != width or strided != side:
                macs += strided**2 * width_in * width
            blocks += 2 * macs
            side, width_in = strided, width
    return Forward(stem, blocks)


def projection_forward(kind: str, width: int, embed_dim: int) -> float:
    """Forward FLOPs of a projection head for one sample."""
    if kind in ("linear", "linear_no_bias"):
        return 2 * width * embed_dim
    return 2 * hidden_width(kind, width, embed_dim) * (width + embed_dim)
