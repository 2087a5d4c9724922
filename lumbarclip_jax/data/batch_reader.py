"""Batches in their order, made ahead of their use by threads, or by processes of their own."""

import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import grain
from absl import flags

GRACE_S = 120  # in which a run that was asked to stop makes its last batches and saves


class BatchReader(Iterator[dict[str, Any]]):
    """The batches of a data set from any one on.

    The position is a number of batches, whatever makes them: Grain's own names every process, and a
    run could not go on with another number of them. Threads share Python's lock; processes start in
    seconds, and copy what they made.
    """

    def __init__(self, batches: grain.MapDataset, threads: int, processes: int, ahead: int):
        """`threads` are of each process, and `ahead` the batches that each keeps ready."""
        self._batches, self._processes = batches, processes
        self._options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        self._given = 0
        self._reading: grain.DatasetIterator | None = None

    def __next__(self) -> dict[str, Any]:
        if self._reading is None:
            self._reading = self._start()
        batch = next(self._reading)
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

    def _start(self) -> grain.DatasetIterator:
        reading = self._batches[self._given :].to_iter_dataset(self._options)
        if self._processes:
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()  # Grain asks for one of its own, commands or not
            options = grain.MultiprocessingOptions(num_workers=self._processes)
            reading = reading.mp_prefetch(options, worker_init_fn=_live_with_the_run)
        return iter(reading)


def _live_with_the_run(worker: int, workers: int) -> None:
    """In a process: neither ends before the run does nor outlives it.

    A signal to the whole group asks the run to save and stop, for which it may want more batches.
    """
    del worker, workers
    # Else each has the tokenizer's own threads, one a core: alone on two, 2,800 pairs a second
    # instead of 3,600.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_S))
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
