"""One line of progress: step, loss, speed and time left."""

import contextlib
import logging
import time

log = logging.getLogger(__name__)


class Progress:
    """Counts pairs per second between updates, leaving out paused time and the first interval.

    The first interval holds the compilation, so its speed would say nothing about the rest.
    """

    def __init__(self, step: int, total_steps: int, batch_size: int):
        self._step = step
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._since = time.perf_counter()
        self._first = True

    def update(self, step: int, loss: float) -> dict[str, float]:
        """Logs the line and returns `{"pairs_per_s": ...}`, empty for the first interval."""
        now = time.perf_counter()
        seconds_per_step = (now - self._since) / max(1, step - self._step)
        pairs_per_s = self._batch_size / seconds_per_step
        left_s = int(seconds_per_step * (self._total_steps - step))
        log.info(
            "step %d/%d  loss %.4f  %s  ETA %d:%02d",
            step,
            self._total_steps,
            loss,
            "compiling" if self._first else f"{pairs_per_s:.1f} pairs/s",
            left_s // 60,
            left_s % 60,
        )
        speed = {} if self._first else {"pairs_per_s": round(pairs_per_s, 2)}
        self._step, self._since, self._first = step, now, False
        return speed

    @contextlib.contextmanager
    def paused(self):
        """Time spent inside does not count: evaluation is not training speed."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started
