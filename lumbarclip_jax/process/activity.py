"""What a command is doing, said again while it has nothing else to say."""

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Iterator

SILENCE_S = 10

log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Doing:
    what: str = ""
    since: float = 0.0


_doing = _Doing()


def now(what: str) -> None:
    """Says that `what` begins, to whoever listens; costs well under a microsecond."""
    _doing.what, _doing.since = what, time.monotonic()


@contextlib.contextmanager
def told(silence_s: float = SILENCE_S) -> Iterator[None]:
    """Logs what is going on, and for how long, whenever nothing was logged for `silence_s`.

    The first line of a wait comes after that time, so that a quick command has none.
    """
    listener = _Listener()
    package = logging.getLogger(__name__.partition(".")[0])
    package.addHandler(listener)
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(max(0.05, listener.last + silence_s - time.monotonic())):
            if _doing.what and time.monotonic() - listener.last >= silence_s:
                log.info("%s: %.0f s so far", _doing.what, time.monotonic() - _doing.since)
            elif not _doing.what:
                listener.last = time.monotonic()

    thread = threading.Thread(target=tell, name="activity", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        package.removeHandler(listener)


class _Listener(logging.Handler):
    """Notes when a line was last logged."""

    def __init__(self):
        super().__init__()
        self.last = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self.last = time.monotonic()
