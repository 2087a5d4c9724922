"""Turns SIGTERM and Ctrl-C into a request to stop at the next step boundary."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data_prep.process import signals


class StopRequest:
    """Context manager; `requested` becomes True on the first SIGTERM or SIGINT to this process.

    Saving inside a signal handler can corrupt a checkpoint, so the handler only sets a flag. A
    second Ctrl-C takes its usual effect; a second SIGTERM does not, because schedulers send more
    than one. Outside the main thread (a notebook's worker) no handler is installed. With several
    processes, one that stopped by itself would leave the others waiting in a collective: they stop
    when `agreed`. A command that has taken no step ends without this, see `signals`.
    """

    def __init__(self):
        self.requested = signals.deferred()
        self._at_once = False
        self._previous = {}
        mesh = Mesh(jax.devices(), ("devices",))
        self._split = NamedSharding(mesh, PartitionSpec("devices"))
        self._count = jax.jit(jnp.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._votes = 0

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self, *, wait: bool = False) -> bool:
        """Whether all processes stop here. All have to ask at the same places; all hear the same.

        Votes are counted on the devices, in turn with the training steps. What is read is the count
        of the call before, so that nobody waits for the step in flight; `wait` reads this call's.
        """
        if jax.process_count() == 1:
            return self.requested
        own = np.full(jax.local_device_count(), self.requested, np.int32)
        before = self._votes
        self._votes = self._count(jax.make_array_from_process_local_data(self._split, own))
        return bool(self._votes if wait else before)

    @property
    def alone(self) -> bool:
        """Whether this process is asked to stop, and has not to agree with others."""
        return self.requested and jax.process_count() == 1

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A signal ends the block where it is, for what can be done again and takes long.

        With several processes, it goes on to its end.

        Raises:
          Stopped: there was one.
        """
        self._at_once = jax.process_count() == 1
        try:
            if self.alone:
                raise signals.Stopped
            yield
        finally:
            self._at_once = False

    def _on_signal(self, number: int, frame) -> None:
        self.requested = True
        signals.note(number)
        if number == signal.SIGINT:
            signal.signal(number, self._previous[number])
        if self._at_once:
            self._at_once = False
            raise signals.Stopped
