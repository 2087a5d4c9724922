"""Sums over rows and columns as matrix products, which keeps them out of scalar fused loops."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

Rows = Float[Array, "R D"]


def weighted_row_sums(x: Rows, weights: Float[Array, "D"]) -> Float[Array, "R 1"]:
    """Σ_d x_rd w_d in float32: on CPU a matrix product, which is exact to rounding there alone."""
    return lax.platform_dependent(
        x,
        weights,
        cpu=lambda x, weights: jnp.matmul(x, weights[:, None]),
        default=plain_weighted_row_sums,
    )


def plain_weighted_row_sums(x: Rows, weights: Float[Array, "D"]) -> Float[Array, "R 1"]:
    """The sum itself."""
    return jnp.sum(x * weights[None], axis=1, keepdims=True)


def column_sums(x: Rows) -> Float[Array, "D"]:
    """Σ_r x_rd in float32: on CPU a matrix product, see `weighted_row_sums`."""
    return lax.platform_dependent(
        x,
        cpu=lambda x: jnp.matmul(jnp.ones(x.shape[0], x.dtype), x),
        default=plain_column_sums,
    )


def plain_column_sums(x: Rows) -> Float[Array, "D"]:
    """The sum itself."""
    return x.sum(axis=0)


@jax.custom_vjp
def add_row(x: Rows, row: Float[Array, "D"]) -> Rows:
    """x_rd + row_d, the gradient of `row` by `column_sums`.

    Of the sum that differentiation writes XLA makes programs of their own, 361 in a step of ViT-B
    and BERT, each of which takes time to load.
    """
    return plain_add_row(x, row)


def plain_add_row(x: Rows, row: Float[Array, "D"]) -> Rows:
    """The sum, differentiated by JAX."""
    return x + row[None]


def _add_forward(x, row):
    return add_row(x, row), None


def _add_backward(residuals, by_out):
    del residuals
    return by_out, column_sums(by_out)


add_row.defvjp(_add_forward, _add_backward)


def norm_by_columns(tree: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
    """√Σ x² over all entries of all leaves, with few sums and one to a scalar.

    XLA makes up to four programs of each sum to a scalar.
    """
    leaves = jax.tree.leaves(tree)
    squares = [
        column_sums(jnp.square(leaf).reshape(-1, leaf.shape[-1]))
        for leaf in leaves
        if leaf.ndim > 1
    ]
    # The empty array is for a tree without vectors: all frozen, perhaps.
    vectors = [jnp.zeros(0), *(leaf.ravel() for leaf in leaves if leaf.ndim <= 1)]
    squares.append(jnp.square(jnp.concatenate(vectors)))
    return jnp.sqrt(jnp.concatenate(squares).sum())


def on_rows(
    function: Callable[[Float[Array, "R D"]], Float[Array, "R E"]], x: Float[Array, "*B D"]
) -> Float[Array, "*B E"]:
    """`function` of x as one row a token or pixel.

    Gradients of products and broadcasts over three leading axes take 5 to 20 times as long, and
    copy transposed arrays.
    """
    out = function(x.reshape(-1, x.shape[-1]))
    return out.reshape(*x.shape[:-1], out.shape[-1])
