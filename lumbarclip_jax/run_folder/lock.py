"""One process trains in a folder: two would write one another's checkpoints and rows."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator

from data_prep.process.files import disk_errors_name

FILE = ".lock"


@contextlib.contextmanager
def held(workdir: pathlib.Path, flag: str = "--workdir") -> Iterator[None]:
    """Holds the lock of a folder; the kernel frees it when its holder ends, however.

    `flag` is that which names the folder.

    Raises:
      ValueError: another process trains there.
      OSError: the folder cannot be written.
    """
    path = workdir / FILE
    with disk_errors_name(path):
        workdir.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{workdir} is in use: {file.read().strip() or 'another process'} trains there; "
                f"wait for it, end it, or choose another {flag}"
            ) from None
        with disk_errors_name(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield
