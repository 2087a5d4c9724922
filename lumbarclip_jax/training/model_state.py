"""What a trained model computes with, apart from what only training needs."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.data import fields
from lumbarclip_jax.training import lora

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

    def as_model_state(self) -> "ModelState":
        """The weights alone, of a state that has more."""
        return ModelState(self.step, self.params, self.batch_stats)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["step", "averaged"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class AveragedState:
    """Of a train state whose running mean of weights is used; what else it has is not read."""

    step: Any
    averaged: Any  # {"params": ..., "batch_stats": ...}

    @classmethod
    def of(cls, state: ModelState) -> "AveragedState":
        averaged = {"params": state.params, "batch_stats": state.batch_stats}
        return cls(state.step, averaged)

    def as_model_state(self) -> ModelState:
        return ModelState(self.step, **self.averaged)


def uses_average(config: ConfigDict) -> bool:
    """Whether the running mean of weights is measured and used, and not the last weights."""
    return bool(config.optim.ema_decay) and config.eval.averaged


def measured(state, config: ConfigDict) -> ModelState:
    """The part of a train state that is measured and used, adapters merged.

    The running mean is that of the adapters: their product is not the mean of their products.
    """
    if uses_average(config):
        state = AveragedState(state.step, state.averaged)
    return merged(state.as_model_state(), config)


def merged(state: ModelState, config: ConfigDict) -> ModelState:
    """The state as a model is used: each adapted kernel plus its adapters' product."""
    settings = config.model.get("lora")
    params = lora.merged(settings, state.params, lora.add_product_in_place_of)
    return dataclasses.replace(state, params=params)


def initial_state(model, config: ConfigDict, key: jax.Array) -> ModelState:
    """The state before the first step, its parameters boxed with their logical axes.

    Raises:
      ValueError: as `lora.with_adapters`.
    """
    size, tokens = config.data.image_size_px, config.data.get("max_tokens", 0)
    inputs = []
    for field in model.takes:
        shape, dtype = fields.shape(field, size, tokens)
        one = (1, *shape[1:]) if field in fields.VIEWED else (1, *shape)
        inputs.append(jnp.ones(one, jnp.int32) if dtype == np.int32 else jnp.zeros(one))
    made = model.init(key, *inputs)
    settings = (config.get("model") or {}).get("lora")
    params = lora.with_adapters(settings, made["params"], key)
    return ModelState(jnp.zeros((), jnp.int32), params, made.get("batch_stats", {}))


def abstract_model_state(
    model, config: ConfigDict, mesh: Mesh, *, is_merged: bool = False
) -> ModelState:
    """Shapes, types and shardings of the state that is trained, without making it.

    Of the one that `merged` makes of it where `is_merged`.
    """
    boxed = jax.eval_shape(functools.partial(initial_state, model, config), KEY_SHAPE)
    if is_merged:
        boxed = dataclasses.replace(boxed, params=lora.without_adapters(boxed.params))
    return sharding.abstract(boxed, mesh)
