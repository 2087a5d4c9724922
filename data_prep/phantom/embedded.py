"""The embedded data set: a lumbar phantom, built once into a cache folder."""

import contextlib
import fcntl
import hashlib
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import TextIO

from data_prep.build import build, commit
from data_prep.build.options import all_cores
from data_prep.phantom import tables
from data_prep.phantom.generate import generate
from data_prep.process.progress import Progress

LOCK_TIMEOUT_S = 1800.0
# A phantom has no identity to protect. A key known to all gives everyone the same ids, and with
# them the same order of records and the same training run.
PHANTOM_KEY = hashlib.sha256(b"lumbar phantom").hexdigest()


def ensure_phantom(
    cache_dir: pathlib.Path, *, patients: int, seed: int, difficulty: float
) -> pathlib.Path:
    """Returns the folder of a phantom data set, building it when the cache does not hold it.

    Studies are generated and read through the same DICOM path as a hospital's. The name of the
    folder holds the parameters and a hash of the code that makes it, so a changed generator never
    meets an old cache. Two processes may call this at once: one builds, the other waits for it.

    Args:
      cache_dir: created when absent.
      patients: number of phantom patients.
      seed: of the generator and of the splits.
      difficulty: of the generator.

    Raises:
      TimeoutError: another process has held the cache for half an hour.
      OSError: the cache cannot be written.
    """
    cache_dir = pathlib.Path(cache_dir).absolute()
    cache_dir.mkdir(parents=True, exist_ok=True)
    name = f"phantom-{patients}-seed{seed}-difficulty{difficulty:g}-{_code_version()}"
    folder = cache_dir / name
    if commit.read_manifest(folder) is not None:
        return folder
    with _lock(cache_dir / "phantom.lock"):
        if commit.read_manifest(folder) is None:
            _build(folder, patients=patients, seed=seed, difficulty=difficulty)
    return folder


def _build(folder: pathlib.Path, *, patients: int, seed: int, difficulty: float) -> None:
    print(f"building the embedded phantom of {patients} patients, once, in {folder}", flush=True)
    workers = all_cores()
    key_file = folder.with_name(folder.name + ".key")
    key_file.write_text(PHANTOM_KEY + "\n")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".phantom-studies-") as studies:
        studies = pathlib.Path(studies) / "cohort"
        progress = Progress("drawing patients", patients)
        generate(
            studies,
            patients=patients,
            seed=seed,
            difficulty=difficulty,
            workers=workers,
            progress=lambda *_: progress.advance(),
        )
        progress.close()
        build(
            studies,
            studies / tables.REPORTS,
            folder,
            source="phantom",
            grades_file=studies / tables.GRADES,
            findings_file=studies / tables.FINDINGS,
            seed=seed,
            key_file=key_file,
            workers=workers,
        )


def _code_version() -> str:
    """Eight hex digits that change with any line of the generator or of data_prep."""
    root = pathlib.Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """Holds an exclusive lock on a file; the kernel frees it when its holder ends, however."""
    with path.open("w") as file:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"another process has held {path} for {LOCK_TIMEOUT_S:.0f} s: end it, or set "
                    "LUMBARCLIP_CACHE to another folder"
                )
            time.sleep(0.2)
        # What a killed build left behind: nobody else is building now.
        for leftover in path.parent.glob(".phantom-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
