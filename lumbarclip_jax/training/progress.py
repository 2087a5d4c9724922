"""One line of progress: step, loss, speed and time left."""

import contextlib
import logging
import time

log = logging.getLogger(__name__)


class Progress:
    """Counts pairs per second between updates, leaving out paused time and the compilation."""

    def __init__(self, step: int, total_steps: int, batch_size: int):
        self._step = step
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._since = time.perf_counter()

    def compiled(self, step: int) -> None:
        """The first step, to `step`, is done: its time is that of the compilation, and is told."""
        now = time.perf_counter()
        log.info("the first step took %.1f s, with its compilation", now - self._since)
        self._step, self._since = step, now

    def update(self, step: int, loss: float) -> dict[str, float]:
        """Logs the line and returns `{"pairs_per_s": ...}`, empty where no step was timed yet."""
        if step == self._step:
            log.info("step %d/%d  loss %.4f", step, self._total_steps, loss)
            return {}
        now = time.perf_counter()
        seconds_per_step = (now - self._since) / (step - self._step)
        pairs_per_s = self._batch_size / seconds_per_step
        left_s = int(seconds_per_step * (self._total_steps - step))
        log.info(
            "step %d/%d  loss %.4f  %.1f pairs/s  ETA %d:%02d",
            step,
            self._total_steps,
            loss,
            pairs_per_s,
            left_s // 60,
            left_s % 60,
        )
        self._step, self._since = step, now
        return {"pairs_per_s": round(pairs_per_s, 2)}

    @contextlib.contextmanager
    def paused(self):
        """Time spent inside does not count: evaluation is not training speed."""
        started = time.perf_counter()
        yield
        self._since += time.perf_counter() - started
