"""Inner products of embeddings in full float32, whatever type the encoders compute in.

The rounding of a similarity is multiplied by the logit scale (up to 100) and then exponentiated:
bfloat16 or TF32 products cost 1e-3 of the gradient and save nothing that shows beside the encoders.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def similarity(rows: Float[Array, "R E"], keys: Float[Array, "K E"]) -> Float[Array, "R K"]:
    """Inner product of every row with every key, float32."""
    return product(rows, keys.T)


def product(left: Float[Array, "R K"], right: Float[Array, "K E"]) -> Float[Array, "R E"]:
    """Matrix product, float32 in and out."""
    return jnp.matmul(
        left.astype(jnp.float32), right.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
    )


def similarity_of_pairs(left: Float[Array, "B E"], right: Float[Array, "B E"]) -> Float[Array, "B"]:
    """Inner product of each row with the same row of the other, float32."""
    return jnp.sum(left.astype(jnp.float32) * right.astype(jnp.float32), axis=1)
