"""When steps that are no use, see `train_step.make_train_step`, have become too many."""

import logging

import jax

log = logging.getLogger(__name__)


class SkippedSteps:
    """Follows the count of skipped steps; what it is given stays on the device until `read`.

    Args:
      limit: that many in a row are too many.
      total: skipped before.
    """

    def __init__(self, limit: int, total: int):
        self.in_a_row, self.total = 0, total
        self._limit = limit
        self._unread: list[jax.Array] = []

    def add(self, total: jax.Array) -> None:
        """Takes the count that a step ended with."""
        self._unread.append(total)

    def read(self) -> None:
        """Waits for the steps whose counts were added."""
        before = self.total
        for total in map(int, jax.device_get(self._unread)):
            self.in_a_row = self.in_a_row + 1 if total > self.total else 0
            self.total = total
        self._unread.clear()
        if self.total > before:
            log.warning(
                "%d steps of this run were skipped, %d of them just now in a row: their loss or "
                "gradient was not finite",
                self.total,
                self.in_a_row,
            )

    def require_few(
        self, step: int, loss: float, saved_step: int | None, is_last: bool = False
    ) -> None:
        """Of what was read.

        Raises:
          FloatingPointError: too many in a row or, at the last step, all of the run.
        """
        if self.in_a_row < (min(self._limit, step) if is_last else self._limit):
            return
        saved = "nothing is saved" if saved_step is None else f"step {saved_step} is saved"
        raise FloatingPointError(
            f"the loss is {loss} at step {step}, and the last {self.in_a_row} steps were skipped "
            f"because loss or gradient was not finite ({saved}): lower optim.lr or "
            "optim.clip_norm and run again; if it stops alike, the saved weights are "
            "ruined too: delete that checkpoint, or choose another --workdir"
        )
