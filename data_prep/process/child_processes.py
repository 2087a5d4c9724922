"""Processes that a command starts: they end with it, and whether they do anything."""

import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
IDLE_SHARE = 0.01  # of a processor: whoever only looks at a queue now and then
WORDS = {"T": "stopped", "t": "stopped", "D": "waiting for a disk", "Z": "ended"}


def live_with_parent(grace_s: int) -> None:
    """In a child: neither ends before its parent does nor outlives it.

    Ctrl-C goes to the whole group, and it is the parent who knows what to do. After a SIGTERM the
    child ends within `grace_s` seconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(grace_s))
    parent: Any = multiprocessing.parent_process()  # there is one: this is a child

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


class Activity:
    """How long children have used no processor, as Linux tells; elsewhere, how long it exists."""

    def __init__(self):
        self._since = time.monotonic()
        self._used_s: dict[int, float] = {}

    def seconds_without(self, pids: Sequence[int]) -> float:
        """Seconds in which none of these did anything."""
        now = time.monotonic()
        for pid in pids:
            used_s = self._processor_s(pid)
            before = self._used_s.setdefault(pid, used_s)
            if used_s - before > IDLE_SHARE * (now - self._since) + 1 / TICKS_PER_S:
                self._used_s.clear()
                self._since = now
                break
        return now - self._since

    def suspects(self, pids: Sequence[int]) -> list[int]:
        """Those that somebody stopped or that wait for a disk; all, where none does."""
        return [pid for pid in pids if self.state(pid) in WORDS.values()] or list(pids)

    def state(self, pid: int) -> str:
        """What a process does."""
        fields = _stat(pid)
        return WORDS.get(fields[0], "idle") if fields else "unknown"

    def _processor_s(self, pid: int) -> float:
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s `stat` from the state on; none where there is no such file."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
