"""SHA-256 of the files of an exported folder, in the format of `sha256sum`."""

import hashlib
import pathlib

FILE = "SHA256SUMS"


def write(folder: pathlib.Path, *, but: tuple[str, ...] = ()) -> None:
    """Lists every file under the folder in its `SHA256SUMS`, except those named in `but`."""
    skipped = {FILE, *but}
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in skipped)
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def verify(folder: pathlib.Path, *, required: tuple[str, ...]) -> None:
    """Checks every listed file of the folder.

    Raises:
      FileNotFoundError: the list or a file of it is missing.
      ValueError: a file is not the one that was exported, or a required one is not listed.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy the whole exported folder")
    digests = dict(reversed(line.split("  ", 1)) for line in path.read_text().splitlines())
    for name in required:
        if name not in digests:
            raise ValueError(f"{path} does not list {name}: copy the whole exported folder again")
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: copy the whole exported folder")
        if (actual := _sha256(folder / name)) != digest:
            raise ValueError(
                f"{folder / name} is not the file that was exported (its sha256 is {actual}, "
                f"{FILE} says {digest}): copy it again"
            )


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
