"""Projection heads from encoder features to the shared embedding."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lumbarclip_jax.models.layers import ACTIVATIONS, Dense, Dropout, layer_norm

KINDS = ("linear", "mlp", "convirt", "linear_no_bias", "gelu", "relu")
WITHOUT_BIAS = ("convirt", "linear_no_bias", "gelu")


class Projection(nn.Module):
    """A head of one of six kinds.

    - `linear`: W x + b.
    - `mlp`: h = W1 x + b1, LayerNorm(h + Dropout(W2 GELU(h) + b2)), the residual head of CXR-CLIP
      (arXiv 2310.13292) and earlier image-text code.
    - `convirt`: W2 ReLU(W1 x), without biases, after ConVIRT (arXiv 2010.00747).
    - `linear_no_bias`: W x, as in CLIP (arXiv 2103.00020).
    - `gelu`: W2 GELU(W1 x), without biases, through (D + E) / 2 features: the text head of
      open_clip's models with a BERT, BiomedCLIP (arXiv 2303.00915) among them.
    - `relu`: W2 ReLU(W1 x + b1) + b2, through D features, as many as come in: the non-linear head
      of LumbarCLIP's authors' public code.
    """

    features: int
    kind: str = "linear"
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"projection kind {self.kind!r} is not one of {', '.join(KINDS)}")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[Array, "B D"], *, train: bool = False) -> Float[Array, "B E"]:
        use_bias = self.kind not in WITHOUT_BIAS
        hidden = hidden_width(self.kind, x.shape[-1], self.features)
        first = Dense(hidden, ("embed", "shared"), dtype=self.dtype, name="fc1", use_bias=use_bias)
        x = first(x)
        if self.kind in ("linear", "linear_no_bias"):
            return x
        # The kernel's two axes are both shared features; a mesh axis may split only one of them.
        second = Dense(
            self.features, (None, "shared"), dtype=self.dtype, name="fc2", use_bias=use_bias
        )
        if self.kind in ("convirt", "relu"):
            return second(nn.relu(x))
        if self.kind == "gelu":
            return second(ACTIVATIONS["gelu"](x))
        branch = second(ACTIVATIONS["gelu"](x))
        branch = Dropout(self.dropout)(branch, train=train)
        return layer_norm(1e-5, dtype=self.dtype, name="norm")(x + branch)


class NoProjection(nn.Module):
    """Features as they are: of a tower that pools into the shared embedding, as SigLIP's images."""

    def __call__(self, x: Float[Array, "B D"], *, train: bool = False) -> Float[Array, "B D"]:
        return x


def hidden_width(kind: str, width: int, features: int) -> int:
    """Outputs of the first layer of a head from `width` to `features`."""
    if kind == "gelu":
        return (width + features) // 2
    return width if kind == "relu" else features


def unit(x: Float[Array, "B E"]) -> Float[Array, "B E"]:
    """Rows divided by their length in float32; a zero row stays zero, with a finite gradient."""
    x = x.astype(jnp.float32)
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-24))
