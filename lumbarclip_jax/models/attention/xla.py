"""Scaled dot-product attention (Vaswani et al. 2017, equation 1) in the form that suits the device.

Accelerators get the plain formula, which their compilers fuse; a GPU gets cuDNN's kernel, or that
of `kernel.py`, where `choice.py` finds it to be faster. A CPU gets that of `xla_cpu/attention.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from lumbarclip_jax.models.attention import choice
from lumbarclip_jax.xla_cpu.attention import attend_by_columns, drop

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
    fastest = attend_by_rows
    if key.shape == query.shape:  # the other forms are of as many keys as queries
        fastest = choice.fastest(query, bias, kept, keep_rate, attend_by_rows)
    return lax.platform_dependent(
        query,
        key,
        value,
        bias,
        kept,
        cpu=functools.partial(attend_by_columns, keep_rate),
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
    return jnp.matmul(drop(weights, kept, keep_rate), value)


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
