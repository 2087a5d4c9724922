"""One map over worker processes, in the order of its tasks."""

import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence

from data_prep.process.child_processes import live_with_parent
from data_prep.process.progress import Progress

GRACE_S = 5  # for a worker that was itself told to stop


@contextlib.contextmanager
def worker_processes(count: int) -> Iterator[concurrent.futures.Executor]:
    """Processes that are spawned, never forked, and end with this one.

    A fork of a process that has written a compressed ArrayRecord crashes when it reads one.

    Raises:
      OSError: a worker process was killed.
    """
    pool = concurrent.futures.ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),
        initializer=live_with_parent,
        initargs=(GRACE_S,),
    )
    try:
        yield pool
    except (concurrent.futures.process.BrokenProcessPool, BrokenPipeError) as error:
        raise OSError(
            "a worker process was killed, perhaps for want of memory: run the command "
            "again, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def ordered_map(function: Callable, tasks: Sequence, *, workers: int, label: str) -> Iterator:
    """Yields ``function(task)`` for every task, in order, with a progress line.

    One worker means this process.

    Raises:
      OSError: a worker process was killed.
    """
    progress = Progress(label, len(tasks))
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield function(task)
            progress.advance()
    else:
        with worker_processes(workers) as pool:
            for result in pool.map(function, tasks, chunksize=1):
                yield result
                progress.advance()
    progress.close()
