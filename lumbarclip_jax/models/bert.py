"""BERT encoder (Devlin et al. 2019, arXiv 1810.04805)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lumbarclip_jax.models.block_sequence import run_layers
from lumbarclip_jax.models.layers import (
    Block,
    Dense,
    Dropout,
    default_init,
    layer_norm,
    mask_bias,
    partitioned,
)

POOLINGS = ("cls", "mean", "last", "pooler", "mean_with_padding")


class Bert(nn.Module):
    """BERT encoder with absolute positions.

    `pooling` decides what `pooled` is: `cls` the first token, `mean` the mean of the tokens under
    the attention mask, `last` the last token under the mask ([SEP]), `pooler` the tanh layer on
    the first token that published checkpoints carry as `pooler`, `mean_with_padding` the mean of
    all tokens, padding included. Tokens outside the mask change neither the hidden states of the
    others nor, but for `mean_with_padding`, `pooled`: that depends on how far a text is padded.

    What is pooled is the mean of the hidden states numbered in `pool_layers`, each as often as it
    is named: 0 is the sum of the embeddings, normalised, 1 the output of the first block, -1 that
    of the last, as in `hidden_states` of transformers; () is the last alone.
    """

    vocab_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    pooling: str = "cls"
    pool_layers: tuple[int, ...] = ()
    max_positions: int = 512
    token_types: int = 2
    norm_epsilon: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    remat: bool = False
    scan_layers: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"BERT pooling {self.pooling!r} is not one of {', '.join(POOLINGS)}")
        if not all(-1 - self.depth <= layer <= self.depth for layer in self.pool_layers):
            raise ValueError(
                f"BERT pool_layers {tuple(self.pool_layers)} are not all hidden states of its "
                f"{self.depth} blocks: name 0 to {self.depth}, or -1 for the last and so on"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"] | None = None,
        token_type_ids: Int[Array, "B T"] | None = None,
        *,
        train: bool = False,
    ) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, T, D] and `pooled` [B, D].

        Without a mask every token counts; without token types all are 0.

        Raises:
            ValueError: the text is longer than the position table.
        """
        length = input_ids.shape[1]
        if length > self.max_positions:
            raise ValueError(
                f"texts of {length} tokens do not fit the {self.max_positions} positions of this "
                "BERT: tokenize to a shorter length"
            )
        if attention_mask is None:
            attention_mask = jnp.ones_like(input_ids)
        if token_type_ids is None:
            token_type_ids = jnp.zeros_like(input_ids)

        words = self.embed("word_embedding", "vocab", self.vocab_size)(input_ids)
        types = self.embed("token_type_embedding", "position", self.token_types)(token_type_ids)
        positions = self.embed("position_embedding", "position", self.max_positions)(
            jnp.arange(length)[None]
        )
        x = words + types + positions
        x = layer_norm(self.norm_epsilon, dtype=self.dtype, name="embedding_norm")(x)
        x = Dropout(self.dropout)(x, train=train)
        self.sow("intermediates", "hidden_states", x)

        # Numbered from the first: of `depth` blocks there are depth + 1 hidden states.
        pooled_layers = [layer % (self.depth + 1) for layer in self.pool_layers]
        embeddings = x
        x, hidden_states = run_layers(
            self.block,
            self.depth,
            x,
            mask_bias(attention_mask),
            keep=set(pooled_layers) - {0},
            remat=self.remat,
            scan=self.scan_layers,
            train=train,
        )
        hidden_states[0] = embeddings
        chosen = [hidden_states[layer] for layer in pooled_layers]
        to_pool = jnp.mean(jnp.stack(chosen), 0, jnp.float32).astype(x.dtype) if chosen else x
        return {"last_hidden_state": x, "pooled": self.pool(to_pool, attention_mask)}

    def embed(self, name: str, axis: str, rows: int) -> nn.Embed:
        """A float32 table: the sum of the three embeddings is normalised before it is rounded."""
        init = partitioned(default_init, axis, "embed")
        return nn.Embed(rows, self.width, embedding_init=init, dtype=jnp.float32, name=name)

    def block(self, name: str) -> Block:
        return Block(
            self.heads,
            self.mlp_width,
            pre_norm=False,
            norm_epsilon=self.norm_epsilon,
            activation=self.activation,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            dtype=self.dtype,
            name=name,
        )

    def pool(
        self, x: Float[Array, "B T D"], attention_mask: Int[Array, "B T"]
    ) -> Float[Array, "B D"]:
        if self.pooling == "mean":
            mask = attention_mask[:, :, None].astype(jnp.float32)
            mean = (x * mask).sum(axis=1) / jnp.maximum(mask.sum(axis=1), 1.0)
            return mean.astype(x.dtype)
        if self.pooling == "last":
            last = x.shape[1] - 1 - jnp.argmax(attention_mask[:, ::-1], axis=1)
            return jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0]
        if self.pooling == "mean_with_padding":
            return x.mean(axis=1, dtype=jnp.float32).astype(x.dtype)
        if self.pooling == "cls":
            return x[:, 0]
        return nn.tanh(Dense(self.width, ("embed", None), dtype=self.dtype, name="pooler")(x[:, 0]))
