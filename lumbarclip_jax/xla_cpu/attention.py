"""Attention with its logits kept as columns and its gradient written out.

XLA reduces rows (last axis) three times slower than columns. Here the logits are kept transposed,
[keys, queries], and the row sums of weights times their gradient are taken from the output (Dao et
al. 2022, arXiv 2205.14135, equation 4 of appendix B.4) instead of the weights.
`models/attention/xla.py` has the plain formula.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend_by_columns(keep_rate, query, key, value, bias, kept):
    """`attention.xla.attend`, which has the shapes of its arguments."""
    return _columns_forward(keep_rate, query, key, value, bias, kept)[0]


def drop(weights, kept, keep_rate):
    """Weights where `kept`, divided by `keep_rate`, and 0 elsewhere; None keeps all as they are."""
    return weights if kept is None else jnp.where(kept, weights / keep_rate, 0)


def _columns_forward(keep_rate, query, key, value, bias, kept):
    scaled = query * query.shape[-1] ** -0.5
    logits = jnp.matmul(key, scaled.swapaxes(-1, -2), preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias.swapaxes(-1, -2)
    highest = lax.stop_gradient(logits.max(axis=-2, keepdims=True))
    exponentials = jnp.exp(logits - highest)
    inverse_sum = 1 / exponentials.sum(axis=-2, keepdims=True)
    weights = exponentials if kept is None else drop(exponentials, kept.swapaxes(-1, -2), keep_rate)
    out = jnp.matmul(weights.astype(value.dtype).swapaxes(-1, -2), value)
    out = (out * inverse_sum.swapaxes(-1, -2)).astype(value.dtype)
    return out, (query, key, value, bias, kept, exponentials, inverse_sum, out)


def _columns_backward(keep_rate, residuals, by_out):
    query, key, value, bias, kept, exponentials, inverse_sum, out = residuals
    scale, dtype = query.shape[-1] ** -0.5, value.dtype
    kept = None if kept is None else kept.swapaxes(-1, -2)
    by_sums = jnp.sum(by_out * out, axis=-1, dtype=jnp.float32)[..., None, :]
    by_numerator = by_out * inverse_sum.swapaxes(-1, -2).astype(dtype)
    by_value = jnp.matmul(drop(exponentials, kept, keep_rate).astype(dtype), by_numerator)
    by_weights = jnp.matmul(value, by_out.swapaxes(-1, -2), preferred_element_type=jnp.float32)
    by_weights = drop(by_weights, kept, keep_rate)
    by_logits = exponentials * inverse_sum * (by_weights - by_sums)
    by_query = jnp.matmul(by_logits.astype(dtype).swapaxes(-1, -2), key) * scale
    by_key = jnp.matmul(by_logits.astype(dtype), query * scale)
    by_bias = None if bias is None else _sum_to(bias.shape, by_logits.swapaxes(-1, -2))
    return by_query, by_key, by_value, by_bias, None


def _sum_to(shape, x):
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and x.shape[i] != 1)
    return x.sum(axis=axes, keepdims=True)


attend_by_columns.defvjp(_columns_forward, _columns_backward)
