"""Blocks shared by the encoders: attention, feed-forward, norms.

Parameters are float32; `dtype` is the type of the matrix products. Softmax and normalisation
statistics are float32 whatever `dtype` is.

Logical axes of the parameters, which `lumbarclip_jax.sharding` maps to mesh axes:

    layers     blocks, when they are scanned (leading axis)
    embed      features of the residual stream
    heads      attention heads, concatenated
    mlp        hidden features of a feed-forward block
    vocab      rows of the token table
    position   rows of position, token-type and relative-position tables
    conv_in    input channels of a convolution or patch embedding
    conv_out   output channels of a convolution
    shared     the shared image-text embedding (E)
    norm       scales and offsets of normalisation layers

Axes that are never worth sharding (kernel rows and columns, for one) have no name.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.extend.random import threefry2x32_p
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from lumbarclip_jax.models.attention.xla import attend
from lumbarclip_jax.models.norms import LayerNorm
from lumbarclip_jax.xla_cpu.activations import gelu
from lumbarclip_jax.xla_cpu.sums import add_row, on_rows

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_new": functools.partial(nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(nn.gelu, approximate=True),
    "relu": nn.relu,
}

default_init = nn.initializers.truncated_normal(0.02)


def partitioned(init: Callable, *axes: str | None) -> Callable:
    """The initialiser with the logical axis names of its parameter attached."""
    return nn.with_logical_partitioning(init, axes)


class Dense(nn.Module):
    """x W + b, as linen has it; `axes` are the logical axes of the kernel [in, out]."""

    features: int
    axes: tuple[str | None, str | None]
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", partitioned(default_init, *self.axes), shape)
        kernel = kernel.astype(self.dtype)
        if not self.use_bias:
            return on_rows(lambda rows: jnp.matmul(rows, kernel), x.astype(self.dtype))
        zeros = partitioned(nn.initializers.zeros, self.axes[1])
        bias = self.param("bias", zeros, (self.features,)).astype(self.dtype)
        return on_rows(lambda rows: add_row(jnp.matmul(rows, kernel), bias), x.astype(self.dtype))


def layer_norm(epsilon: float, *, dtype: DTypeLike, name: str) -> LayerNorm:
    """Layer normalisation over the last axis, computed in float32."""
    return LayerNorm(
        epsilon,
        scale_init=partitioned(nn.initializers.ones, "norm"),
        bias_init=partitioned(nn.initializers.zeros, "norm"),
        dtype=dtype,
        name=name,
    )


def keep_mask(key: Array, keep_rate: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """True with probability `keep_rate`, to 1 in 65,536.

    Drawing is half of what dropout costs on CPU, so a draw takes 16 bits, and a block of Threefry
    (Salmon et al. 2011) serves four, of which each stands in a quarter of the last axis: as
    neighbours they would be interleaved, for which accelerators write the bits to memory thrice.
    `jax.random.bernoulli` takes a block each.
    """
    blocks = (*shape[:-1], -(-shape[-1] // 4))
    key_words = jax.random.key_data(key)
    # Counters of an element along the first axis need not know the others', which may be elsewhere.
    first = lax.broadcasted_iota(jnp.uint32, blocks, 0)
    others = lax.iota(jnp.uint32, math.prod(blocks[1:])).reshape(1, *blocks[1:])
    words = threefry2x32_p.bind(key_words[0], key_words[1], first, jnp.broadcast_to(others, blocks))
    below = jnp.uint32(round(keep_rate * 2**16))
    kept = [half < below for word in words for half in (word & 0xFFFF, word >> 16)]
    return jnp.concatenate(kept, axis=-1)[..., : shape[-1]]


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) by `keep_mask`, when training."""

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"], *, train: bool) -> Float[Array, "*B D"]:
        if not train or not self.rate:
            return x
        kept = keep_mask(self.make_rng("dropout"), 1.0 - self.rate, x.shape)
        return jnp.where(kept, x / (1.0 - self.rate), 0)


