"""Stops, kills and starves training runs at random moments and says what became of them.

    python tests/disturb_runs.py --signals=100 --kills=100 --readers=10 --peers=10 --seed=0

A tiny run is disturbed from its first import to its report, and started again until it has ended:
its rows, metrics, answers and weights must be those of a run that nobody disturbed. Prints a
summary as JSON; the exit status is 1 when something was not as it should be. On two cores a
disturbance costs about 20 s.
"""

import argparse
import collections
import contextlib
import functools
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from lumbarclip_jax.run_folder import metric_writer
from lumbarclip_jax.run_folder.run import load_run
from tests import data_prep_cohort as cohort
from tests.test_distributed import run_two

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
STOPPING_S, FROZEN_S, RUN_S = 30, 60, 600
# What a run says as a phase begins: start, compilation, training, evaluation, the page.
PHASES = ("", "M parameters", "the first step took", "step 18/", "numbers in all")
PHASE_S = 3  # about how long one takes
# Not the clock's.
TIMED = ("pairs_per_s",)


class Disturbances:
    """Counts what becomes of the runs in a folder."""

    def __init__(self, folder: pathlib.Path, seed: int):
        self.folder, self.rng = folder, random.Random(seed)
        self.dataset = cohort.tiny_set(folder)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.slowest_s = 0.0
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
        for name in ("undisturbed", "again"):
            self.finish(name)
        self.expected = _content(folder / "undisturbed")
        self.compare("again")

    def stop_or_kill(self, numbers: list[int]) -> None:
        """Sends each of these once, in one start of a run, which goes on until it ends."""
        runs, left = 0, list(numbers)
        while left:
            run = f"run{runs}"
            log = self.log(run)
            log.touch()
            before = log.stat().st_size
            process = self.start(run)
            _wait_for_handlers(process)
            # Of a run that is past a phase, the signal comes in a later one or not at all.
            begins = functools.partial(_says, log, self.rng.choice(PHASES), before)
            _wait_for(begins, process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0, PHASE_S))
            if process.poll() is None:
                self._send(process, left.pop(), run)
            if process.returncode == 0 and (self.folder / run / "report.html").is_file():
                # Stopped while it drew the page, it has one of an earlier time or none.
                self.finish(run)
                self.compare(run)
                runs += 1
        self.finish(f"run{runs}")
        self.compare(f"run{runs}")

    def starve(self, count: int) -> None:
        """Kills and freezes processes that make batches."""
        for number in range(count):
            run, how = f"readers{number}", (signal.SIGKILL, signal.SIGSTOP)[number % 2]
            process = self.start(
                run, "--config.data.read_processes=2", "--config.total_steps=100000"
            )
            _wait_for(functools.partial(_says, self.log(run), "step 5/"), process)
            readers = _children(process.pid)
            os.kill(self.rng.choice(readers), how)
            started = time.monotonic()
            try:
                process.wait(2 * FROZEN_S)
            except subprocess.TimeoutExpired:
                process.kill()
            seconds = time.monotonic() - started
            # Python itself may warn of what a process that was killed had in use.
            said = re.findall(r"^error: .*batches.*", self.log(run).read_text(), re.MULTILINE)
            ok = process.wait() == 2 and seconds < FROZEN_S and len(said) == 1
            self.note(f"reader, {how.name}", ok, f"{run}: {process.returncode}, {said}")

    def bereave(self, count: int) -> None:
        """Kills and freezes one of two processes that train together."""
        for number in range(count):
            how = (signal.SIGKILL, signal.SIGSTOP)[number // 2 % 2]
            lost, folder = number % 2, self.folder / f"peers{number}"
            folder.mkdir()
            step = self.rng.randrange(1, 20)
            options = {"signalled": lost, "number": how, "step": step}
            left = run_two(folder, self.dataset, "--peer_timeout_s=10", **options)[1 - lost]
            ok = left.status == 1 and "another process of this run has gone" in left.stderr
            said = left.stderr.splitlines()[-1:]
            self.note(f"peer {lost}, {how.name}", ok, f"step {step}: {left.status}, {said}")

    def _send(self, process: subprocess.Popen, number: int, run: str) -> None:
        log, name = self.log(run), signal.Signals(number).name
        before = len(log.read_text())
        process.send_signal(number)
        started = time.monotonic()
        try:
            process.wait(RUN_S)
        except subprocess.TimeoutExpired:
            process.kill()
        seconds = time.monotonic() - started
        self.slowest_s = max(self.slowest_s, seconds)
        expected = -number if number == signal.SIGKILL else 0
        ok = process.wait() == expected and seconds < STOPPING_S
        ok = ok and "Traceback" not in log.read_text()
        lines = log.read_text()[:before].splitlines() or [""]
        phase = re.sub(r"^[\d:]+ |\d+|/.*", "", lines[-1])[:30]
        self.note(f"{name} after {phase!r}", ok, f"{name} in {run}: {process.returncode}")

    def summary(self) -> str:
        """What became of all, as JSON."""
        return json.dumps(
            {
                "outcomes": dict(self.outcomes.most_common()),
                "slowest_s": round(self.slowest_s, 1),
                "faults": self.faults,
            },
            indent=1,
        )

    def note(self, name: str, ok: bool, detail: str) -> None:
        """Counts an outcome, and what is wrong with it."""
        self.outcomes[name] += 1
        if not ok:
            self.faults.append(detail)

    def log(self, run: str) -> pathlib.Path:
        """What a run says."""
        return self.folder / f"{run}.log"

    def start(self, run: str, *more: str) -> subprocess.Popen:
        """Starts a run, or goes on with it."""
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "xla"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTHONUNBUFFERED": "1",
        }
        with self.log(run).open("a") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "lumbarclip_jax.main"),
                    *("--config=tests/distributed_config.py", "--config.eval.every_steps=6"),
                    f"--config.data.dir={self.dataset}",
                    f"--workdir={self.folder / run}",
                    *more,
                ],
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def finish(self, run: str) -> None:
        """Lets a run go on to its end."""
        process = self.start(run)
        try:
            process.wait(RUN_S)
        finally:
            process.kill()
        if process.returncode:
            self.faults.append(f"{run} ended with {process.returncode} though nobody disturbed it")

    def compare(self, run: str) -> None:
        """Holds an ended run against the one that nobody disturbed."""
        found = _content(self.folder / run)
        differing = [what for what in self.expected if not _equal(self.expected[what], found[what])]
        self.outcomes["runs compared"] += 1
        if differing:
            self.faults.append(f"{run} differs in {', '.join(differing)}")


