"""Layer and batch normalisation with their gradients written out.

Differentiating the forward pass leaves reductions that are fused with element-wise work: two to
four times the time PyTorch takes. Written out, the sums are matrix products on a CPU, and one pass
over the rows serves both kinds of sum.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lumbarclip_jax.xla_cpu.sums import column_sums, on_rows, weighted_row_sums

Rows = Float[Array, "R D"]
Channels = Float[Array, "D"]
Maps = Float[Array, "B H W D"]
Statistics = tuple[Channels, Channels]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def layer_norm(epsilon: float, x: Rows, scale: Channels, offset: Channels) -> Rows:
    """Layer normalisation (Ba et al. 2016, arXiv 1607.06450, equation 4) of float32 rows.

    The variance is the mean squared deviation: E[x²] − E[x]² loses half the digits when a
    feature's mean is large, as it is in published ViT and BERT checkpoints.
    """
    return _layer_forward(epsilon, x, scale, offset)[0]


def plain_layer_norm(epsilon: float, x: Rows, scale: Channels, offset: Channels) -> Rows:
    """`layer_norm` as the formula is written, differentiated by JAX."""
    centred = x - x.mean(axis=1, keepdims=True)
    variance = jnp.square(centred).mean(axis=1, keepdims=True)
    return centred * lax.rsqrt(variance + epsilon) * scale[None] + offset[None]


def _layer_forward(epsilon, x, scale, offset):
    mean = weighted_row_sums(x, jnp.full_like(scale, 1 / len(scale)))
    centred = x - mean
    variance = weighted_row_sums(jnp.square(centred), jnp.full_like(scale, 1 / len(scale)))
    inverse_deviation = lax.rsqrt(variance + epsilon)
    out = centred * inverse_deviation * scale[None] + offset[None]
    return out, (x, mean, inverse_deviation, scale)


def _layer_backward(epsilon, residuals, by_out):
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


layer_norm.defvjp(_layer_forward, _layer_backward)


def _stored(*arrays: Array) -> tuple[Array, ...]:
    """The arrays, on a GPU as such: XLA would compute them again in every kernel that takes them.

    It cannot in that of the column sums, and wrote what they add up for it in float32: 10 of the
    236 GB that a step of ResNet-50 and BERT moves (256 pairs, compiled for an H200).
    """
    return lax.platform_dependent(
        *arrays, cuda=lambda *x: lax.optimization_barrier(x), default=lambda *x: x
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def batch_norm(
    epsilon: float, x: Maps, scale: Channels, offset: Channels
) -> tuple[Maps, Channels, Channels]:
    """Normalises by the batch (Ioffe & Szegedy 2015, algorithm 1), in float32.

    Returns:
      The maps, and the batch's mean and biased variance. Those two have no gradient: they are for
      running statistics.
    """
    return _batch_forward(epsilon, x, scale, offset)[0]


def plain_batch_norm(
    epsilon: float, x: Maps, scale: Channels, offset: Channels
) -> tuple[Maps, Channels, Channels]:
    """`batch_norm` differentiated by JAX."""
    mean, var = batch_statistics(x)
    out = (x - mean[None, None, None]) * (scale * lax.rsqrt(var + epsilon))[None, None, None]
    statistics = lax.stop_gradient((mean, var))
    return out + offset[None, None, None], *statistics


def _batch_forward(epsilon, x, scale, offset):
    mean, var = batch_statistics(x)
    inverse_deviation = lax.rsqrt(var + epsilon)
    out = normalise(x, mean, scale * inverse_deviation, offset)
    return (out, mean, var), (x, mean, inverse_deviation, scale)


def _batch_backward(epsilon, residuals, cotangents):
    del epsilon
    x, mean, inverse_deviation, scale = residuals
    rows = x.astype(jnp.float32).reshape(-1, x.shape[-1])
    by_out = cotangents[0].reshape(rows.shape)
    centred = rows - mean[None]
    by_offset = column_sums(by_out)
    by_scale = column_sums(by_out * centred) * inverse_deviation
    mean_by_out = by_offset / len(rows)
    mean_by_scale = by_scale * inverse_deviation / len(rows)
    factor = scale * inverse_deviation
    by_rows = factor[None] * (by_out - mean_by_out[None] - centred * mean_by_scale[None])
    return by_rows.reshape(x.shape).astype(x.dtype), by_scale, by_offset


batch_norm.defvjp(_batch_forward, _batch_backward)


def normalise(x: Maps, mean: Channels, factor: Channels, offset: Channels) -> Maps:
    """(x - mean) · factor + offset in float32."""
    return on_rows(
        lambda rows: (rows - mean[None]) * factor[None] + offset[None], x.astype(jnp.float32)
    )


def batch_statistics(x: Maps) -> Statistics:
    """Mean and biased variance over batch and space in float32, reading x once.

    E[x²] - E[x]² would cancel where a channel's mean is far from 0. Each image is therefore shifted
    by one of its own pixels, and the images' statistics are combined (Chan et al. 1979).
    """
    pixels = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
    shift = lax.stop_gradient(pixels[:, :1])
    shifted = pixels - shift
    shifted_mean = shifted.mean(axis=1)
    within = jnp.square(shifted).mean(axis=1) - jnp.square(shifted_mean)
    image_mean = shift[:, 0] + shifted_mean
    mean = image_mean.mean(axis=0)
    between = jnp.square(image_mean - mean[None])
    return mean, (within + between).mean(axis=0)
