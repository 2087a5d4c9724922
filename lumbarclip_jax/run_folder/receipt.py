"""What a finished run left, by sha256: a file counts because it is that file, not for being there.

`results.sha256` is in the format of `sha256sum`, and written last. Runs of earlier versions have
none. It leaves out `figures/`, which is drawn from these files and may be drawn again.
"""

import pathlib

from lumbarclip_jax.run_folder import checksums

FILE = "results.sha256"


def write(folder: pathlib.Path, names: tuple[str, ...]) -> None:
    """Lists these files of a run.

    Raises:
      OSError: the list cannot be written.
    """
    checksums.write_list(folder / FILE, checksums.digests(folder, names))


def renew(folder: pathlib.Path, name: str) -> None:
    """Lists the one file anew, where the run has a list."""
    if (folder / FILE).is_file():
        listed = checksums.read(folder / FILE)
        checksums.write_list(folder / FILE, listed | checksums.digests(folder, (name,)))


def fault(folder: pathlib.Path) -> str:
    """The first listed file that is another than the run left, in words; "" where all are whole."""
    if not (folder / FILE).is_file():
        return ""
    try:
        changed = next(checksums.changed(folder, checksums.read(folder / FILE)), None)
    except (OSError, ValueError) as error:
        return str(error)
    return f"{folder / changed[0]} is not the file that the run left" if changed else ""
