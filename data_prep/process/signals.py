"""What SIGTERM and Ctrl-C do to a command, from its first import to its end.

A command that has nothing to lose ends at once, with a sentence. Training that has taken steps
since it last saved goes on to the end of its step and saves, see `preemption`.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator

NAMES: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
# Of which stopping early is no failure, known before it is imported.
RESUMABLE = ("lumbarclip_jax.main", "lumbarclip_jax.finetune")
HANDLER_S = 1  # in which Python's own handler runs, unless the main thread is in a long call
AGREEING_S = 20  # in which several processes agree on a step to stop at, and save
ENDING_S = 10  # in which a process whose steps are saved ends by itself


class Stopped(KeyboardInterrupt):
    """A signal ended this early."""


class _State:
    """Of this process. Set in the main thread, read in the one that watches over it."""

    resumes = any(word.removeprefix("-m") in RESUMABLE for word in sys.orig_argv)
    asked = 0  # the first signal
    deferred = False
    unsaved = False


_leftovers: set[pathlib.Path] = set()


def end_commands_at_once() -> None:
    """Called by the first import of a command: `python -m` has not come to its module then."""
    if sys.argv[:1] == ["-m"]:
        _install()


def install() -> None:
    """Handles both signals for the rest of this process, whatever its main thread is doing then.

    Python's handlers wait for the main thread, which may be compiling for minutes or reading from a
    disk that does not answer: a thread of their own hears of the signal meanwhile.
    """
    _install()
    hears, tells = os.pipe()
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(hears,), name="signals", daemon=True).start()


def set_resumable(resumes: bool = True) -> None:
    """Says whether the same command continues what this process does."""
    _State.resumes = resumes


def defer() -> None:
    """From now on signals are only noted: one of several processes does not stop by itself."""
    _State.deferred = True


def note(number: int) -> None:
    """Tells of a signal that a handler of somebody else took."""
    _State.asked = _State.asked or number


def deferred() -> bool:
    """Whether a signal came that was only noted."""
    return _State.deferred and bool(_State.asked)


def set_unsaved(unsaved: bool) -> None:
    """Says whether steps were taken that no checkpoint holds yet."""
    _State.unsaved = unsaved


def status(number: int) -> int:
    """With which this process ends when a signal stops it: 0 if the same command loses nothing."""
    return 0 if _State.resumes and not _State.unsaved else 128 + number


def stopped_early() -> bool:
    """Whether a signal came that ends this process with status 0."""
    return bool(_State.asked) and status(_State.asked) == 0


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """A signal within the block is an exception, for a command that has others to end first.

    Raises:
      Stopped: there was one.
    """

    def handler(number: int, frame) -> None:
        first = not _State.asked
        note(number)
        if first or number == signal.SIGINT:
            raise Stopped

    before = {number: signal.signal(number, handler) for number in NAMES}
    set_unsaved(True)
    try:
        yield
    finally:
        set_unsaved(False)
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def removed_if_stopped(path: pathlib.Path) -> Iterator[None]:
    """A signal that ends the process within the block takes this file or folder away."""
    _leftovers.add(path)
    try:
        yield
    finally:
        _leftovers.discard(path)


def _install() -> None:
    for number in NAMES:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame) -> None:
    first = not _State.asked
    note(number)
    # Schedulers send several SIGTERM; who presses Ctrl-C twice does not want to wait.
    if not _State.deferred or (number == signal.SIGINT and not first):
        _leave(number)


def _watch(pipe: int) -> None:
    while (number := os.read(pipe, 1)[0]) not in NAMES:
        pass
    time.sleep(AGREEING_S if _State.deferred else HANDLER_S)
    if _State.unsaved:
        time.sleep(AGREEING_S)
        if _State.unsaved:
            _say("stopping as soon as the step in progress ends and is saved")
        while _State.unsaved:
            time.sleep(0.1)
        time.sleep(ENDING_S)
    _leave(number)


def _leave(number: int) -> None:
    """Ends the process here: the main thread might not get to it, or meet what it does not know."""
    if not _State.resumes:
        then = "before the end: run the same command again"
    elif _State.unsaved:
        then = "without saving: the same command continues from the last checkpoint"
    else:
        then = "with nothing left to save: run the same command to continue"
    _say(f"stopped by {NAMES[number]}, {then}")
    for path in list(_leftovers):
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()
    # A handler may come between a write and its flush, and what reads the output may be gone.
    with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
        sys.stdout.flush()
    os._exit(status(number))


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{sentence}\n".encode())
