"""Which step of a run is measured: the last, or the one that a validation metric chose.

Validation data chooses, so nothing of it is a result; the test split is measured once, on the
weights of the chosen step.
"""

import dataclasses
import json
import pathlib
from collections.abc import Collection, Iterable, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from data_prep.process.files import write_whole
from lumbarclip_jax.evaluators.names import is_beside

FILE = "chosen.json"


@dataclasses.dataclass
class Choice:
    """The best validation so far.

    Args:
      metric: `validation/<evaluator>/<what>` to choose by, with a "-" before it where less is
        better; "" chooses nothing, which leaves `step` None.
      patience: validations without a better one after which training ends; 0 never ends it.
    """

    metric: str
    patience: int
    step: int | None = None
    value: float = -np.inf  # the larger the better
    since: int = 0  # validations after that of `step`

    def see(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Takes in a validation; whether it is the best so far. An undefined number never is.

        Raises:
          ValueError: validation does not measure the metric; the sentence names what it does.
        """
        if not self.metric:
            return False
        name = self.metric.removeprefix("-")
        if name not in metrics:
            known = (name for name in metrics if not is_beside(name))
            raise ValueError(
                f"eval.choose_by={self.metric!r} is not measured by eval.on_the_way: choose from "
                f"{', '.join(known)}"
            )
        value = metrics[name] if name == self.metric else -metrics[name]
        if value > self.value:
            self.step, self.value, self.since = step, value, 0
            return True
        self.since += 1
        return False

    def see_history(self, rows: Iterable[Mapping[str, float]], steps: Collection[int]) -> None:
        """Takes in an earlier part of the run, as process 0 read it; every process calls it.

        Of steps whose checkpoint is gone, as those that were the best for a while, none is chosen.
        """
        if not self.metric:
            return
        name = self.metric.removeprefix("-")
        for row in rows:
            if name in row and int(row["step"]) in steps:
                self.see(int(row["step"]), row)
            elif name in row:
                self.since += 1
        if jax.process_count() > 1:
            # The writer of process 0 rewrites what the others would read.
            own = np.array([-1 if self.step is None else self.step, self.value, self.since])
            step, value, since = multihost_utils.broadcast_one_to_all(own)
            self.step = None if step < 0 else int(step)
            self.value, self.since = float(value), int(since)

    @property
    def is_exhausted(self) -> bool:
        """Whether training should end here."""
        return bool(self.patience) and self.since >= self.patience

    def write(self, folder: pathlib.Path, last_step: int) -> None:
        """Leaves the choice in the folder of a run that was trained to `last_step`."""
        shown = {
            "metric": self.metric,
            "step": self.step,
            "value": -self.value if self.metric.startswith("-") else self.value,
            "last_step": last_step,
            "patience": self.patience,
            "stopped_early": self.is_exhausted,
        }
        write_whole(folder / FILE, (json.dumps(shown, indent=2) + "\n").encode())


def ended(folder: pathlib.Path, evaluation: ConfigDict, step: int) -> bool:
    """Whether the run in `folder` was stopped early at `step`, and these settings still would."""
    found = read(folder)
    return (
        bool(found.get("stopped_early"))
        and found["last_step"] == step
        and found["metric"] == evaluation.choose_by
        and 0 < evaluation.patience <= found["patience"]
    )


def read(folder: pathlib.Path) -> dict:
    """What was chosen in the folder of a run that was trained to its end, empty for its last step.

    Raises:
      ValueError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
        return {
            "metric": str(found["metric"]),
            "step": int(found["step"]),
            "value": float(found["value"]),
            "last_step": int(found["last_step"]),
            "patience": int(found["patience"]),
            "stopped_early": bool(found["stopped_early"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is cut or damaged: restore it from a copy of the run") from error
