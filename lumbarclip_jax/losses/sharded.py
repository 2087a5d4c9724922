"""How rows meet keys over a mesh: every device owns an equal share of the rows, in order.

`Gather` fetches all pairs once and keeps them for the gradient: 2·B·E numbers a device, the least
waiting. `Ring` passes each device's pairs round the mesh, one neighbour at a time, and holds two
shares at once: memory does not grow with the number of devices.

In both, all that is summed over devices is the loss and the gradients of its scalars. A device
computes the whole gradient of its own rows, so no embedding gradient is ever reduced.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from lumbarclip_jax.losses.blockwise import Fold, sweep_blocks

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Gather:
    """The exchange in which every device holds all keys."""

    block_size: int
    mesh: Mesh

    def sweep(self, fold: Fold, carry: PyTree, rows: PyTree, keys: PyTree) -> PyTree:
        return sweep_blocks(fold, carry, rows, keys, self.block_size)

    def share(self, tree: PyTree) -> PyTree:
        return jax.lax.all_gather(tree, self.mesh.axis_names, tiled=True)

    def total(self, tree: PyTree) -> PyTree:
        return jax.lax.psum(tree, self.mesh.axis_names)

    def run(self, function: Callable, inputs: tuple[str, ...], outputs: tuple[str, ...]):
        return _over_mesh(self.mesh, PartitionSpec(), function, inputs, outputs)


@dataclasses.dataclass(frozen=True)
class Ring:
    """The exchange in which keys travel from device to device."""

    block_size: int
    mesh: Mesh

    def sweep(self, fold: Fold, carry: PyTree, rows: PyTree, keys: PyTree) -> PyTree:
        devices = self.mesh.size
        to_the_next = [(device, (device + 1) % devices) for device in range(devices)]

        def hop(_, state):
            carry, keys = state
            # Sent before they are used, so that the transfer hides behind the work. The last hop
            # only brings the keys home: one transfer more, in exchange for one compiled body.
            arriving = jax.lax.ppermute(keys, self.mesh.axis_names, to_the_next)
            return sweep_blocks(fold, carry, rows, keys, self.block_size), arriving

        return jax.lax.fori_loop(0, devices, hop, (carry, keys))[0]

    def share(self, tree: PyTree) -> PyTree:
        return tree

    def total(self, tree: PyTree) -> PyTree:
        return jax.lax.psum(tree, self.mesh.axis_names)

    def run(self, function: Callable, inputs: tuple[str, ...], outputs: tuple[str, ...]):
        return _over_mesh(self.mesh, PartitionSpec(self.mesh.axis_names), function, inputs, outputs)


def _over_mesh(mesh, keys: PartitionSpec, function, inputs, outputs):
    specs = {"rows": PartitionSpec(mesh.axis_names), "keys": keys, "same": PartitionSpec()}
    # The replication check only serves transposition, and nothing in here is transposed.
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=tuple(specs[name] for name in inputs),
        out_specs=tuple(specs[name] for name in outputs),
        check_vma=False,
    )
