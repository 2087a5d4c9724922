"""Meshes, where parameters land, and batches that do not fit."""

import jax
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec

from lumbarclip_jax import sharding


def boxed(names, *shape):
    return nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, np.float32), names)


def test_parameters_are_split_over_fsdp_where_a_size_divides():
    mesh = sharding.make_mesh(fsdp=4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4}
    specs = jax.tree.map(
        lambda s: s.spec,
        sharding.shardings(
            {
                "mlp": boxed(("embed", "mlp"), 8, 16),
                "odd": boxed(("embed", "mlp"), 8, 15),
                "none": boxed(("embed", "mlp"), 9, 15),
                "plain": jax.ShapeDtypeStruct((4,), np.float32),
            },
            mesh,
        ),
    )
    assert specs == {
        "mlp": PartitionSpec(None, "fsdp"),
        "odd": PartitionSpec("fsdp", None),
        "none": PartitionSpec(None, None),
        "plain": PartitionSpec(None),
    }


def test_data_parallel_meshes_replicate_parameters():
    placed = sharding.shardings(boxed(("embed", "mlp"), 8, 16), sharding.make_mesh())
    assert placed.is_fully_replicated


def test_a_batch_is_split_over_both_axes():
    rows = np.arange(16, dtype=np.float32).reshape(16, 1)
    batch = sharding.shard_batch({"x": rows}, sharding.make_mesh(fsdp=2))
    np.testing.assert_array_equal(batch["x"], rows)
    assert [shard.data.shape for shard in batch["x"].addressable_shards] == [(2, 1)] * 8


def test_what_does_not_divide_is_named():
    with pytest.raises(ValueError, match="fsdp=3 does not divide the 8 devices"):
        sharding.make_mesh(fsdp=3)
    with pytest.raises(ValueError, match="batch=12 does not divide over the 8 devices: try 16"):
        sharding.check_batch_size(12, sharding.make_mesh(), "batch")


@pytest.mark.parametrize(
    ("count", "batch_size", "one_shape", "sizes"),
    [
        (0, 16, False, []),
        (3, 16, False, [8]),  # of eight devices
        (9, 16, False, [16]),
        (20, 16, False, [16, 8]),
        (20, 20, False, [24]),
        (41, 33, False, [40, 8]),
        (20, 16, True, [16, 16]),
        (3, 5, True, [8]),
    ],
)
def test_batches_of_few_sizes_are_filled_with_their_last_row(count, batch_size, one_shape, sizes):
    batches = list(
        sharding.filled_batches(count, batch_size, sharding.make_mesh(), one_shape=one_shape)
    )
    assert [len(rows) for rows, _ in batches] == sizes
    counted = [row for rows, used in batches for row in rows[:used]]
    assert counted == list(range(count))
    for rows, used in batches:
        assert (rows[used:] == rows[used - 1]).all()
