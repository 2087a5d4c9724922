"""What is computed when: XLA drops optimization barriers, and would fuse or reorder these."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree

Tree = TypeVar("Tree")


def unrolled(body: Callable, carry: PyTree, parts: PyTree) -> tuple[PyTree, PyTree]:
    """`lax.scan` as programs in a row, which take longer to compile.

    In a loop the gradients of convolutions are 16 to 48 times slower.
    """
    outputs = []
    for index in range(len(jax.tree.leaves(parts)[0])):
        place = index + _zero_known_after(carry)
        part = jax.tree.map(
            lambda leaf, place=place: lax.dynamic_index_in_dim(leaf, place, keepdims=False), parts
        )
        carry, output = body(carry, part)
        outputs.append(output)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


def _zero_known_after(tree: PyTree) -> Array:
    """0, but XLA cannot tell before every float32 leaf of the tree is computed.

    What is indexed by it waits. Without the wait XLA runs all parts at once, and keeps from the
    first pass what the second is there to recompute: no memory is saved.
    """
    last = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree))
    magnitude = lax.bitcast_convert_type(last, jnp.int32) & 0x7FFFFFFF
    return jnp.minimum(magnitude, 0)


def pick(condition: Bool[Array, ""], new: Tree, old: Tree) -> Tree:
    """`new` where `condition`, else `old`, leaf by leaf; on CPU not fused with what makes `new`.

    There the fusion would change how the update of a step is rounded. Both forms read and write
    the trees once more on a CPU: 0.25 s of a core for 1 GB.
    """
    return lax.platform_dependent(condition, new, old, cpu=_pick_apart, default=plain_pick)


def plain_pick(condition: Bool[Array, ""], new: Tree, old: Tree) -> Tree:
    """`pick` in the way that compilers fuse."""
    return jax.tree.map(lambda new, old: jnp.where(condition, new, old), new, old)


def _pick_apart(condition, new, old):
    return lax.cond(condition, lambda new, old: new, lambda new, old: old, new, old)
