"""The pure parts of training: the state, its gradient and one optimizer step."""

import contextlib
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.data.fields import IMAGES
from lumbarclip_jax.images import augment_images
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import accumulation, optim
from lumbarclip_jax.training.encoding import learned, make_encode, with_views, without_views
from lumbarclip_jax.training.model_state import KEY_SHAPE, ModelState, initial_state
from lumbarclip_jax.xla_cpu import order

# Encoders whose gradients are slow inside `lax.scan` on a CPU, see `xla_cpu`.
CONVOLUTIONAL = ("resnet", "small_cnn")
# By platform of the devices; docs/benchmarks/compiler_options.md says what each is worth.
COMPILER_OPTIONS = {"gpu": {"xla_allow_excess_precision": False}}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "batch_stats", "opt_state", "averaged"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState(ModelState):
    """Everything a step reads and writes; a plain pytree.

    `averaged` is the running mean of parameters and running statistics, `{"params": ...,
    "batch_stats": ...}`, and empty where `optim.ema_decay` is 0.
    """

    opt_state: Any
    averaged: Any


def compute_dtype(config: ConfigDict) -> jnp.dtype:
    """`config.dtype`, with "auto" meaning bfloat16 on accelerators.

    float32 on CPU, which has no fast bfloat16 path: measured 20 % slower there.
    """
    if config.dtype == "auto":
        return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    return jnp.dtype(config.dtype)


def create_train_state(model, config: ConfigDict, mesh: Mesh):
    """Returns (initial state, optimizer); the state is made on the devices that keep it."""
    init, optimizer, state_shardings = _state_plan(model, config, mesh)
    make = jax.jit(lambda key: sharding.unbox(init(key)), out_shardings=state_shardings)
    with _draws_by_kernel():
        return make(jax.random.key(config.seed)), optimizer


@contextlib.contextmanager
def _draws_by_kernel():
    """On a GPU the same bits by one kernel, which XLA else compiles anew for every parameter.

    That took 61 to 74 s on an H200 before a first step; 43 against 5 s compiled for one (BERT and
    ViT-B, two cores of an AMD EPYC).
    """
    # pyrefly: ignore [missing-attribute]  # an option that JAX adds at run time
    before = jax.config.jax_threefry_gpu_kernel_lowering
    jax.config.update("jax_threefry_gpu_kernel_lowering", True)
    try:
        yield
    finally:
        jax.config.update("jax_threefry_gpu_kernel_lowering", before)


def replace_variables(state: TrainState, variables: dict) -> TrainState:
    """The state with the arrays of a part of the variables tree in place of its own, and its mean.

    Args:
      variables: host or device arrays under "params" and "batch_stats". Every device is given its
        own slice, on the shardings of the arrays that are replaced.
    """

    def replace(own: Any, given: Any) -> Any:
        if isinstance(given, dict):
            return own | {name: replace(own[name], tree) for name, tree in given.items()}
        given = np.asarray(given, own.dtype)
        return jax.make_array_from_callback(own.shape, own.sharding, given.__getitem__)

    parts = {
        "params": replace(state.params, variables.get("params", {})),
        "batch_stats": replace(state.batch_stats, variables.get("batch_stats", {})),
    }
    averaged = jax.tree.map(jnp.copy, parts) if state.averaged else {}
    return dataclasses.replace(state, **parts, averaged=averaged)


def abstract_train_state(model, config: ConfigDict, mesh: Mesh):
    """Returns (shapes, types and shardings of the state, optimizer) without making the state."""
    init, optimizer, _ = _state_plan(model, config, mesh)
    return sharding.abstract(jax.eval_shape(init, KEY_SHAPE), mesh), optimizer


def _state_plan(model, config: ConfigDict, mesh: Mesh):
    initial = functools.partial(initial_state, model, config)
    params = sharding.unbox(jax.eval_shape(initial, KEY_SHAPE).params)
    optimizer = optim.make_optimizer(config.optim, params)

    def init(key) -> TrainState:
        made = initial(key)
        parts = {"params": made.params, "batch_stats": made.batch_stats}
        averaged = jax.tree.map(jnp.copy, parts) if config.optim.ema_decay else {}
        return TrainState(**vars(made), opt_state=optimizer.init(made.params), averaged=averaged)

    return init, optimizer, sharding.shardings(jax.eval_shape(init, KEY_SHAPE), mesh)


