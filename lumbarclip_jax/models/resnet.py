"""ResNet with bottleneck blocks (He et al. 2016, arXiv 1512.03385), version 1.5.

Version 1.5, the one of every published ResNet-50 checkpoint, strides in the 3x3 convolution.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.batch_norm import BatchNorm
from lumbarclip_jax.models.block_sequence import traced_once
from lumbarclip_jax.models.convolution import Conv, max_pool
from lumbarclip_jax.models.layers import Dtype


class ResNet(nn.Module):
    """ResNet encoder of images of any size; `pooled` is the mean over the last feature map.

    `stage_widths` are the output channels of the stages; the first stage keeps the resolution of
    the stem (H/4), each later one halves it. Running statistics are in the collection
    `batch_stats`, which is updated when `train` is set and the collection is mutable.
    """

    stem_width: int
    stage_widths: tuple[int, ...]
    stage_depths: tuple[int, ...]
    pooling: str = "mean"
    in_channels: int = 3
    remat: bool = False
    dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        if self.pooling != "mean":
            raise ValueError(f"ResNet pooling {self.pooling!r} is not mean: it has no class token")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], *, train: bool = False) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, H/32, W/32, D] and `pooled` [B, D]."""

        def step(block: Bottleneck, x: Array) -> Array:
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
                x = step(Bottleneck(width, stride, self.dtype, name=name), x)
            self.sow("intermediates", "hidden_states", x)
        pooled = x.mean(axis=(1, 2), dtype=jnp.float32).astype(x.dtype)
        return {"last_hidden_state": x, "pooled": pooled}


class Bottleneck(nn.Module):
    """x + f(x) with f = 1x1, 3x3, 1x1 convolutions through a quarter of the width.

    The shortcut is a strided 1x1 convolution where the shape changes.
    """

    width: int
    stride: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w D"]:
        def conv_norm(x: Array, width: int, kernel_size: int, stride: int, suffix: str) -> Array:
            conv = Conv(width, kernel_size, stride, x.shape[-1], self.dtype, name=f"conv_{suffix}")
            return BatchNorm(dtype=self.dtype, name=f"norm_{suffix}")(conv(x), train=train)

        inner = self.width // 4
        branch = nn.relu(conv_norm(x, inner, 1, 1, "0"))
        branch = nn.relu(conv_norm(branch, inner, 3, self.stride, "1"))
        branch = conv_norm(branch, self.width, 1, 1, "2")
        if x.shape[-1] != self.width or self.stride != 1:
            x = conv_norm(x, self.width, 1, self.stride, "shortcut")
        return nn.relu(x + branch)
