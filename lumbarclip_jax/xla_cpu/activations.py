"""GELU by the function that XLA computes fast."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x Φ(x) by the error function (Hendrycks & Gimpel 2016), in float32."""
    x32 = x.astype(jnp.float32)
    return (0.5 * x32 * (1.0 + lax.erf(x32 * 0.5**0.5))).astype(x.dtype)


def plain_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`gelu` as JAX has it, by the complementary error function."""
    return jax.nn.gelu(x, approximate=False)
