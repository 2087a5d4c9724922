"""A decoding process in which a file's first word tells how it fails; for the tests of decoder."""

import ctypes
import os
import pathlib
import signal
import sys
import time

import numpy as np

from data_prep.images import decoder, pixels


def render(path: pathlib.Path, rendering, frame: int, **_) -> np.ndarray:
    """Fails as the file says, else gives a picture as bright as the file is long."""
    words = path.read_text().split()
    if "crash" in words:
        ctypes.string_at(0)
    if "abort" in words:
        os.abort()
    if "exit" in words:
        os._exit(7)
    if "hang" in words:
        time.sleep(3600)
    if "memory" in words:
        np.ones(10**9, np.float32)
    if "print" in words:
        os.write(1, b"noise of a library\n")
        print("more noise", file=sys.stdout, flush=True)
    if "panic" in words:
        raise SystemExit("a panic that is no Exception")
    if "killed" in words and not path.with_suffix(".once").exists():
        path.with_suffix(".once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "deadly" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.full((rendering.size_px, rendering.size_px, 1), len(words), np.uint8)


if __name__ == "__main__":
    pixels.render = render
    decoder.TIMEOUT_S = 2.0
    decoder.serve()
