"""The pure parts of fine-tuning: the state, one step, and probabilities of a batch."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from data_prep.records.schema import LEVELS
from lumbarclip_jax import sharding
from lumbarclip_jax.finetune.imbalance.strategy import Strategy
from lumbarclip_jax.finetune.initial_encoder import InitialEncoder
from lumbarclip_jax.images import augment_images, prepare_images
from lumbarclip_jax.training import optim


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "variables", "averaged", "opt_state"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class State:
    """`variables` holds "params" and "batch_stats", `averaged` their running mean.

    A pytree of arrays, or of whatever such a tree is mapped to: their shapes, shardings, names.
    """

    step: Any  # int32 scalar
    variables: Any
    averaged: Any
    opt_state: Any


def make_init(model, initial: InitialEncoder):
    """Returns `init(key)`, new variables {"params": ..., "batch_stats": ...} of the model."""
    inputs = (jnp.zeros((1, initial.image_size_px, initial.image_size_px, 1)),)
    inputs += (jnp.zeros((1, len(LEVELS))),)

    def init(key) -> dict:
        made = sharding.unbox(model.init(key, *inputs))
        return {"params": made["params"], "batch_stats": made.get("batch_stats", {})}

    return init


def make_step(
    model,
    initial: InitialEncoder,
    recipe: ConfigDict,
    strategy: Strategy,
    counts: dict[str, np.ndarray],
    total_steps: int,
):
    """Returns jitted `make_state(key)` and `step(state, batch, lr, key)`.

    The state is donated, and the draws of a step are a function of (key, state.step).

    Args:
      model: an `ImageClassifier` with a head for every task of `counts`.
      initial: the encoder that is in it.
      recipe: see `recipe.py`.
      strategy: applied to each task with its own counts.
      counts: training images of every class, by task.
      total_steps: of the training.
    """
    float_counts = {task: jnp.asarray(count, jnp.float32) for task, count in counts.items()}
    pixels = _pixels(initial, recipe)
    init = make_init(model, initial)

    policy = ConfigDict(recipe.optim.to_dict() | {"frozen": (), "lr_multipliers": ()})
    if initial.variables is not None:
        policy.lr_multipliers = (("encoder/.*", recipe.encoder_lr),)
    optimizer = optim.make_optimizer(policy, jax.eval_shape(init, jax.random.key(0))["params"])

    def make_state(key) -> State:
        variables = init(key)
        for collection, tree in (initial.variables or {}).items():
            if tree:
                variables[collection]["encoder"] = tree
        return State(
            step=jnp.zeros((), jnp.int32),
            variables=variables,
            averaged=jax.tree.map(jnp.copy, variables),
            opt_state=optimizer.init(variables["params"]),
        )

    def loss_fn(params, batch_stats, batch, key, progress):
        augment_key, mix_key, dropout_key = jax.random.split(key, 3)
        # One key, so that all tasks see the same partners and shares: there is one blend of images.
        mixtures = {
            task: strategy.mix(mix_key, batch[task], count) for task, count in float_counts.items()
        }
        mixture = next(iter(mixtures.values()))
        logits, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            mixture.blend(augment_images(augment_key, batch["images"], pixels)),
            mixture.blend(batch["levels"]),
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        losses = [
            strategy.losses(logits[task], batch[task], mixtures[task], count, progress)
            for task, count in float_counts.items()
        ]
        return jnp.mean(jnp.stack(losses)), updated.get("batch_stats", {})

    def step(state: State, batch, lr, key) -> State:
        key = jax.random.fold_in(key, state.step)
        params, batch_stats = state.variables["params"], state.variables["batch_stats"]
        gradient = jax.grad(loss_fn, has_aux=True)
        grads, batch_stats = gradient(params, batch_stats, batch, key, state.step / total_steps)
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        multipliers = optim.lr_multipliers(policy, params)
        params = optim.apply_updates(
            params, updates, lr, multipliers, optim.trainable(policy, params)
        )
        variables = {"params": params, "batch_stats": batch_stats}
        # Short at first: the mean should soon forget the weights that training started from.
        decay = jnp.minimum(recipe.ema_decay, (1 + state.step) / (10 + state.step))
        averaged = jax.tree.map(
            lambda mean, new: decay * mean + (1 - decay) * new, state.averaged, variables
        )
        return State(state.step + 1, variables, averaged, opt_state)

    return jax.jit(make_state), jax.jit(step, donate_argnums=0)


def make_probabilities(model, initial: InitialEncoder, recipe: ConfigDict):
    """Returns jitted `probabilities(variables, images, levels) -> {task: [B, K]}`.

    Of networks that are trained with mirrored images, the mean over both sides.
    """
    pixels = _pixels(initial, recipe)

    def probabilities(variables, images, levels):
        sides = [prepare_images(images, pixels)]
        if recipe.augment.mirror:
            sides.append(sides[0][:, :, ::-1])
        each = [jax.tree.map(jax.nn.softmax, model.apply(variables, s, levels)) for s in sides]
        return jax.tree.map(lambda *parts: sum(parts) / len(parts), *each)

    return jax.jit(probabilities)


def _pixels(initial: InitialEncoder, recipe: ConfigDict) -> ConfigDict:
    """What `images.py` wants to know."""
    return ConfigDict(
        {
            "crop_px": initial.crop_px,
            "image_size_px": initial.image_size_px,
            "augment": recipe.augment.to_dict(),
        }
    )
