"""Standard output that takes every character and does not mind that nobody reads on."""

import io
import os
import sys
from typing import Any


class _Pipe(io.FileIO):
    """A file descriptor that throws away what is written once its reader has gone."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return memoryview(data).nbytes


def make_robust() -> None:
    """Lets a command do all its work where its output is closed early, as by `| head -1`.

    Characters that the locale does not know are written as escapes.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed from the start: the next file would take its number, and what C++ logs.
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w"))
    plain: Any = sys.stdout
    plain.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Pipe(plain.fileno(), "w", closefd=False)),
        encoding=plain.encoding,
        errors="backslashreplace",
        line_buffering=plain.line_buffering,
        write_through=plain.write_through,
    )
