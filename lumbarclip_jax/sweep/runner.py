"""Trains the planned runs, each in a process of its own, and remembers what became of them.

A process of its own gives all its memory back when it ends, and takes no other run down with it.
"""

import collections
import dataclasses
import fcntl
import json
import logging
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax.data import content, manifest
from lumbarclip_jax.run_folder import config_changes
from lumbarclip_jax.run_folder import run as runs_lib
from lumbarclip_jax.run_folder.files import DATA_MANIFEST_FILE
from lumbarclip_jax.sweep.plan import PlannedRun

log = logging.getLogger(__name__)

TRAIN = (sys.executable, "-m", "lumbarclip_jax.main")
ASKED_FILE = "sweep_run.json"
LOG_FILE = "log.txt"


def is_complete(run: PlannedRun) -> bool:
    """Whether it was trained and measured to the end."""
    return runs_lib.is_complete(run.folder)


def check_earlier(runs: Sequence[PlannedRun]) -> None:
    """Raises ValueError for a folder with a run of another config, or a complete one on other data.

    What is not complete says so itself when it goes on.
    """
    for run in runs:
        asked, kept = run.folder / ASKED_FILE, run.folder / DATA_MANIFEST_FILE
        before = _read_json(asked) if asked.is_file() else run.config
        if changes := config_changes.changes(before, run.config):
            raise ValueError(
                f"{run.folder} was trained with {changes[0]}: choose another --out, or remove this "
                "folder"
            )
        if run.config["data"].get("dir") and is_complete(run) and kept.is_file():
            now = manifest.read(pathlib.Path(run.config["data"]["dir"]))
            if difference := content.difference(_read_json(kept), now):
                raise ValueError(
                    f"{run.folder} was trained on another data set ({difference}): choose another "
                    "--out, or remove this folder"
                )


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: remove it and run the sweep again") from error


@dataclasses.dataclass
class _Started:
    run: PlannedRun
    process: subprocess.Popen
    since: float


def train(runs: Sequence[PlannedRun], jobs: int) -> dict[str, str]:
    """Trains what is not complete, `jobs` at a time; a run that fails does not stop the others.

    An interrupted run continues from its last checkpoint. KeyboardInterrupt asks the runs in
    progress to save and stop, waits for them, and is raised again.

    Returns:
      Name to reason of the runs that failed.
    """
    check_earlier(runs)
    waiting = collections.deque(run for run in runs if not is_complete(run))
    log.info("%d runs, %d of them complete", len(runs), len(runs) - len(waiting))
    progress = _Progress(len(waiting), jobs)
    started: list[_Started] = []
    failures: dict[str, str] = {}
    try:
        while waiting or started:
            while waiting and len(started) < jobs:
                run = waiting.popleft()
                process = _start(run)
                if process is None:
                    failures[run.name] = "another process is training it: wait for that one"
                    progress.ended(run, None, failures[run.name])
                    continue
                log.info("%s: started, see %s", run.name, run.folder / LOG_FILE)
                started.append(_Started(run, process, time.monotonic()))
            time.sleep(0.1)
            for job in [job for job in started if job.process.poll() is not None]:
                started.remove(job)
                if job.process.returncode or not is_complete(job.run):
                    failures[job.run.name] = _reason(job)
                seconds = time.monotonic() - job.since
                progress.ended(job.run, seconds, failures.get(job.run.name))
    except KeyboardInterrupt:
        for job in started:
            job.process.terminate()
        for job in started:
            job.process.wait()
        raise
    return failures


def _start(run: PlannedRun) -> subprocess.Popen | None:
    """Starts a run; None when it is being trained already."""
    with disk_errors_name(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    # The lock lives as long as a process has the file open: the run's own, even if the sweep that
    # started it is killed. Two processes must not train in one folder.
    with (run.folder / LOG_FILE).open("a") as output:
        try:
            fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        write_whole(run.folder / ASKED_FILE, (json.dumps(run.config, indent=2) + "\n").encode())
        command = [*TRAIN, *run.arguments, f"--workdir={run.folder}"]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _reason(job: _Started) -> str:
    """What the log says last, preferably in the sentence of an error."""
    lines = (job.run.folder / LOG_FILE).read_text(errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines[-50:] if line.startswith("error: ")]
    last = (errors or lines or ["it said nothing"])[-1].removeprefix("error: ")
    return f"ended with status {job.process.returncode}: {last}"


class _Progress:
    """Says after every run how many are left and for how long, from what a run took so far."""

    def __init__(self, count: int, jobs: int):
        self._left, self._count, self._jobs = count, count, jobs
        self._seconds: list[float] = []

    def ended(self, run: PlannedRun, seconds: float | None, failure: str | None) -> None:
        self._left -= 1
        told = f"FAILED, {failure}"
        if failure is None and seconds is not None:
            self._seconds.append(seconds)
            told = f"done in {_clock(seconds)}"
        mean = sum(self._seconds) / max(1, len(self._seconds))
        left = f", about {_clock(mean * self._left / self._jobs)} left" if self._seconds else ""
        done = self._count - self._left
        log.info("%s: %s (%d of %d%s)", run.name, told, done, self._count, left)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
