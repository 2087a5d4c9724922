"""Scalars to `metrics.jsonl` and TensorBoard, from process 0 only."""

import contextlib
import datetime
import logging
import os
import pathlib
import re
import socket
import time

# pyrefly: ignore [missing-module-attribute]  # classes that protobuf makes at run time
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax.evaluators.metrics_file import from_json, to_json

FILE = "metrics.jsonl"
BOARD = "tensorboard"
# Seconds of the epoch, then the host and the process.
BOARD_FILE = re.compile(r"events\.out\.tfevents\.(\d{1,11})\..*")

log = logging.getLogger(__name__)


class MetricWriter:
    """Appends a JSON object a line, `{"step": 20, "loss": 3.1, ...}`, and the same to TensorBoard.

    A context manager: files are closed at the end of the block.

    Args:
      workdir: the run's folder; files go to `metrics.jsonl` and `tensorboard/`.
      start_step: rows beyond it are dropped first, so that a run resumed from an older checkpoint
        has no row twice.
      active: False writes nothing (processes other than 0).

    Raises:
      OSError: a file cannot be written, here or in `write`; the sentence names it.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int, active: bool = True):
        self._active = active
        if not active:
            return
        self._path = workdir / FILE
        kept = [row for row in read_history(workdir) if row["step"] <= start_step]
        write_whole(self._path, "".join(to_json(row) + "\n" for row in kept).encode())
        board = workdir / BOARD
        with disk_errors_name(self._path):
            self._file = self._path.open("a")
        with disk_errors_name(board):
            board.mkdir(exist_ok=True)
            # Written here and now: the thread of tensorboardX's usual writer dies of a full disk
            # without a word, and the next row waits for it for ever.
            writer = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
            self._board = RecordWriter(str(board / f"events.out.tfevents.{writer}"))
        self._write_events(
            Event(file_version="brain.Event:2"),
            # TensorBoard hides what an earlier run wrote beyond this step.
            Event(step=start_step + 1, session_log=SessionLog(status=SessionLog.START)),
        )

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception) -> None:
        if self._active:
            # Every row is on disk, but for one that could not be written, as was said then.
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._board.close()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Writes one row; it is on disk when the call returns."""
        if not self._active:
            return
        row = to_json({"step": step, **scalars}) + "\n"
        with disk_errors_name(self._path, size_bytes=len(row)):
            self._file.write(row)
            self._file.flush()
        self._write_events(
            *(Event(step=step, summary=scalar(name, value)) for name, value in scalars.items())
        )

    def _write_events(self, *events: Event) -> None:
        with disk_errors_name(self._path.parent / BOARD):
            for event in events:
                event.wall_time = time.time()
                self._board.write(event.SerializeToString())
            self._board.flush()


def last_started(workdir: pathlib.Path) -> datetime.date | None:
    """The day (UTC) on which training last began, by the names of its TensorBoard files.

    Those keep it when a folder is copied; None where there is none.
    """
    found = (BOARD_FILE.fullmatch(path.name) for path in (workdir / BOARD).glob("events.*"))
    seconds = [int(match[1]) for match in found if match]
    return datetime.datetime.fromtimestamp(max(seconds), datetime.UTC).date() if seconds else None


def read_history(workdir: pathlib.Path) -> list[dict]:
    """The rows of `metrics.jsonl`, oldest first; what is no row is left out, and said."""
    path = workdir / FILE
    rows, bad = [], []
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_row(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            bad.append(number)
    if bad:
        log.warning(
            "%s: %d lines are damaged and left out, the first is %d", path, len(bad), bad[0]
        )
    return rows


def _row(line: str) -> dict[str, float]:
    row = from_json(line)
    return {"step": int(row.pop("step")), **{name: float(value) for name, value in row.items()}}
