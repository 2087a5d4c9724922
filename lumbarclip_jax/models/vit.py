"""Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), and the one of SigLIP."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.attention_pool import AttentionPool
from lumbarclip_jax.models.block_sequence import run_layers
from lumbarclip_jax.models.layers import (
    Block,
    Dense,
    Dropout,
    default_init,
    layer_norm,
    partitioned,
)
from lumbarclip_jax.models.patches import PatchEmbed, fit_positions

POOLINGS = ("cls", "mean", "pooler", "map")
OF_CLASS_TOKEN = ("cls", "pooler")  # those that need one


class ViT(nn.Module):
    """ViT encoder of images of any size.

    `pooling` decides what `pooled` is: `cls` the class token, `mean` the mean of the patch
    tokens, `pooler` the tanh layer on the class token that Hugging Face checkpoints carry as
    `pooler`, `map` an `AttentionPool` of all tokens. SigLIP's image tower (Zhai et al. 2023, arXiv
    2303.15343) has no class token and pools by `map`. `norm_epsilon` is 1e-12 in Hugging Face's
    ViT and 1e-6 in timm's and SigLIP's.

    The position table is made for the image size seen at initialisation (a checkpoint brings its
    own); other sizes resample it.
    """

    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_size: int
    pooling: str = "cls"
    use_class_token: bool = True
    norm_epsilon: float = 1e-12
    use_qkv_bias: bool = True
    activation: str = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    in_channels: int = 3
    remat: bool = False
    scan_layers: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"ViT pooling {self.pooling!r} is not one of {', '.join(POOLINGS)}")
        if not self.use_class_token and self.pooling in OF_CLASS_TOKEN:
            raise ValueError(
                f"a ViT without class token cannot pool by {self.pooling!r}: set pooling to map, "
                "as SigLIP has it, or to mean"
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], *, train: bool = False) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, 1 + patches, D] and `pooled` [B, D].

        Without class token the tokens are the patches alone.
        """
        patches = PatchEmbed(
            self.width, self.patch_size, self.in_channels, self.dtype, name="patch_embed"
        )(images)
        batch, *grid, _ = patches.shape
        x = patches.reshape(batch, -1, self.width)
        if self.use_class_token:
            token = self.param(
                "class_token", partitioned(default_init, None, "embed"), (1, self.width)
            )
            token = jnp.broadcast_to(token.astype(self.dtype), (batch, 1, self.width))
            x = jnp.concatenate([token, x], axis=1)
        x = x + self.positions((grid[0], grid[1])).astype(self.dtype)[None]
        x = Dropout(self.dropout)(x, train=train)
        self.sow("intermediates", "hidden_states", x)
        x, _ = run_layers(
            self.block,
            self.depth,
            x,
            drop_path=self.drop_path,
            remat=self.remat,
            scan=self.scan_layers,
            train=train,
        )
        x = layer_norm(self.norm_epsilon, dtype=self.dtype, name="norm")(x)
        return {"last_hidden_state": x, "pooled": self.pool(x)}

    def block(self, name: str) -> Block:
        return Block(
            self.heads,
            self.mlp_width,
            pre_norm=True,
            norm_epsilon=self.norm_epsilon,
            use_qkv_bias=self.use_qkv_bias,
            activation=self.activation,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            dtype=self.dtype,
            name=name,
        )

    def positions(self, grid: tuple[int, int]) -> Float[Array, "T D"]:
        """The position of the class token, if any, then those of the grid's patches row by row."""
        first = int(self.use_class_token)
        rows = first + max(grid) ** 2
        if self.has_variable("params", "position_embedding"):
            rows = len(nn.meta.unbox(self.get_variable("params", "position_embedding")))
        table = self.param(
            "position_embedding", partitioned(default_init, "position", "embed"), (rows, self.width)
        )
        return fit_positions(table, first, grid)

    def pool(self, x: Float[Array, "B T D"]) -> Float[Array, "B D"]:
        if self.pooling == "mean":
            patches = x[:, int(self.use_class_token) :]
            return patches.mean(axis=1, dtype=jnp.float32).astype(x.dtype)
        if self.pooling == "cls":
            return x[:, 0]
        if self.pooling == "map":
            return AttentionPool(
                self.heads,
                self.mlp_width,
                self.norm_epsilon,
                self.activation,
                self.dtype,
                name="pool",
            )(x)
        return nn.tanh(Dense(self.width, ("embed", None), dtype=self.dtype, name="pooler")(x[:, 0]))
