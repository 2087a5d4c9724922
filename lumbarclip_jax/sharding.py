"""Meshes, and where parameters and batches live on them.

Two mesh axes: `data` splits the batch only, `fsdp` splits the batch and the parameters.
"""

import math
from collections.abc import Iterator

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

BATCH = PartitionSpec(("data", "fsdp"))

# Logical parameter axes that may be split over `fsdp`, the most even split first.
FSDP_AXES = ("vocab", "mlp", "heads", "conv_out", "embed")


def make_mesh(fsdp: int = 1, devices: list[jax.Device] | None = None) -> Mesh:
    """A ('data', 'fsdp') mesh over all devices.

    Raises:
      ValueError: `fsdp` does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    if len(devices) % fsdp:
        raise ValueError(
            f"mesh.fsdp={fsdp} does not divide the {len(devices)} devices: choose a divisor"
        )
    # Auto, because under make_mesh's default (Explicit) the similarity matrix of two sharded
    # batches does not trace.
    return jax.make_mesh(
        (len(devices) // fsdp, fsdp),
        ("data", "fsdp"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def unbox(tree):
    """Drops the logical-axis boxes that linen puts around parameters."""
    return nn.meta.unbox(tree)


def box(array, names: tuple[str | None, ...]):
    """An array with the logical names of its axes, as linen's are."""
    return nn.LogicallyPartitioned(array, names)


def is_box(leaf) -> bool:
    return isinstance(leaf, nn.meta.AxisMetadata)


def shardings(boxed, mesh: Mesh):
    """Shardings of a tree of (abstract) arrays, some of them boxed with logical axis names.

    A boxed array is split over `fsdp` along the first of `FSDP_AXES` it has with a size that
    divides; everything else is replicated.
    """

    def leaf_sharding(leaf):
        names, array = (leaf.names, leaf.value) if is_box(leaf) else ((), leaf)
        spec = [None] * array.ndim
        sizes = dict(zip(names, array.shape, strict=True)) if names else {}
        for name in FSDP_AXES:
            if mesh.shape["fsdp"] > 1 and sizes.get(name, 1) % mesh.shape["fsdp"] == 0:
                spec[names.index(name)] = "fsdp"
                break
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(leaf_sharding, boxed, is_leaf=is_box)


def abstract(boxed, mesh: Mesh):
    """Shapes and types of a tree of boxed (abstract) arrays without its boxes, on `shardings`."""
    return jax.tree.map(
        lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s),
        unbox(boxed),
        shardings(boxed, mesh),
    )


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's rows of a batch on its devices as part of the global batch."""
    sharding = NamedSharding(mesh, BATCH)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def own_rows(size: int, mesh: Mesh) -> np.ndarray:
    """Which rows of a global batch this process gives to `shard_batch`, in ascending order.

    Not a contiguous share on every machine: a mesh follows the wiring of the devices.
    """
    slices = NamedSharding(mesh, BATCH).addressable_devices_indices_map((size,)).values()
    return np.sort(np.concatenate([np.arange(size)[index] for index in slices]))


def filled_batches(
    count: int, batch_size: int, mesh: Mesh, *, one_shape: bool = False
) -> Iterator[tuple[np.ndarray, int]]:
    """Rows 0 to `count` in batches that divide over the mesh, each filled with its last row.

    A batch has at most `batch_size` rows, rounded up to the devices. Every size is compiled: with
    `one_shape` it is always this; else a batch that is not full has the next power of two times the
    devices.

    Yields:
      (rows [size], how many of them count).
    """
    largest = math.ceil(batch_size / mesh.size) * mesh.size
    for first in range(0, count, largest):
        rows = np.arange(first, min(first + largest, count))
        doublings = math.ceil(math.log2(max(len(rows) / mesh.size, 1)))
        size = largest if one_shape else min(mesh.size * 2**doublings, largest)
        yield np.pad(rows, (0, size - len(rows)), mode="edge"), len(rows)


def check_batch_size(size: int, mesh: Mesh, field: str) -> None:
    """Raises ValueError when a batch does not divide over the devices of the mesh."""
    if size % mesh.size:
        nearest = math.ceil(size / mesh.size) * mesh.size
        raise ValueError(
            f"{field}={size} does not divide over the {mesh.size} devices: try {nearest}"
        )
