"""What a trained model computes with, apart from what only training needs."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lumbarclip_jax import sharding

KEY_SHAPE = jax.eval_shape(lambda: jax.random.key(0))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "batch_stats"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class ModelState:
    """Enough to use a model; a plain pytree.

    Of arrays, or of whatever such a tree is mapped to: their shapes, shardings, names.
    """

    step: Any  # int32 scalar, steps already taken
    params: Any  # nested dicts
    batch_stats: Any  # nested dicts, empty for encoders without batch normalisation


def initial_state(model, config: ConfigDict, key: jax.Array) -> ModelState:
    """The state before the first step, its parameters boxed with their logical axes."""
    size, tokens = config.data.image_size_px, config.data.max_tokens
    inputs = (jnp.zeros((1, size, size, 1)), *(2 * [jnp.ones((1, tokens), jnp.int32)]))
    made = model.init(key, *inputs)
    return ModelState(jnp.zeros((), jnp.int32), made["params"], made.get("batch_stats", {}))


def abstract_model_state(model, config: ConfigDict, mesh: Mesh) -> ModelState:
    """Shapes, types and shardings of the state, without making it."""
    boxed = jax.eval_shape(functools.partial(initial_state, model, config), KEY_SHAPE)
    return sharding.abstract(boxed, mesh)
