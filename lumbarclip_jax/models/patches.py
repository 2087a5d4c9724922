"""Patch embedding, grey images for three-channel weights, and position tables of any size."""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import default_init, partitioned
from lumbarclip_jax.xla_cpu.convolution import patches
from lumbarclip_jax.xla_cpu.sums import on_rows


def match_channels(
    kernel: Float[Array, "h w C D"], images: Float[Array, "B H W c"]
) -> Float[Array, "h w c D"]:
    """The kernel for these images: summed over its input channels when they are grey.

    A grey image repeated in every channel gives each tap the same pixel, so the sum of the taps
    does the same work on one channel.

    Raises:
        ValueError: the images have neither one channel nor the kernel's.
    """
    channels = images.shape[-1]
    if channels == kernel.shape[2]:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    raise ValueError(
        f"images have {channels} channels, the encoder takes {kernel.shape[2]} or 1: "
        "convert the images or drop the extra channels"
    )


class PatchEmbed(nn.Module):
    """Linear embedding of non-overlapping square patches, [B, H, W, C] to [B, H/p, W/p, D].

    Pixels beyond the last whole patch are dropped.
    """

    width: int
    patch_size: int
    in_channels: int = 3
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        size = self.patch_size
        kernel = self.param(
            "kernel",
            partitioned(default_init, None, None, "conv_in", "conv_out"),
            (size, size, self.in_channels, self.width),
        )
        bias = self.param("bias", partitioned(nn.initializers.zeros, "conv_out"), (self.width,))
        kernel = match_channels(kernel, images).reshape(-1, self.width).astype(self.dtype)
        squares = patches(size, images).astype(self.dtype)
        return on_rows(
            lambda rows: jnp.matmul(rows, kernel) + bias.astype(self.dtype)[None], squares
        )


def resize_positions(
    table: Float[Array, "G D"] | Float[np.ndarray, "G D"], grid: tuple[int, int]
) -> Float[Array, "rows_times_columns D"] | Float[np.ndarray, "rows_times_columns D"]:
    """Bicubic resampling of a square position table to `grid` (rows, columns).

    The convolution of PyTorch's `interpolate(mode="bicubic", align_corners=False)`, which the
    published ViT code uses: Keys' kernel with a = -0.75, borders repeated, no antialiasing.
    (`jax.image.resize` has a = -0.5 and antialiases.)
    """
    side = round(len(table) ** 0.5)
    if grid == (side, side):
        return table
    rows, columns = (jnp.asarray(bicubic_matrix(side, size), table.dtype) for size in grid)
    square = table.reshape(side, side, -1)
    return jnp.einsum("ri,cj,ijd->rcd", rows, columns, square).reshape(grid[0] * grid[1], -1)


def fit_positions(
    table: Float[Array, "T D"] | Float[np.ndarray, "T D"], first: int, grid: tuple[int, int]
) -> Float[Array, "first_plus_rows_times_columns D"]:
    """A ViT's table for `grid`: its `first` rows, which are no patch's, and the rest resized."""
    return jnp.concatenate([table[:first], resize_positions(table[first:], grid)])


def bicubic_matrix(size_in: int, size_out: int) -> np.ndarray:
    """The [size_out, size_in] matrix of one-dimensional bicubic resampling (Keys 1981)."""
    a = -0.75
    centre = (np.arange(size_out) + 0.5) * size_in / size_out - 0.5
    first = np.floor(centre).astype(int)
    matrix = np.zeros((size_out, size_in))
    for offset in (-1, 0, 1, 2):
        t = np.abs(centre - first - offset)
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        far = a * (t**3 - 5 * t**2 + 8 * t - 4)
        column = np.clip(first + offset, 0, size_in - 1)
        np.add.at(matrix, (np.arange(size_out), column), np.where(t <= 1, near, far))
    return matrix
