"""The text encoder of SigLIP (Zhai et al. 2023, arXiv 2303.15343)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Int

from lumbarclip_jax.models.block_sequence import run_layers
from lumbarclip_jax.models.layers import Block, default_init, layer_norm, mask_bias, partitioned


class SiglipText(nn.Module):
    """Transformer encoder with absolute positions and norms before attention and feed-forward.

    `pooled` is the last position, padding or not: SigLIP was trained on texts padded to
    `max_positions` tokens, and attends to the padding. Such texts have a mask of ones.
    """

    vocab_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    max_positions: int = 64
    norm_epsilon: float = 1e-6
    activation: str = "gelu_pytorch_tanh"
    attention_dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None = None,
        *,
        train: bool = False,
    ) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, T, D] and `pooled` [B, D].

        Without a mask every token counts.

        Raises:
            ValueError: the text is longer than the position table.
        """
        length = input_ids.shape[1]
        if length > self.max_positions:
            raise ValueError(
                f"texts of {length} tokens do not fit the {self.max_positions} positions of this "
                "SigLIP: tokenize to a shorter length"
            )
        words = self.embed("word_embedding", "vocab", self.vocab_size)(input_ids)
        positions = self.embed("position_embedding", "position", self.max_positions)(
            jnp.arange(length)[None]
        )
        x = (words + positions).astype(self.dtype)
        self.sow("intermediates", "hidden_states", x)
        bias = None if attention_mask is None else mask_bias(attention_mask)
        x, _ = run_layers(self.block, self.depth, x, bias, train=train)
        x = layer_norm(self.norm_epsilon, dtype=self.dtype, name="norm")(x)
        return {"last_hidden_state": x, "pooled": x[:, -1]}

    def embed(self, name: str, axis: str, rows: int) -> nn.Embed:
        init = partitioned(default_init, axis, "embed")
        return nn.Embed(rows, self.width, embedding_init=init, dtype=jnp.float32, name=name)

    def block(self, name: str) -> Block:
        return Block(
            self.heads,
            self.mlp_width,
            pre_norm=True,
            norm_epsilon=self.norm_epsilon,
            activation=self.activation,
            attention_dropout=self.attention_dropout,
            dtype=self.dtype,
            name=name,
        )
