"""The two layouts of the layers of a transformer: one by one, and stacked for a scan.

The layout is a choice of compilation (`config.model.scan_layers`), not of the model: weights and
checkpoints are kept one by one and stacked on the way in.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

PyTree = Any


def stack_layers(tree: PyTree) -> PyTree:
    """Turns every `layer_0`, `layer_1`, ... of a parameter tree into one stacked `layers`."""
    if not isinstance(tree, dict):
        return tree
    names = sorted(
        (name for name in tree if name.startswith("layer_")), key=lambda n: int(n.split("_")[1])
    )
    rest = {name: stack_layers(sub) for name, sub in tree.items() if name not in names}
    if not names:
        return rest
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(tree[name] for name in names))
    return rest | {"layers": stacked}


def unstack_layers(tree: PyTree, take: Callable = lambda leaf, index: leaf[index]) -> PyTree:
    """The inverse of `stack_layers`; `take` gives one layer's part of a stacked leaf.

    Layers that hold no array stay as they are: those of an optimizer's state where all are frozen.
    """
    if not isinstance(tree, dict):
        return tree
    rest = {name: unstack_layers(sub, take) for name, sub in tree.items() if name != "layers"}
    if "layers" not in tree:
        return rest
    if not (leaves := jax.tree.leaves(tree["layers"])):
        return rest | {"layers": tree["layers"]}
    depth = leaves[0].shape[0]
    return rest | {
        f"layer_{index}": jax.tree.map(lambda leaf, i=index: take(leaf, i), tree["layers"])
        for index in range(depth)
    }


def stack_state(state: PyTree) -> PyTree:
    """`stack_layers` of every dict in a pytree: of the parameters and of what follows them."""
    return _in_every_dict(stack_layers, state)


def unstack_state(state: PyTree) -> PyTree:
    """The inverse of `stack_state`."""
    return _in_every_dict(unstack_layers, state)


def unstack_abstract_state(state: PyTree) -> PyTree:
    """`unstack_state` of shapes and shardings; a layer keeps the sharding it had in the stack."""

    def take(leaf: jax.ShapeDtypeStruct, index: int) -> jax.ShapeDtypeStruct:
        del index
        one = NamedSharding(leaf.sharding.mesh, PartitionSpec(*leaf.sharding.spec[1:]))
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype, sharding=one)

    return _in_every_dict(lambda tree: unstack_layers(tree, take), state)


def _in_every_dict(function: Callable[[dict], dict], tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda node: function(node) if isinstance(node, dict) else node,
        tree,
        is_leaf=lambda node: isinstance(node, dict),
    )
