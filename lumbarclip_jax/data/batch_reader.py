"""Batches in their order, made ahead of their use by threads, or by processes of their own."""

import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grain
from absl import flags

from data_prep.process.child_processes import Activity, live_with_parent
from data_prep.process.signals import Stopped

GRACE_S = 120  # in which a run that was asked to stop makes its last batches and saves
FROZEN_S = 40  # of waiting for a batch, in which no process has used a processor
POLL_S = 0.5
CLOSING_S = 5


class BatchReader(Iterator[dict[str, Any]]):
    """The batches of a data set from any one on.

    The position is a number of batches, whatever makes them: Grain's own names every process, and a
    run could not go on with another number of them. Threads share Python's lock; processes start in
    seconds, and copy what they made. A disk that does not answer holds up a thread for that alone,
    never the one that asks for a batch.
    """

    def __init__(self, batches: grain.MapDataset, threads: int, processes: int, ahead: int):
        """`threads` are of each process, and `ahead` the batches that each keeps ready."""
        self._batches, self._processes = batches, processes
        self._options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        self._given = 0
        self._reading: _Reading | None = None
        self._stopped: Callable[[], bool] = lambda: False

    def unless(self, stopped: Callable[[], bool]) -> None:
        """While this says so, a batch that is not ready is not waited for."""
        self._stopped = stopped

    def __next__(self) -> dict[str, Any]:
        """The next batch.

        Raises:
          Stopped: see `unless`.
          OSError: a process that makes batches was killed, or does nothing any more.
        """
        if self._reading is None:
            self._reading = _Reading(self._iterator())
        activity = Activity()
        while (batch := self._reading.take(POLL_S)) is None:
            if self._stopped():
                raise Stopped
            self._reading.require_alive(activity)
        self._given += 1
        return batch

    def get_state(self) -> dict[str, int]:
        return {"next_index": self._given}

    def set_state(self, state: dict[str, int]) -> None:
        self.close()
        self._given = state["next_index"]

    def close(self) -> None:
        """Ends threads and processes, until another batch is asked for."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _iterator(self) -> grain.DatasetIterator:
        reading = self._batches[self._given :].to_iter_dataset(self._options)
        if self._processes:
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()  # Grain asks for one of its own, commands or not
            options = grain.MultiprocessingOptions(num_workers=self._processes)
            reading = reading.mp_prefetch(options, worker_init_fn=_live_with_the_run)
        return iter(reading)


class _Reading:
    """One pass of Grain's iterator, in a thread that may have to be left where it is."""

    def __init__(self, batches: grain.DatasetIterator):
        self._batches = batches
        self._others = set(multiprocessing.active_children())
        self._workers: set[multiprocessing.process.BaseProcess] = set()
        self._ready: queue.Queue = queue.Queue(maxsize=1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)
        self._thread.start()

    def take(self, seconds: float) -> dict[str, Any] | None:
        """The next batch, or None if there is none within these seconds."""
        try:
            batch = self._ready.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(batch, BaseException):
            self.require_alive()
            raise batch
        return batch

    def require_alive(self, activity: Activity | None = None) -> None:
        """Raises OSError when a process was killed, or all do nothing since `activity` began."""
        self._find_workers()
        for worker in self._workers:
            if worker.exitcode:
                raise OSError(
                    f"the process {worker.pid} that makes batches was ended (status "
                    f"{worker.exitcode}), perhaps for want of memory: lower "
                    "data.read_processes, or run the same command again to continue"
                )
        if not activity:
            return
        pids = [worker.pid for worker in self._workers if worker.pid is not None]
        if pids and activity.seconds_without(pids) > FROZEN_S:
            names = ", ".join(f"{pid} ({activity.state(pid)})" for pid in activity.suspects(pids))
            raise OSError(
                f"the processes that make batches did nothing for {FROZEN_S} s, look at {names} "
                "and the disk of the data set: run the same command again to continue"
            )

    def close(self) -> None:
        self._ended.set()
        with contextlib.suppress(queue.Empty):
            self._ready.get_nowait()
        self._find_workers()
        closing = threading.Thread(target=self._batches.close, daemon=True)
        closing.start()
        closing.join(CLOSING_S)
        if closing.is_alive():
            for worker in self._workers:
                worker.kill()
            closing.join(CLOSING_S)

    def _find_workers(self) -> None:
        # Grain starts its processes when it is asked for a batch, and does not tell them.
        self._workers |= set(multiprocessing.active_children()) - self._others

    def _fill(self) -> None:
        try:
            while not self._ended.is_set():
                batch = next(self._batches)
                self._find_workers()
                self._put(batch)
        except BaseException as error:
            self._put(error)

    def _put(self, batch: dict[str, Any] | BaseException) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(batch, timeout=POLL_S)
                return


def _live_with_the_run(worker: int, workers: int) -> None:
    """In a process: a signal to the whole group asks the run to save, which may want batches."""
    del worker, workers
    # Else each has the tokenizer's own threads, one a core: alone on two, 2,800 pairs a second
    # instead of 3,600.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    live_with_parent(GRACE_S)
