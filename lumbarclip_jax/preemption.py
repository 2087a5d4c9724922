"""Turns SIGTERM and Ctrl-C into a request to stop at the next step boundary."""

import signal
import threading


class StopRequest:
    """Context manager; `requested` becomes True on the first SIGTERM or SIGINT.

    Saving inside a signal handler can corrupt a checkpoint, so the handler only sets a flag. A
    second signal takes its usual effect. Orbax has a handler of its own, but only under
    `jax.distributed`. Outside the main thread (a notebook's worker) no handler is installed.
    """

    def __init__(self):
        self.requested = False
        self._previous = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame) -> None:
        self.requested = True
        signal.signal(number, self._previous[number])