def make_gradient(
    model,
    config: ConfigDict,
    mesh: Mesh,
    objective: Objective | None = None,
    *,
    augment: bool = True,
):
    """Returns `gradient(state, batch, key, progress) -> ((loss, (terms, batch_stats)), gradient)`.

    The gradient is that of the parameters, and `terms` has each term of the objective by name.
    `key` is that of one step, `progress` the part of training before it. With
    `optim.accumulation_steps` above 1 the same gradient is taken in parts, see `accumulation.py`.
    `objective` is that of the config where none is given. Without `augment` the images of the
    batch are those that the encoder sees.
    """
    objective = objective or Objective(config.objective)
    parts = config.optim.accumulation_steps
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    unrolls = on_cpu and config.model.image_encoder.name in CONVOLUTIONAL
    loop = order.unrolled if unrolls else lax.scan

    def gradient(state: TrainState, batch, key, progress):
        def compare(params, outputs, batch):
            return objective(learned(config, params), outputs, batch, mesh, progress)

        augment_key, dropout_key = jax.random.split(key)
        if augment:
            # In one piece even where the encoders take it in parts: an image is a few thousandths
            # of what they keep of it.
            images = augment_images(augment_key, without_views(batch[IMAGES]), config.data)
            batch = {**batch, IMAGES: with_views(images, len(batch[IMAGES]))}
            batch = objective.prepared(jax.random.fold_in(augment_key, 1), batch)
        encode = make_encode(model, config, objective, progress)
        value_and_grad = accumulation.value_and_grad(encode, compare, parts, mesh, loop)
        return value_and_grad(state.params, state.batch_stats, batch, dropout_key)

    return gradient


def update_params(optimizer, config: ConfigDict, state: TrainState, grads, lr: jax.Array | float):
    """Returns (parameters, state of the optimizer) after one update."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    train_mask = optim.trainable(config.optim, state.params)
    multipliers = optim.lr_multipliers(config.optim, state.params)
    params = optim.apply_updates(state.params, updates, lr, multipliers, train_mask)
    if train_mask.get("logit_scale"):
        scale = jnp.clip(params["logit_scale"], 0.0, config.model.logit_scale_max)
        params = {**params, "logit_scale": scale}
    return params, opt_state


def average(config: ConfigDict, state: TrainState, params, batch_stats):
    """The running mean of weights after a step: d times itself and 1 - d times the new weights.

    d is `optim.ema_decay`, and (1 + t) / (10 + t) at step t while that is less: the mean should
    soon forget the weights that training started from.
    """
    if not state.averaged:
        return {}
    decay = jnp.minimum(config.optim.ema_decay, (1 + state.step) / (10 + state.step))
    new = {"params": params, "batch_stats": batch_stats}
    return jax.tree.map(
        lambda mean, leaf: (decay * mean + (1 - decay) * leaf).astype(leaf.dtype),
        state.averaged,
        new,
    )


def make_train_step(
    model,
    optimizer,
    config: ConfigDict,
    mesh: Mesh,
    objective: Objective | None = None,
    *,
    augment: bool = True,
):
    """Compiles nothing yet: returns `train_step(state, batch, lr, key, progress)`.

    It returns (state, metrics). The state is donated. Every random draw is a function of (key,
    state.step), so a resumed run repeats the one that was not stopped. Rate, key and progress, the
    part of training before the step, are arguments and not constants of the program: runs that
    differ in them alone share one compilation. Metrics are scalars on the device. For `objective`
    and `augment` see `make_gradient`.

    A step whose loss, gradient or rate is not finite is skipped: it counts, and changes nothing
    else. Of a finite gradient the moments, and with them the update, are finite.
    """
    gradient = make_gradient(model, config, mesh, objective, augment=augment)

    def train_step(state: TrainState, batch, lr, key, progress):
        key = jax.random.fold_in(key, state.step)
        (loss, (terms, batch_stats)), grads = gradient(state, batch, key, progress)
        params, opt_state = update_params(optimizer, config, state, grads, lr)
        grad_norm = optim.global_norm(grads)
        averaged = average(config, state, params, batch_stats)
        new = TrainState(state.step, params, batch_stats, opt_state, averaged)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & jnp.isfinite(lr)
        new = dataclasses.replace(order.pick(is_finite, new, state), step=state.step + 1)
        metrics = {
            "loss": loss,
            **{f"loss/{name}": value for name, value in terms.items()},
            "grad_norm": grad_norm,
            "skipped_steps": skipped_steps(new),
        }
        if "logit_scale" in new.params:
            metrics["temperature"] = jnp.exp(-new.params["logit_scale"])
        return new, metrics

    # Stated, because the compiler may prefer to leave a state elsewhere than it found it, and a
    # step on a state that has moved is compiled again.
    state_shardings = _state_plan(model, config, mesh)[2]
    return jax.jit(
        train_step,
        donate_argnums=0,
        out_shardings=(state_shardings, None),
        compiler_options=COMPILER_OPTIONS.get(mesh.devices.flat[0].platform),
    )


def skipped_steps(state: TrainState) -> jax.Array:
    """How many steps of the run were skipped: those that the optimizer did not count."""
    return state.step - optax.tree.get(state.opt_state, "count")
