"""Scaled dot-product attention (Vaswani et al. 2017, equation 1) in the form that suits the device.

Accelerators get the plain formula, which their compilers fuse; a GPU gets cuDNN's kernel, or that
of `attention_kernel`, where `attention_choice` finds it to be faster.

XLA's CPU compiler fuses no matrix product with what surrounds it, and reduces rows (last axis)
three times slower than columns: there the logits are kept transposed, [keys, queries], and the
gradient is written out, with the row sums of weights times their gradient taken from the output
(Dao et al. 2022, arXiv 2205.14135, equation 4 of appendix B.4) instead of the weights.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lumbarclip_jax.models.attention import choice

Heads = Float[Array, "*B N T H"]  # of T queries
Keys = Float[Array, "*B N S H"]  # and S keys, with their values
Bias = Float[Array, "*_B _N _T S"]  # added to the logits, [queries, keys]
Kept = Bool[Array, "*B N T S"]


def attend(
    query: Heads,
    key: Keys,
    value: Keys,
    bias: Bias | None,
    kept: Kept | None,
    keep_rate: float = 1.0,
) -> Heads:
    """softmax(QKᵀ / √H + bias) V, each weight kept where `kept`, and then divided by `keep_rate`.

    The softmax is float32 whatever the type of the arguments.
    """
    by_rows = functools.partial(attend_by_rows, keep_rate=keep_rate)
    fastest = choice.fastest(query, bias, kept, keep_rate, attend_by_rows)
    return lax.platform_dependent(
        query,
        key,
        value,
        bias,
        kept,
        cpu=functools.partial(_attend_by_columns, keep_rate),
        cuda=functools.partial(fastest, keep_rate=keep_rate),
        default=by_rows,
    )


def attend_by_rows(
    query: Heads,
    key: Keys,
    value: Keys,
    bias: Bias | None = None,
    kept: Kept | None = None,
    keep_rate: float = 1.0,
) -> Heads:
    """What `attend` is on accelerators, and the formula as it is written."""
    logits = _logits(query, key) * query.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.matmul(_drop(weights, kept, keep_rate), value)


@jax.custom_vjp
def _logits(query: Heads, key: Keys) -> Float[Array, "*B N T S"]:
    """QKᵀ in float32, its gradient by products in the type of the arguments."""
    return jnp.matmul(query, key.swapaxes(-1, -2), preferred_element_type=jnp.float32)


def _logits_forward(query, key):
    return _logits(query, key), (query, key)


def _logits_backward(residuals, by_logits):
    query, key = residuals
    by_logits = by_logits.astype(query.dtype)
    return jnp.matmul(by_logits, key), jnp.matmul(by_logits.swapaxes(-1, -2), query)


_logits.defvjp(_logits_forward, _logits_backward)


def _drop(weights, kept, keep_rate):
    return weights if kept is None else jnp.where(kept, weights / keep_rate, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend_by_columns(keep_rate, query, key, value, bias, kept):
    return _columns_forward(keep_rate, query, key, value, bias, kept)[0]


def _columns_forward(keep_rate, query, key, value, bias, kept):
    scaled = query * query.shape[-1] ** -0.5
    logits = jnp.matmul(key, scaled.swapaxes(-1, -2), preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias.swapaxes(-1, -2)
    highest = lax.stop_gradient(logits.max(axis=-2, keepdims=True))
    exponentials = jnp.exp(logits - highest)
    inverse_sum = 1 / exponentials.sum(axis=-2, keepdims=True)
    weights = (
        exponentials if kept is None else _drop(exponentials, kept.swapaxes(-1, -2), keep_rate)
    )
    out = jnp.matmul(weights.astype(value.dtype).swapaxes(-1, -2), value)
    out = (out * inverse_sum.swapaxes(-1, -2)).astype(value.dtype)
    return out, (query, key, value, bias, kept, exponentials, inverse_sum, out)


def _columns_backward(keep_rate, residuals, by_out):
    query, key, value, bias, kept, exponentials, inverse_sum, out = residuals
    scale, dtype = query.shape[-1] ** -0.5, value.dtype
    kept = None if kept is None else kept.swapaxes(-1, -2)
    by_sums = jnp.sum(by_out * out, axis=-1, dtype=jnp.float32)[..., None, :]
    by_numerator = by_out * inverse_sum.swapaxes(-1, -2).astype(dtype)
    by_value = jnp.matmul(_drop(exponentials, kept, keep_rate).astype(dtype), by_numerator)
    by_weights = jnp.matmul(value, by_out.swapaxes(-1, -2), preferred_element_type=jnp.float32)
    by_weights = _drop(by_weights, kept, keep_rate)
    by_logits = exponentials * inverse_sum * (by_weights - by_sums)
    by_query = jnp.matmul(by_logits.astype(dtype).swapaxes(-1, -2), key) * scale
    by_key = jnp.matmul(by_logits.astype(dtype), query * scale)
    by_bias = None if bias is None else _sum_to(bias.shape, by_logits.swapaxes(-1, -2))
    return by_query, by_key, by_value, by_bias, None


def _sum_to(shape, x):
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and x.shape[i] != 1)
    return x.sum(axis=axes, keepdims=True)


_attend_by_columns.defvjp(_columns_forward, _columns_backward)
