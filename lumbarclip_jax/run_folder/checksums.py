"""SHA-256 of the files of an exported folder or a checkpoint, in the format of `sha256sum`."""

import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from data_prep.process.files import write_whole

FILE = "SHA256SUMS"


def write(folder: pathlib.Path, *, but: tuple[str, ...] = ()) -> None:
    """Lists every file under the folder in its `SHA256SUMS`, except those named in `but`."""
    skipped = {FILE, *but}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in skipped)
    names = [path.relative_to(folder).as_posix() for path in paths]
    write_list(folder / FILE, digests(folder, names))


def digests(folder: pathlib.Path, names: Sequence[str]) -> dict[str, str]:
    """The digests of these files of a folder, by name."""
    return {name: _sha256(folder / name) for name in names}


def write_list(path: pathlib.Path, digests: Mapping[str, str]) -> None:
    """Writes a list that `read` reads; whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    write_whole(path, "".join(f"{of}  {name}\n" for name, of in digests.items()).encode())


def read(path: pathlib.Path) -> dict[str, str]:
    """The digests of a list, by name.

    Raises:
      FileNotFoundError: there is no list.
      ValueError: it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    rows = [row for line in lines if (row := re.fullmatch(r"([0-9a-f]{64})  (.+)", line))]
    if not rows or len(rows) < len(lines):
        raise ValueError(f"{path} is damaged")
    return {row[2]: row[1] for row in rows}


def changed(folder: pathlib.Path, digests: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The name of every listed file that is another one now and its digest, "" of a missing one.

    Raises:
      OSError: a file cannot be read.
    """
    for name, digest in digests.items():
        actual = _sha256(folder / name) if (folder / name).is_file() else ""
        if actual != digest:
            yield name, actual


def verify(folder: pathlib.Path, *, required: tuple[str, ...]) -> None:
    """Checks every listed file of an exported folder.

    Raises:
      FileNotFoundError: the list or a file of it is missing.
      ValueError: a file is not the one that was exported, or a required one is not listed.
    """
    try:
        listed = read(folder / FILE)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}: copy the whole exported folder again") from None
    for name in required:
        if name not in listed:
            raise ValueError(
                f"{folder / FILE} does not list {name}: copy the whole exported folder again"
            )
    for name, actual in changed(folder, listed):
        if not actual:
            raise FileNotFoundError(f"{folder / name} is missing: copy the whole exported folder")
        raise ValueError(
            f"{folder / name} is not the file that was exported (its sha256 is {actual}, "
            f"{FILE} says {listed[name]}): copy it again"
        )


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
