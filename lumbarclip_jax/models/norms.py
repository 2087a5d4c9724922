"""Layer normalisation (Ba et al. 2016, arXiv 1607.06450), its gradient written out, and its sums.

XLA's CPU compiler turns a reduction that is fused with element-wise work into scalar code, and
differentiating the forward pass leaves eight of them: four times the time PyTorch takes. Written
out, the sums are matrix products there, and one pass over the rows serves both kinds of sum.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Rows = Float[Array, "R D"]


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, computed in float32, with a scale and an offset.

    The variance is the mean squared deviation: E[x²] − E[x]² loses half the digits when a
    feature's mean is large, as it is in published ViT and BERT checkpoints.
    """

    epsilon: float
    scale_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        width = x.shape[-1]
        scale = self.param("scale", self.scale_init, (width,))
        bias = self.param("bias", self.bias_init, (width,))
        rows = x.astype(jnp.float32).reshape(-1, width)
        return _normalise(self.epsilon, rows, scale, bias).astype(self.dtype).reshape(x.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalise(epsilon: float, x: Rows, scale: Float[Array, "D"], bias: Float[Array, "D"]) -> Rows:
    return _forward(epsilon, x, scale, bias)[0]


def _forward(epsilon, x, scale, bias):
    mean = weighted_row_sums(x, jnp.full_like(scale, 1 / len(scale)))
    centred = x - mean
    variance = weighted_row_sums(jnp.square(centred), jnp.full_like(scale, 1 / len(scale)))
    inverse_deviation = lax.rsqrt(variance + epsilon)
    out = centred * inverse_deviation * scale[None] + bias[None]
    return out, (x, mean, inverse_deviation, scale)


def _backward(epsilon, residuals, by_out):
    del epsilon
    x, *row_sums, scale = residuals
    mean, inverse_deviation = _stored(*row_sums)
    normed = (x - mean) * inverse_deviation
    by_scale_rows = by_out * normed
    weights = scale / len(scale)
    by_x = inverse_deviation * (
        by_out * scale[None]
        - weighted_row_sums(by_out, weights)
        - normed * weighted_row_sums(by_scale_rows, weights)
    )
    return by_x, column_sums(by_scale_rows), column_sums(by_out)


_normalise.defvjp(_forward, _backward)


def _stored(*arrays: Array) -> tuple[Array, ...]:
    """The arrays, on a GPU as such: XLA would compute them again in every kernel that takes them.

    It cannot in that of the column sums, and wrote what they add up for it in float32: 10 of the
    236 GB that a step of ResNet-50 and BERT moves (256 pairs, compiled for an H200).
    """
    return lax.platform_dependent(
        *arrays, cuda=lambda *x: lax.optimization_barrier(x), default=lambda *x: x
    )


def weighted_row_sums(x: Rows, weights: Float[Array, "D"]) -> Float[Array, "R 1"]:
    """Σ_d x_rd w_d in float32: on CPU a matrix product, which is exact to rounding there alone."""
    return lax.platform_dependent(
        x,
        weights,
        cpu=lambda x, weights: jnp.matmul(x, weights[:, None]),
        default=lambda x, weights: jnp.sum(x * weights[None], axis=1, keepdims=True),
    )


def column_sums(x: Rows) -> Float[Array, "D"]:
    """Σ_r x_rd in float32: on CPU a matrix product, see `weighted_row_sums`."""
    return lax.platform_dependent(
        x,
        cpu=lambda x: jnp.matmul(jnp.ones(x.shape[0], x.dtype), x),
        default=lambda x: x.sum(axis=0),
    )


@jax.custom_vjp
def add_row(x: Rows, row: Float[Array, "D"]) -> Rows:
    """x_rd + row_d, the gradient of `row` by `column_sums`."""
    return x + row[None]


def _add_forward(x, row):
    return add_row(x, row), None


def _add_backward(residuals, by_out):
    del residuals
    return by_out, column_sums(by_out)


add_row.defvjp(_add_forward, _add_backward)
