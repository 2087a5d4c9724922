"""Batches placed on their devices before the step that takes them asks for them."""

import collections
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh

from lumbarclip_jax import sharding

AHEAD = 2  # one crosses to the device while the one before it waits there


@runtime_checkable
class Batches(Protocol):
    """What makes batches, a `BatchReader` or an iterator of Grain's."""

    def __next__(self) -> Any: ...

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...

    def close(self) -> None: ...


class DevicePrefetch(Iterator[dict[str, jax.Array]]):
    """The global batches of `train_iterator`, `AHEAD` of them on the way to the devices.

    Copies to a device run beside its computation, so no thread is needed: only to have asked early,
    before the loop waits for a loss. `get_state` and `set_state` are of the batch last given out,
    whatever is on its way: a run that goes on from there misses and repeats none.
    """

    def __init__(self, batches: Batches, mesh: Mesh):
        self._batches, self._mesh = batches, mesh
        self._placed: collections.deque[tuple[dict[str, jax.Array], Any]] = collections.deque()
        self._state = batches.get_state()

    def __next__(self) -> dict[str, jax.Array]:
        while len(self._placed) <= AHEAD:
            batch = sharding.shard_batch(next(self._batches), self._mesh)
            self._placed.append((batch, self._batches.get_state()))
        batch, self._state = self._placed.popleft()
        return batch

    def get_state(self) -> Any:
        return self._state

    def set_state(self, state: Any) -> None:
        self._placed.clear()
        self._batches.set_state(state)
        self._state = state

    def close(self) -> None:
        """Ends what makes the batches."""
        self._batches.close()
