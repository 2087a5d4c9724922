"""Whether every number of a state is one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils


def is_finite(state) -> bool:
    """Whether every number of a pytree of arrays is one; all processes ask, and hear the same.

    Each looks at its own shards: a sum over processes for each leaf may run in another order on
    each of them, and then waits for ever.
    """
    shards = [shard.data for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards]
    finite = all(jax.device_get([_all_finite(shard) for shard in shards]))
    if jax.process_count() > 1:
        finite = multihost_utils.process_allgather(np.array(finite)).all()
    return bool(finite)


@jax.jit
def _all_finite(leaf: jax.Array) -> jax.Array:
    """A program for each shape: one for all leaves takes many times as long to compile."""
    return jnp.isfinite(leaf).all()
