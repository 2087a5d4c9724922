"""Timing several things in turn, so that a machine that slows down slows all of them."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of one call, over the repeats."""

    median_s: float
    min_s: float
    max_s: float


def interleaved(
    tasks: dict[Name, Callable[[int], None]], calls: int, repeats: int
) -> dict[Name, Times]:
    """Times every task `repeats` times in turn: first, second, ..., first, second, ...

    Args:
      tasks: `task(calls)` makes that many calls and returns when their results are computed.
      calls: of a repeat. What the end of a repeat waits for is spread over them.
      repeats: at least one; the machine is told from the program by their spread.

    Returns:
      `Times` of one call of each task.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task(calls)
            seconds[name].append((time.perf_counter() - start) / calls)
    return {
        name: Times(statistics.median(values), min(values), max(values))
        for name, values in seconds.items()
    }
