"""Files that are there whole or not at all, and errors that say which file it was."""

import contextlib
import errno
import os
import pathlib
import socket
from collections.abc import Iterator

# The libraries that write data sets and checkpoints give no number.
FULL = (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def write_whole(path: pathlib.Path, content: bytes, *, private: bool = False) -> None:
    """Writes a file under a name of its own, flushes it to disk, and gives it its name.

    A `private` one can be read by its owner alone, at any time.

    Raises:
      OSError: it cannot be written; the sentence names it.
    """
    partial = own_name(path)
    with disk_errors_name(path, size_bytes=len(content)):
        try:
            mode = 0o600 if private else 0o666
            with open(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def own_name(path: pathlib.Path) -> pathlib.Path:
    """A name beside `path` that no other process uses, on this computer or another."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")


@contextlib.contextmanager
def disk_errors_name(path: pathlib.Path, *, size_bytes: int | None = None) -> Iterator[None]:
    """Turns what a full or failing disk raises into one sentence about `path`.

    Args:
      path: what is being written.
      size_bytes: its size, where that is known.

    Raises:
      OSError: the sentence.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # ArrayRecord raises the latter two
        cause = getattr(error, "strerror", None) or str(error).split("\n")[0]
        size = "" if size_bytes is None else f"{size_bytes:,} bytes, "
        if getattr(error, "errno", None) in FULL:
            remedy = "make room on that disk and run the command again, it continues"
        else:
            remedy = "choose a place that can be written, or correct its permissions"
        raise OSError(f"{path} cannot be written ({size}{cause}): {remedy}") from error
