"""Batches on their way to the devices: the order, the position, and what is placed when."""

import grain
import jax
import numpy as np
import pytest

from lumbarclip_jax import sharding
from lumbarclip_jax.training.prefetch import AHEAD, DevicePrefetch

PAIRS = 8


class Counted(grain.MapDataset):
    """Batches 0, 1, 2, ..., and which of them were made."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __len__(self):
        return 1_000

    def __getitem__(self, index):
        self.made.append(index)
        return {"images": np.full((PAIRS, 2, 2, 1), index, np.uint8)}


@pytest.fixture
def source():
    return Counted()


def prefetch(source) -> DevicePrefetch:
    options = grain.ReadOptions(num_threads=0)
    return DevicePrefetch(iter(source.to_iter_dataset(options)), sharding.make_mesh())


def take(batches, count: int) -> list[int]:
    return [int(next(batches)["images"][0, 0, 0, 0]) for _ in range(count)]


def test_batches_are_placed_in_order_and_ahead(source):
    batches = prefetch(source)
    first = next(batches)["images"]
    assert isinstance(first, jax.Array)
    assert first.sharding.spec == sharding.BATCH
    assert source.made == list(range(1 + AHEAD))
    assert take(batches, 4) == [1, 2, 3, 4]


def test_the_position_is_that_of_the_batch_given_out_not_of_those_on_the_way(source):
    batches = prefetch(source)
    start = batches.get_state()
    take(batches, 3)
    position = batches.get_state()
    assert take(batches, 5) == [3, 4, 5, 6, 7]

    again = prefetch(Counted())
    again.set_state(position)
    assert take(again, 2) == [3, 4]
    batches.set_state(start)  # with others on the way
    assert take(batches, 2) == [0, 1]