def mask_bias(attention_mask: Int[Array, "B T"]) -> Float[Array, "B 1 1 T"]:
    """What is added to the logits, so that no token attends to those outside the mask.

    exp(lowest - max) is exactly 0: a padded token has no weight at all.
    """
    return jnp.where(attention_mask[:, None, None, :] > 0, 0.0, jnp.finfo(jnp.float32).min)


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention (Vaswani et al. 2017, section 3.2)."""

    heads: int
    use_qkv_bias: bool = True
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*B T D"],
        bias: Float[Array, "*_B _N _T T"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "*B T D"]:
        """Attends within the T tokens; `bias` is added to the logits and must have their rank."""
        width = x.shape[-1]
        rows = x.reshape(-1, width)  # see `on_rows`

        def heads_of(name: str) -> Float[Array, "*B N T H"]:
            project = Dense(width, ("embed", "heads"), self.use_qkv_bias, self.dtype, name=name)
            features = project(rows).reshape(*x.shape[:-1], self.heads, width // self.heads)
            return features.swapaxes(-2, -3)

        # One transpose to [..., N, T, H] and plain matmuls: on CPU an einsum over [..., T, N, H]
        # takes twice as long.
        query, key, value = heads_of("query"), heads_of("key"), heads_of("value")
        kept = None
        if train and self.dropout:
            shape = (*query.shape[:-1], key.shape[-2])
            kept = keep_mask(self.make_rng("dropout"), 1.0 - self.dropout, shape)
        # Parameters do not depend on it, and a form chosen for them would be tried in vain.
        attended = value
        if not self.is_initializing():
            attended = attend(query, key, value, bias, kept, 1.0 - self.dropout)
        attended = attended.swapaxes(-2, -3).reshape(-1, width)
        out = Dense(width, ("heads", "embed"), dtype=self.dtype, name="out")
        return out(attended).reshape(x.shape)


class MLP(nn.Module):
    """The feed-forward block: fc2(activation(fc1(x)))."""

    hidden: int
    activation: str = "gelu"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        width = x.shape[-1]
        hidden = Dense(self.hidden, ("embed", "mlp"), dtype=self.dtype, name="fc1")
        out = Dense(width, ("mlp", "embed"), dtype=self.dtype, name="fc2")
        return on_rows(lambda rows: out(ACTIVATIONS[self.activation](hidden(rows))), x)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops a residual branch for whole samples."""

    @nn.compact
    def __call__(
        self, branch: Float[Array, "B *rest"], rate: Float[Array, ""] | None, *, train: bool
    ) -> Float[Array, "B *rest"]:
        if rate is None or not train:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1.0 - rate, shape)
        return jnp.where(kept, branch / (1.0 - rate).astype(branch.dtype), 0)


class Block(nn.Module):
    """A transformer block: attention and feed-forward, each with its residual and its norm.

    With `pre_norm` x + f(norm(x)), as in ViT (Dosovitskiy et al. 2021, equations 2 and 3);
    without it norm(x + f(x)), as in BERT (Devlin et al. 2019, after Vaswani et al. 2017).
    Sows its output as the intermediate `hidden_states`.
    """

    heads: int
    mlp_width: int
    pre_norm: bool
    norm_epsilon: float
    use_qkv_bias: bool = True
    activation: str = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T D"],
        bias: Float[Array, "B #N #T T"] | None,
        drop_path: Float[Array, ""] | None,
        *,
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        attention = SelfAttention(
            self.heads, self.use_qkv_bias, self.attention_dropout, self.dtype, name="attention"
        )
        mlp = MLP(self.mlp_width, self.activation, self.dtype, name="mlp")
        dropout = Dropout(self.dropout)

        def residual(rows: Array, norm: LayerNorm, function: Callable[[Array], Array]) -> Array:
            branch = function(norm(rows) if self.pre_norm else rows).reshape(x.shape)
            branch = DropPath()(dropout(branch, train=train), drop_path, train=train)
            rows += branch.reshape(rows.shape)
            return rows if self.pre_norm else norm(rows)

        # A change of shape between a sum and the product that takes it has XLA's CPU compiler, with
        # dropout, compute the sums of all earlier blocks again in each.
        rows = x.reshape(-1, x.shape[-1])
        norm = layer_norm(self.norm_epsilon, dtype=self.dtype, name="attention_norm")
        rows = residual(rows, norm, lambda y: attention(y.reshape(x.shape), bias, train=train))
        norm = layer_norm(self.norm_epsilon, dtype=self.dtype, name="mlp_norm")
        out = residual(rows, norm, mlp).reshape(x.shape)
        self.sow("intermediates", "hidden_states", out)
        return out
