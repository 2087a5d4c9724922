"""ResNet (He et al. 2016, arXiv 1512.03385) of basic or, version 1.5, of bottleneck blocks.

Version 1.5, the one of every published ResNet-50 checkpoint, strides in the 3x3 convolution.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.batch_norm import BatchNorm
from lumbarclip_jax.models.block_sequence import traced_once
from lumbarclip_jax.models.convolution import Conv
from lumbarclip_jax.xla_cpu.convolution import max_pool


class ResNet(nn.Module):
    """ResNet encoder of images of any size; `pooled` is the mean over the last feature map.

    `stage_widths` are the output channels of the stages; the first stage keeps the resolution of
    the stem (H/4), each later one halves it. `block` is "bottleneck", as in ResNet-50, or "basic",
    as in ResNet-18 and 34: below 64 channels basic blocks learn more, as the inner convolutions of
    the others have a quarter of the channels. Running statistics are in the collection
    `batch_stats`, which is updated when `train` is set and the collection is mutable.
    """

    stem_width: int
    stage_widths: tuple[int, ...]
    stage_depths: tuple[int, ...]
    pooling: str = "mean"
    block: str = "bottleneck"
    in_channels: int = 3
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"ResNet block {self.block!r} is not one of {', '.join(BLOCKS)}")
        if self.pooling != "mean":
            raise ValueError(f"ResNet pooling {self.pooling!r} is not mean: it has no class token")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], *, train: bool = False) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, H/2^(1+S), W/2^(1+S), D] of S stages, `pooled` [B, D]."""

        def step(block: nn.Module, x: Array) -> Array:
            return block(x, train=train)

        if self.remat:
            step = nn.remat(step)
        step = traced_once(step, self)

        x = Conv(self.stem_width, 7, 2, self.in_channels, self.dtype, name="stem_conv")(images)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="stem_norm")(x, train=train))
        x = max_pool(x)
        self.sow("intermediates", "hidden_states", x)
        for stage, (width, depth) in enumerate(
            zip(self.stage_widths, self.stage_depths, strict=True)
        ):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"stage_{stage}_block_{index}"
                x = step(BLOCKS[self.block](width, stride, self.dtype, name=name), x)
            self.sow("intermediates", "hidden_states", x)
        pooled = x.mean(axis=(1, 2), dtype=jnp.float32).astype(x.dtype)
        return {"last_hidden_state": x, "pooled": pooled}


class Bottleneck(nn.Module):
    """relu(x + f(x)) with f = 1x1, 3x3, 1x1 convolutions through a quarter of the width.

    The shortcut is a strided 1x1 convolution where the shape changes.
    """

    width: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w D"]:
        inner = self.width // 4
        branch = nn.relu(_conv_norm(self, "0", x, inner, 1, 1, train))
        branch = nn.relu(_conv_norm(self, "1", branch, inner, 3, self.stride, train))
        branch = _conv_norm(self, "2", branch, self.width, 1, 1, train)
        return nn.relu(_shortcut(self, x, train) + branch)


class BasicBlock(nn.Module):
    """relu(x + f(x)) with f = two 3x3 convolutions; the shortcut is that of `Bottleneck`."""

    width: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w D"]:
        branch = nn.relu(_conv_norm(self, "0", x, self.width, 3, self.stride, train))
        branch = _conv_norm(self, "1", branch, self.width, 3, 1, train)
        return nn.relu(_shortcut(self, x, train) + branch)


BLOCKS = {"bottleneck": Bottleneck, "basic": BasicBlock}


def _conv_norm(block, suffix: str, x: Array, width: int, kernel_size: int, stride: int, train):
    """A convolution and its normalisation, parts `conv_<suffix>` and `norm_<suffix>` of a block."""
    conv = Conv(width, kernel_size, stride, x.shape[-1], block.dtype, name=f"conv_{suffix}")
    return BatchNorm(dtype=block.dtype, name=f"norm_{suffix}")(conv(x), train=train)


def _shortcut(block, x: Array, train: bool) -> Array:
    if x.shape[-1] == block.width and block.stride == 1:
        return x
    return _conv_norm(block, "shortcut", x, block.width, 1, block.stride, train)
