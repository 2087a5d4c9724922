"""Image files rendered in a process of their own: a file that breaks it costs itself alone.

A decoder is C code that meets files from anywhere. One that crashes, hangs or asks for gigabytes
ends its process; the file it was at is left out with a reason, and the next one gets a new process.

``python -m data_prep.images.decoder`` is that process. It answers each line of JSON on its standard
input, a `Place` followed by a `Rendering`, with a line of JSON that is followed by the pixels if it
says so.
"""

import atexit
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, cast

import numpy as np

from data_prep.images import pixels
from data_prep.images.dicom import Rejected
from data_prep.images.pixels import Rendering
from data_prep.records.drops import Reason

TIMEOUT_S = 10.0
MEMORY_BYTES = 1_500_000_000
READY = b"ready\n"


class Place(NamedTuple):
    """Where an image is: a file, and what `pixels.render` needs beside it."""

    path: pathlib.Path
    frame: int = 0
    view: str = "sagittal"
    picture_mm: float = 0.0


class Decoder:
    """A decoding process, started anew whenever a file has ended it.

    Raises:
      OSError: the process cannot be started.
    """

    command = (sys.executable, "-m", "data_prep.images.decoder")

    def __init__(self):
        self._start()

    def render(
        self, places: Sequence[Place], rendering: Rendering
    ) -> Iterator[np.ndarray | Rejected]:
        """Yields for each place, in order, its pixels (uint8 [S, S, 1]) or why it has none."""
        waiting = collections.deque(places)
        asked: collections.deque[Place] = collections.deque()
        killed = False
        while waiting or asked:
            # The next file is asked for before this one is fetched: no process waits for another.
            while waiting and len(asked) < 2:
                asked.append(waiting.popleft())
                self._ask(asked[-1], rendering)
            try:
                yield self._answer(rendering.size_px)
            except EOFError:
                accident = self._accident()
                waiting.extendleft(reversed(asked))
                asked.clear()
                self._start()
                # SIGKILL comes from outside, so a file is blamed for the second one only.
                if accident or killed:
                    waiting.popleft()
                    yield accident or Rejected(Reason.DECODER_CRASHED, "SIGKILL")
                killed = not (accident or killed)
            else:
                asked.popleft()
                killed = False

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path),
            # Their stacks would count as memory, and there is nothing for them to do.
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What a decoder has to say may quote the file.
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        # Pipes, as asked for.
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        if self._stdout.readline() != READY:
            self.close()
            raise OSError(
                "the decoding process does not start: run "
                "`python -m data_prep.images.decoder` to see why"
            )

    def _ask(self, place: Place, rendering: Rendering) -> None:
        line = json.dumps([os.fspath(place.path), *place[1:], dataclasses.asdict(rendering)])
        # A process that has ended is noticed where its answer is missing.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()

    def _answer(self, size_px: int) -> np.ndarray | Rejected:
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        reason, detail = json.loads(line)
        if reason:
            return Rejected(Reason(reason), detail)
        data = self._stdout.read(size_px * size_px)
        if len(data) < size_px * size_px:
            raise EOFError
        return np.frombuffer(data, np.uint8).reshape(size_px, size_px, 1)

    def _accident(self) -> Rejected | None:
        """What ended the process, or None if somebody else did."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return None
        if status == -signal.SIGALRM:
            return Rejected(Reason.DECODER_TIMEOUT)
        ended = signal.Signals(-status).name if status < 0 else f"status {status}"
        return Rejected(Reason.DECODER_CRASHED, ended)


_idle: list[Decoder] = []


@contextlib.contextmanager
def borrowed() -> Iterator[Decoder]:
    """Lends a decoder that nobody else uses; it is kept for the next shard, as starting one costs
    half a second."""
    try:
        decoder = _idle.pop()
    except IndexError:
        decoder = Decoder()
    try:
        yield decoder
    except BaseException:
        decoder.close()  # answers may be on their way
        raise
    _idle.append(decoder)


@atexit.register
def close_all() -> None:
    """Ends the decoders that wait for work."""
    while _idle:
        _idle.pop().close()


def serve() -> None:
    """Answers requests until the standard input ends."""
    # The other end decides when to stop, and tells it by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Left to the kernel, the alarm ends the process even where C code never returns.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # Of RLIMIT_AS, reserved and unused addresses would take most.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # A decoder that prints must not print into the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answers.write(READY)
    answers.flush()
    for line in sys.stdin.buffer:
        path, *place, rendering = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S)
        place = Place(pathlib.Path(path), *place)
        image, reason, detail = _outcome(place, Rendering(**rendering))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps([reason, detail]).encode() + b"\n")
        if image is not None:
            answers.write(np.ascontiguousarray(image).data)
        answers.flush()


def _outcome(place: Place, rendering: Rendering) -> tuple[np.ndarray | None, str, str]:
    """(pixels, "", "") or (None, reason, detail)."""
    try:
        path, frame, view, picture_mm = place
        image = pixels.render(path, rendering, frame, view=view, picture_mm=picture_mm)
        return image, "", ""
    except Rejected as rejected:
        if rejected.detail != MemoryError.__name__:
            return None, rejected.reason, rejected.detail
    except MemoryError:
        pass
    except BaseException as error:  # a panic of a Rust decoder is no Exception
        return None, Reason.DECODER_CRASHED, type(error).__name__
    return None, Reason.DECODER_MEMORY, ""


if __name__ == "__main__":
    serve()
