"""Forms of `xla_cpu` that can be timed alone, the plain ones, and the shapes a model has."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from lumbarclip_jax.models.attention.xla import attend_by_rows
from lumbarclip_jax.xla_cpu import activations, convolution, normalisation, order, sums
from lumbarclip_jax.xla_cpu.attention import attend_by_columns

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two functions of the same float32 arrays that compute the same, and their gradients.

    `shapes` are those of a model of full size, 8 pairs a step; `tiny` ones are for a test.
    """

    written: Callable
    plain: Callable
    shapes: tuple[Shape, ...]
    tiny: tuple[Shape, ...]


def _attention(form: Callable) -> Callable:
    return lambda query, key, value: form(query, key, value, None, None)


def _by_columns(query, key, value, bias, kept):
    return attend_by_columns(1.0, query, key, value, bias, kept)


def _layer_norm(form: Callable) -> Callable:
    return lambda x, scale, offset: form(1e-6, x, scale, offset)


def _batch_norm(form: Callable) -> Callable:
    return lambda x, scale, offset: form(1e-5, x, scale, offset)[0]


def _dense(add: Callable) -> Callable:
    return lambda x, kernel, row: add(jnp.matmul(x, kernel), row)


def _pointwise(form: Callable) -> Callable:
    return lambda kernel, x: form(1, kernel, x)


def _patch_product(kernel, x):
    flat = kernel.reshape(-1, kernel.shape[-1])
    squares = convolution.patches(len(kernel), x)
    return sums.on_rows(lambda rows: jnp.matmul(rows, flat), squares)


def _patch_convolution(kernel, x):
    sides, numbers = kernel.shape[:2], ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, sides, "VALID", dimension_numbers=numbers)


def _affine(x, factor, offset):
    axes = (None,) * (x.ndim - 1)
    return x * factor[axes] + offset[axes]


def _affine_by_rows(x, factor, offset):
    return sums.on_rows(lambda rows: _affine(rows, factor, offset), x)


def _convolutions(loop: Callable) -> Callable:
    def in_parts(kernel, parts):
        def body(carry, part):
            return carry, convolution.convolution(1, kernel, part)

        return loop(body, jnp.zeros(()), parts)[1]

    return in_parts


HEADS = (8, 12, 197, 64)
TINY_HEADS = (2, 3, 5, 4)
PAIRS = {
    "attention, 197 tokens": Pair(
        _attention(_by_columns), _attention(attend_by_rows), (HEADS,) * 3, (TINY_HEADS,) * 3
    ),
    "layer normalisation": Pair(
        _layer_norm(normalisation.layer_norm),
        _layer_norm(normalisation.plain_layer_norm),
        ((1576, 768), (768,), (768,)),
        ((10, 6), (6,), (6,)),
    ),
    "batch normalisation, 56 pixels": Pair(
        _batch_norm(normalisation.batch_norm),
        _batch_norm(normalisation.plain_batch_norm),
        ((8, 56, 56, 256), (256,), (256,)),
        ((2, 5, 5, 6), (6,), (6,)),
    ),
    "GELU": Pair(activations.gelu, activations.plain_gelu, ((1576, 3072),), ((10, 6),)),
    "bias of a linear layer": Pair(
        _dense(sums.add_row),
        _dense(sums.plain_add_row),
        ((1576, 768), (768, 768), (768,)),
        ((10, 6), (6, 4), (4,)),
    ),
    "scale and offset on one row a pixel": Pair(
        _affine_by_rows, _affine, ((8, 56, 56, 256), (256,), (256,)), ((2, 5, 5, 6), (6,), (6,))
    ),
    "1x1 convolution": Pair(
        _pointwise(convolution.pointwise),
        _pointwise(convolution.convolution),
        ((1, 1, 64, 256), (8, 56, 56, 64)),
        ((1, 1, 3, 5), (2, 4, 4, 3)),
    ),
    "patches of 16 pixels": Pair(
        _patch_product,
        _patch_convolution,
        ((16, 16, 1, 768), (8, 224, 224, 1)),
        ((2, 2, 3, 5), (2, 5, 4, 3)),
    ),
    "maximum of 3x3, 112 pixels": Pair(
        convolution.max_pool, convolution.plain_max_pool, ((8, 112, 112, 64),), ((2, 7, 6, 3),)
    ),
    "maximum of 2x2, 64 pixels": Pair(
        convolution.halve, convolution.plain_halve, ((32, 64, 64, 16),), ((2, 7, 6, 3),)
    ),
    "norm of all gradients": Pair(
        lambda *leaves: sums.norm_by_columns(leaves),
        lambda *leaves: optax.tree.norm(leaves),
        ((768, 3072), (3072,)) * 12,
        ((6, 5), (5,), (7,)),
    ),
    "convolutions in two parts": Pair(
        _convolutions(order.unrolled),
        _convolutions(lax.scan),
        ((3, 3, 64, 64), (2, 4, 56, 56, 64)),
        ((3, 3, 2, 2), (2, 2, 5, 5, 2)),
    ),
}


def arguments(shapes: tuple[Shape, ...]) -> tuple[jax.Array, ...]:
    """Standard normal numbers, the same each time."""
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))


def with_gradients(function: Callable) -> jax.stages.Wrapped:
    """Compiled `f(*arrays)` that returns the value and the gradients of Σ value²/2."""

    def value_and_gradients(*arrays):
        value, pull_back = jax.vjp(function, *arrays)
        return value, pull_back(value)

    return jax.jit(value_and_gradients)
