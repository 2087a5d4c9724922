"""ResNet with bottleneck blocks (He et al. 2016, arXiv 1512.03385), version 1.5.

Version 1.5, the one of every published ResNet-50 checkpoint, strides in the 3x3 convolution.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import Dtype, partitioned
from lumbarclip_jax.models.patches import match_channels

kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


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

        x = Conv(self.stem_width, 7, 2, self.in_channels, self.dtype, name="stem_conv")(images)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="stem_norm")(x, train=train))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
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


class Conv(nn.Module):
    """A convolution without bias, padded by half its kernel on every side.

    1x1 kernels are a slice and a matmul: their weight gradient is 3 to 5 times faster on CPU.
    """

    width: int
    kernel_size: int
    stride: int
    in_channels: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        size, stride = self.kernel_size, self.stride
        kernel = self.param(
            "kernel",
            partitioned(kernel_init, None, None, "conv_in", "conv_out"),
            (size, size, self.in_channels, self.width),
        )
        kernel, x = match_channels(kernel, x).astype(self.dtype), x.astype(self.dtype)
        if size == 1:
            return jnp.matmul(x[:, ::stride, ::stride], kernel[0, 0])
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(stride, stride),
            padding=((size // 2, size // 2),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) with PyTorch's running statistics.

    Training normalises by the biased variance of the batch and moves the running variance towards
    the unbiased one, which linen's own layer does not. The batch is the global one: under `jit`
    with a sharded batch the means are taken over every device.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W D"], *, train: bool) -> Float[Array, "B H W D"]:
        shape = (x.shape[-1],)
        scale = self.param("scale", partitioned(nn.initializers.ones, "norm"), shape)
        offset = self.param("bias", partitioned(nn.initializers.zeros, "norm"), shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)

        mean, var = running_mean.value, running_var.value
        if train:
            mean, var = batch_statistics(x)
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = var * (count / max(count - 1, 1))  # the count alone can pass 2³¹
                running_mean.value += self.momentum * (mean - running_mean.value)
                running_var.value += self.momentum * (unbiased - running_var.value)

        # One row a pixel: XLA's CPU gradient of a broadcast over three axes is 20 times slower.
        rows = x.astype(jnp.float32).reshape(-1, x.shape[-1])
        factor = scale * lax.rsqrt(var + self.epsilon)
        out = (rows - mean[None]) * factor[None] + offset[None]
        return out.astype(self.dtype).reshape(x.shape)


def batch_statistics(
    x: Float[Array, "B H W D"],
) -> tuple[Float[Array, "D"], Float[Array, "D"]]:
    """Mean and biased variance over batch and space in float32, reading x once.

    E[x²] - E[x]² would cancel where a channel's mean is far from 0. Each image is therefore shifted
    by one of its own pixels, and the images' statistics are combined (Chan et al. 1979).
    """
    pixels = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
    shift = lax.stop_gradient(pixels[:, :1])
    shifted = pixels - shift
    shifted_mean = shifted.mean(axis=1)
    within = jnp.square(shifted).mean(axis=1) - jnp.square(shifted_mean)
    image_mean = shift[:, 0] + shifted_mean
    mean = image_mean.mean(axis=0)
    between = jnp.square(image_mean - mean[None])
    return mean, (within + between).mean(axis=0)
