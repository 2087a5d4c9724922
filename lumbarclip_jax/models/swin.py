"""Swin Transformer (Liu et al. 2021, arXiv 2103.14030)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.block_sequence import drop_path_rates, traced_once
from lumbarclip_jax.models.layers import (
    MLP,
    Dense,
    DropPath,
    SelfAttention,
    default_init,
    layer_norm,
    partitioned,
)
from lumbarclip_jax.models.patches import PatchEmbed


class Swin(nn.Module):
    """Swin encoder of images of any size; `pooled` is the mean of the last tokens.

    Images are padded with zeros to whole patches, feature maps to whole windows and to even sides
    before merging, as in the published code. A map no larger than one window is not shifted.
    """

    width: int
    stage_depths: tuple[int, ...]
    stage_heads: tuple[int, ...]
    patch_size: int = 4
    window: int = 7
    mlp_ratio: float = 4.0
    pooling: str = "mean"
    norm_epsilon: float = 1e-5
    use_qkv_bias: bool = True
    activation: str = "gelu"
    drop_path: float = 0.0
    in_channels: int = 3
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.pooling != "mean":
            raise ValueError(f"Swin pooling {self.pooling!r} is not mean: it has no class token")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], *, train: bool = False) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, T, D], T = H/32 * W/32 row by row, and `pooled`."""

        def step(block: SwinBlock, x: Array, rate: Array | None) -> Array:
            return block(x, rate, train=train)

        if self.remat:
            step = nn.remat(step)
        step = traced_once(step, self)

        x = PatchEmbed(
            self.width, self.patch_size, self.in_channels, self.dtype, name="patch_embed"
        )(pad_to_multiple(images, self.patch_size))
        x = layer_norm(self.norm_epsilon, dtype=self.dtype, name="embed_norm")(x)
        self.sow("intermediates", "hidden_states", x)
        rates = iter(drop_path_rates(self.drop_path, sum(self.stage_depths)))
        for stage, (depth, heads) in enumerate(
            zip(self.stage_depths, self.stage_heads, strict=True)
        ):
            for index in range(depth):
                x = step(self.block(stage, index, heads), x, next(rates))
            if stage < len(self.stage_depths) - 1:
                name = f"stage_{stage}_merge"
                x = PatchMerge(self.norm_epsilon, self.dtype, name=name)(x)
            self.sow("intermediates", "hidden_states", x)
        x = layer_norm(self.norm_epsilon, dtype=self.dtype, name="norm")(x)
        pooled = x.mean(axis=(1, 2), dtype=jnp.float32).astype(x.dtype)
        return {"last_hidden_state": x.reshape(x.shape[0], -1, x.shape[-1]), "pooled": pooled}

    def block(self, stage: int, index: int, heads: int) -> "SwinBlock":
        return SwinBlock(
            heads,
            window=self.window,
            shift=0 if index % 2 == 0 else self.window // 2,
            mlp_ratio=self.mlp_ratio,
            norm_epsilon=self.norm_epsilon,
            use_qkv_bias=self.use_qkv_bias,
            activation=self.activation,
            dtype=self.dtype,
            name=f"stage_{stage}_block_{index}",
        )


