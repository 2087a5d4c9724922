"""The gradient of a batch that is encoded in parts (GradCache, arXiv 2101.06983, section 3).

A contrastive loss compares every pair of a batch with every other. It is no sum over parts of the
batch, so averaging the gradients of the parts gives the gradient of another, easier problem. Two
passes give the right one:

    1. encode the parts, keeping nothing but their outputs, a few numbers a row: embeddings, and
       losses of single rows; differentiate the loss of the whole batch by these and by its own
       scalars (temperature, bias);
    2. encode each part again with the same dropout keys, pull the gradients of its outputs back to
       the parameters, and add up.

Memory is what one part needs; the price is a forward pass more. The result is the gradient of the
whole batch but for batch normalisation, whose statistics in training are those of a part.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from lumbarclip_jax import sharding

PyTree = Any
Encode = Callable[[PyTree, PyTree, PyTree, jax.Array], tuple[PyTree, PyTree]]
Loss = Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, PyTree]]
Loop = Callable[[Callable, PyTree, PyTree], tuple[PyTree, PyTree]]


def value_and_grad(encode: Encode, loss: Loss, steps: int, mesh: Mesh, loop: Loop = lax.scan):
    """The gradient of `loss(params, encode(params, ...), batch)`, encoding in `steps` parts.

    Args:
      encode: `encode(params, batch_stats, batch, key) -> (outputs, batch_stats)`, the outputs with
        a row a row of the batch. `key` is for dropout; the running statistics that come out must
        not change the outputs.
      loss: `loss(params, outputs, batch) -> (scalar, what else to report)` of the whole batch.
      steps: number of parts; one is plain differentiation of the composition.
      mesh: the devices over which the batch is sharded. Part k is the k-th part of every device's
        own rows, so that rows stay where they are.
      loop: `lax.scan`, or what does the same.

    Returns:
      `f(params, batch_stats, batch, key) -> ((loss, (reported, batch_stats)), gradient)`, as
      `jax.value_and_grad(..., has_aux=True)` of the composition would. Each of several parts gets a
      key of its own, and moves the running statistics once, in order.
    """

    def composed(params, batch_stats, batch, key):
        outputs, batch_stats = encode(params, batch_stats, batch, key)
        value, reported = loss(params, outputs, batch)
        return value, (reported, batch_stats)

    if steps == 1:
        return jax.value_and_grad(composed, has_aux=True)

    def accumulated(params, batch_stats, batch, key):
        keys = jax.random.split(key, steps)
        parts = jax.tree.map(lambda leaf: _split(leaf, steps, mesh), batch)

        def encode_part(batch_stats, part):
            outputs, batch_stats = encode(params, batch_stats, *part)
            return batch_stats, outputs

        new_stats, outputs = loop(encode_part, batch_stats, (parts, keys))
        outputs = jax.tree.map(lambda leaf: _join(leaf, mesh), outputs)
        differentiated = jax.value_and_grad(loss, (0, 1), has_aux=True)
        # Zero but for the scalars of the loss: what the parts' gradients are added to.
        (value, reported), (gradient, by_outputs) = differentiated(params, outputs, batch)
        by_outputs = jax.tree.map(lambda leaf: _split(leaf, steps, mesh), by_outputs)

        def add_part(gradient, part):
            batch, key, by_outputs = part
            _, pull_back = jax.vjp(lambda p: encode(p, batch_stats, batch, key)[0], params)
            return jax.tree.map(jnp.add, gradient, *pull_back(by_outputs)), None

        gradient, _ = loop(add_part, gradient, (parts, keys, by_outputs))
        return (value, (reported, new_stats)), gradient

    return accumulated


def check_batch_size(config: ConfigDict, mesh: Mesh) -> None:
    """Raises ValueError when the batch does not divide over the devices and the parts."""
    size, steps = config.data.global_batch_size, config.optim.accumulation_steps
    sharding.check_batch_size(size, mesh, "data.global_batch_size")
    if size % (mesh.size * steps):
        nearest = math.ceil(size / (mesh.size * steps)) * mesh.size * steps
        raise ValueError(
            f"data.global_batch_size={size} does not divide into optim.accumulation_steps={steps} "
            f"equal parts on each of {mesh.size} devices: try {nearest}"
        )


def _split(leaf: jax.Array, steps: int, mesh: Mesh) -> jax.Array:
    """[B, ...] as [steps, B / steps, ...] without moving a row to another device."""
    rest = leaf.shape[1:]
    parts = leaf.reshape(mesh.size, steps, -1, *rest).swapaxes(0, 1).reshape(steps, -1, *rest)
    return lax.with_sharding_constraint(
        parts, NamedSharding(mesh, PartitionSpec(None, *sharding.BATCH))
    )


def _join(parts: jax.Array, mesh: Mesh) -> jax.Array:
    """The inverse of `_split`."""
    steps, _, *rest = parts.shape
    leaf = parts.reshape(steps, mesh.size, -1, *rest).swapaxes(0, 1).reshape(-1, *rest)
    return lax.with_sharding_constraint(leaf, NamedSharding(mesh, sharding.BATCH))
