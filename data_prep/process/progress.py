"""A progress line with the time left."""

import sys
import time


class Progress:
    """Prints ``label done/total, time left`` to stderr.

    A terminal gets one line, rewritten in place; a log gets a new line every 15 seconds, so that a
    long build does not fill it.
    """

    def __init__(self, label: str, total: int):
        self._label = label
        self._total = total
        self._done = 0
        self._terminal = sys.stderr.isatty()
        self._interval_s = 0.2 if self._terminal else 15.0
        self._start = self._printed = time.monotonic()

    def advance(self) -> None:
        """Counts one more finished unit of work."""
        self._done += 1
        now = time.monotonic()
        if now - self._printed < self._interval_s:
            return
        self._printed = now
        left_s = (now - self._start) / self._done * (self._total - self._done)
        self._print(f"{self._label} {self._done}/{self._total}, about {left_s:.0f} s left")

    def close(self) -> None:
        """Clears the line of a terminal."""
        if self._terminal:
            self._print("")

    def _print(self, line: str) -> None:
        start, end = ("\r\033[K", "") if self._terminal else ("", "\n")
        print(start + line, end=end, file=sys.stderr, flush=True)