class SwinBlock(nn.Module):
    """Pre-norm block with attention inside (shifted) windows (section 3.2, equation 3)."""

    heads: int
    window: int
    shift: int
    mlp_ratio: float
    norm_epsilon: float
    use_qkv_bias: bool
    activation: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W D"], drop_path: Float[Array, ""] | None, *, train: bool
    ) -> Float[Array, "B H W D"]:
        normed = layer_norm(self.norm_epsilon, dtype=self.dtype, name="attention_norm")(x)
        x = x + DropPath()(self.attend(normed), drop_path, train=train)
        normed = layer_norm(self.norm_epsilon, dtype=self.dtype, name="mlp_norm")(x)
        hidden = int(self.mlp_ratio * x.shape[-1])
        branch = MLP(hidden, self.activation, self.dtype, name="mlp")(normed)
        return x + DropPath()(branch, drop_path, train=train)

    def attend(self, x: Float[Array, "B H W D"]) -> Float[Array, "B H W D"]:
        rows, columns = x.shape[1:3]
        shift = self.shift if min(rows, columns) > self.window else 0
        x = pad_to_multiple(x, self.window)
        padded = (x.shape[1], x.shape[2])
        table = self.param(
            "relative_position_table",
            partitioned(default_init, "position", "heads"),
            ((2 * self.window - 1) ** 2, self.heads),
        )
        bias = table[relative_position_index(self.window)].transpose(2, 0, 1)[None, None]
        if shift:
            bias = bias + shift_mask(padded, self.window, shift)[None, :, None]
        windows = window_partition(jnp.roll(x, (-shift, -shift), (1, 2)), self.window)
        attention = SelfAttention(self.heads, self.use_qkv_bias, dtype=self.dtype, name="attention")
        x = window_merge(attention(windows, bias), self.window, padded)
        return jnp.roll(x, (shift, shift), (1, 2))[:, :rows, :columns]


class PatchMerge(nn.Module):
    """Joins 2x2 neighbours and halves the fourfold features: [B, H, W, D] to [B, H/2, W/2, 2D]."""

    norm_epsilon: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W D"]) -> Float[Array, "B h w E"]:
        x = pad_to_multiple(x, 2)
        batch, rows, columns, width = x.shape
        x = x.reshape(batch, rows // 2, 2, columns // 2, 2, width)
        # Published weights list the four neighbours column by column.
        x = x.transpose(0, 1, 3, 4, 2, 5).reshape(batch, rows // 2, columns // 2, 4 * width)
        x = layer_norm(self.norm_epsilon, dtype=self.dtype, name="norm")(x)
        axes = (None, "embed")
        return Dense(2 * width, axes, dtype=self.dtype, name="reduction", use_bias=False)(x)


def pad_to_multiple(x: Float[Array, "B H W D"], size: int) -> Float[Array, "B h w D"]:
    """Zeros below and to the right until both sides are multiples of `size`."""
    rows, columns = x.shape[1:3]
    return jnp.pad(x, ((0, 0), (0, -rows % size), (0, -columns % size), (0, 0)))


def window_partition(x: Float[Array, "B H W D"], window: int) -> Float[Array, "B windows T D"]:
    """Splits a map into windows of T = window² tokens, both row by row."""
    batch, rows, columns, width = x.shape
    x = x.reshape(batch, rows // window, window, columns // window, window, width)
    return x.swapaxes(2, 3).reshape(batch, -1, window * window, width)


def window_merge(
    x: Float[Array, "B windows T D"], window: int, shape: tuple[int, int]
) -> Float[Array, "B H W D"]:
    """The inverse of `window_partition` for a map of `shape`."""
    rows, columns = shape
    batch, _, _, width = x.shape
    x = x.reshape(batch, rows // window, columns // window, window, window, width)
    return x.swapaxes(2, 3).reshape(batch, rows, columns, width)


def relative_position_index(window: int) -> np.ndarray:
    """[T, T] row of the bias table for each pair of tokens of a window: their (Δrow, Δcolumn)."""
    row, column = np.divmod(np.arange(window * window), window)
    delta_row = row[:, None] - row + window - 1
    delta_column = column[:, None] - column + window - 1
    return delta_row * (2 * window - 1) + delta_column


def shift_mask(shape: tuple[int, int], window: int, shift: int) -> np.ndarray:
    """[windows, T, T]: -100 where two tokens of a rolled window were not neighbours, else 0.

    Rolling brings the opposite edge of the map into the last window of each axis; a token then
    belongs to one of three stretches an axis, and attends only within its own.
    """

    def stretch(size: int) -> np.ndarray:
        position = np.arange(size)
        return (position >= size - window).astype(int) + (position >= size - shift)

    region = 3 * stretch(shape[0])[:, None] + stretch(shape[1])
    rows, columns = shape
    region = region.reshape(rows // window, window, columns // window, window)
    region = region.swapaxes(1, 2).reshape(-1, window * window)
    return np.where(region[:, :, None] == region[:, None, :], 0.0, -100.0).astype(np.float32)
