"""How fast and in how much memory a data set is built, beside a bare decode of the same files.

    python -m data_prep.bench --files=2000,10000

Draws a phantom archive of each size, four in ten files compressed, decodes every image with
pydicom and nothing else, then builds the data set, each in a process of its own on one core. Times
are CPU seconds, which other work on the machine does not lengthen; starting Python is left out.
"""

import functools
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import pydicom
from absl import flags

from data_prep import cli
from data_prep.build import build
from data_prep.images import decoder
from data_prep.process.progress import Progress

FILES_A_PATIENT = 23


def bare_decode(images_dir: pathlib.Path) -> int:
    """Decodes every image of a folder; returns how many there were."""
    paths = sorted(images_dir.rglob("*.ima"))
    for path in paths:
        _ = pydicom.dcmread(path).pixel_array
    return len(paths)


def full_build(images_dir: pathlib.Path) -> int:
    """Builds the data set of a phantom cohort; returns how many records it has."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = build(
            images_dir,
            images_dir / "Radiologists Report.xlsx",
            pathlib.Path(folder) / "set",
            source="phantom",
            findings_file=images_dir / "report_findings.jsonl",
            shard_records=256,
        )
    decoder.close_all()
    return sum(shard["records"] for shard in manifest["shards"]) if manifest else 0


TASKS = {"bare decode": bare_decode, "build": full_build}


def _measure(task: str, images_dir: pathlib.Path) -> tuple[int, float, float, float]:
    """Runs a task in a process of its own; returns (items, CPU s, wall s, MB of memory)."""
    output = subprocess.run(
        [sys.executable, "-m", "data_prep.bench", f"--task={task}", f"--images={images_dir}"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    items, cpu_s, wall_s, memory_mb = output.split()[-4:]
    return int(items), float(cpu_s), float(wall_s), float(memory_mb)


def _advance(progress: Progress, done: int, total: int) -> None:
    progress.advance()


def _run_task(task: str, images_dir: pathlib.Path) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    start, start_s = time.process_time(), time.monotonic()
    items = TASKS[task](images_dir)
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cpu_s = time.process_time() - start + children.ru_utime + children.ru_stime
    memory_mb = max(own.ru_maxrss, children.ru_maxrss) / 2**10
    print(items, cpu_s, time.monotonic() - start_s, memory_mb)


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    if options.task:
        _run_task(options.task, pathlib.Path(options.images))
        return
    # Imported here, after the flags are read: --help should not wait for SciPy.
    from data_prep.phantom.generate import generate

    print(
        f"{'files':>7} {'records':>8}  {'bare decode':>12} {'build':>12} {'ratio':>6} {'memory':>9}"
    )
    for files in map(int, options.files):
        with tempfile.TemporaryDirectory() as folder:
            images_dir = pathlib.Path(folder) / "cohort"
            patients = max(10, round(files / FILES_A_PATIENT))
            progress = Progress("drawing patients", patients)
            generate(
                images_dir,
                patients,
                seed=0,
                workers=options.workers,
                progress=functools.partial(_advance, progress),
            )
            progress.close()
            found, bare_s, _, _ = _measure("bare decode", images_dir)
            records, build_s, _, memory_mb = _measure("build", images_dir)
        print(
            f"{found:7d} {records:8d}  {bare_s:10.1f} s {build_s:10.1f} s "
            f"{build_s / bare_s:6.2f} {memory_mb:6.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    flags.DEFINE_list("files", ["2000"], "sizes of the archives, in files")
    flags.DEFINE_integer("workers", os.cpu_count(), "processes that draw the phantom")
    flags.DEFINE_enum("task", None, list(TASKS), "measure one task in this process, on --images")
    flags.DEFINE_string("images", None, "archive to measure --task on")
    cli.run(main)
