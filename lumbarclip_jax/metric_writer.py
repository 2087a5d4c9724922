"""Scalars to `metrics.jsonl` and TensorBoard, from process 0 only."""

import json
import pathlib

import tensorboardX

from lumbarclip_jax.metrics_file import from_json, to_json


class MetricWriter:
    """Appends a JSON object a line, `{"step": 20, "loss": 3.1, ...}`, and the same to TensorBoard.

    A context manager: files are closed at the end of the block.

    Args:
      workdir: the run's folder; files go to `metrics.jsonl` and `tensorboard/`.
      start_step: rows beyond it are dropped first, so that a run resumed from an older checkpoint
        has no row twice.
      active: False writes nothing (processes other than 0).
    """

    def __init__(self, workdir: pathlib.Path, start_step: int, active: bool = True):
        self._active = active
        if not active:
            return
        path = workdir / "metrics.jsonl"
        kept = [row for row in read_history(workdir) if row["step"] <= start_step]
        path.write_text("".join(to_json(row) + "\n" for row in kept))
        self._file = path.open("a")
        # TensorBoard hides what an earlier run wrote beyond purge_step.
        self._board = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=start_step + 1
        )

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception) -> None:
        if self._active:
            self._file.close()
            self._board.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes one row; it is on disk when the call returns."""
        if not self._active:
            return
        self._file.write(to_json({"step": step, **scalars}) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)


def read_history(workdir: pathlib.Path) -> list[dict]:
    """The rows of `metrics.jsonl`, oldest first; a last line cut by a crash is left out."""
    path = workdir / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(from_json(line))
        except json.JSONDecodeError:
            break
    return rows