def _content(run: pathlib.Path) -> dict[str, object]:
    rows = metric_writer.read_history(run)
    with np.load(run / "predictions.npz") as answers:
        predictions = dict(answers)
    params = jax.tree.map(np.asarray, load_run(run).state.params)
    return {
        "rows": [{k: v for k, v in row.items() if k not in TIMED} for row in rows],
        "metrics": (run / "metrics.json").read_text(),
        "predictions": predictions,
        "weights": params,
    }


def _equal(a, b) -> bool:
    try:
        np.testing.assert_equal(a, b)
    except AssertionError:
        return False
    return True


def _wait_for_handlers(process: subprocess.Popen) -> None:
    """Until Python itself has started and come to the package."""

    def caught() -> bool:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        mask = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
        return bool(mask >> (signal.SIGTERM - 1) & 1)

    _wait_for(caught, process)


def _says(log: pathlib.Path, words: str, start: int = 0) -> bool:
    return words in log.read_text()[start:]


def _wait_for(condition, process: subprocess.Popen) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"spawn_main" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("signals", "kills", "readers", "peers"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Disturbances(pathlib.Path(folder), options.seed)
        both = [signal.SIGTERM, signal.SIGINT]
        numbers = [both[n % 2] for n in range(options.signals)] + [signal.SIGKILL] * options.kills
        runs.rng.shuffle(numbers)
        if numbers:
            runs.stop_or_kill(numbers)
        runs.starve(options.readers)
        runs.bereave(options.peers)
    print(runs.summary())
    return int(bool(runs.faults))


if __name__ == "__main__":
    sys.exit(main())
