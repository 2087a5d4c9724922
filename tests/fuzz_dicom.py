"""Feeds damaged DICOM files to the readers of data_prep and says what became of each.

    python tests/fuzz_dicom.py --mutants=50000 --seed=0

Headers are read in this process, which is limited like a worker, so a crash ends the command;
pixels are decoded as in a build. After every few mutants comes a valid file, whose pixels must be
right. Prints a summary as JSON; the exit status is 1 when a limit was broken.
"""

import argparse
import collections
import json
import logging
import pathlib
import re
import resource
import sys
import tempfile
import time
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pydicom

from data_prep.images import decoder, pixels
from data_prep.images.dicom import Rejected
from data_prep.images.headers import read_headers
from data_prep.images.pixels import Rendering
from data_prep.records.drops import Reason
from tests.dicom_mutants import SIDE_PX, SYNTAXES, Mutator

BATCH = 16
FILE_LIMIT_S, LIMIT_BYTES = 10.0, 1_500_000_000
# A decoder that was ended is started anew within the time of the file that ended it.
STARTING_S = 5.0


class Fuzz:
    """Counts what becomes of the mutants."""

    def __init__(self, seed: int, folder: pathlib.Path):
        self.mutate = Mutator(seed)
        self.folder = folder
        self.rendering = Rendering(size_px=SIDE_PX)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.classes: collections.Counter[str] = collections.Counter()
        self.unexplained: list[str] = []
        self.slowest = (0.0, "")
        self.lost_siblings = 0
        self.valid = []
        for syntax, content in self.mutate.valid.items():
            path = folder / f"valid {syntax.name}"
            path.write_bytes(content)
            self.valid.append((path, pixels.render(path, self.rendering)))

    def batch(self, number: int, size: int) -> None:
        """Some mutants and one valid file."""
        names, places = [], []
        for index in range(size):
            name, syntax, content = self.mutate()
            path = self.folder / str(index)
            path.write_bytes(content)
            names.append(f"{name}, {syntax.name}")
            places.append(decoder.Place(path))
            self.classes[name] += 1
            self._header(path, names[-1])
        valid, expected = self.valid[number % len(self.valid)]
        started = time.monotonic()
        with decoder.borrowed() as process:
            answers = process.render([*places, decoder.Place(valid)], self.rendering)
            for name, answer in zip([*names, "valid"], answers, strict=True):
                self.slowest = max(self.slowest, (time.monotonic() - started, f"pixels, {name}"))
                started = time.monotonic()
                if name == "valid":
                    self.lost_siblings += not np.array_equal(answer, expected)
                else:
                    self._count("pixels", name, answer)

    def _header(self, path: pathlib.Path, name: str) -> None:
        started = time.monotonic()
        try:
            read_headers(path)
            self.outcomes["header: read"] += 1
        except Rejected as rejected:
            self._count("header", name, rejected)
        except BaseException as error:
            self.unexplained.append(f"header, {name}: {type(error).__name__}")
        self.slowest = max(self.slowest, (time.monotonic() - started, f"header, {name}"))

    def _count(self, what: str, name: str, answer: np.ndarray | Rejected) -> None:
        if not isinstance(answer, Rejected):
            self.outcomes[f"{what}: decoded"] += 1
            return
        self.outcomes[f"{what}: {answer.reason}"] += 1
        if not isinstance(answer.reason, Reason):
            self.unexplained.append(f"{what}, {name}: {answer.reason!r}")
        if answer.reason in (Reason.DECODER_CRASHED, Reason.DECODER_TIMEOUT, Reason.DECODER_MEMORY):
            self.outcomes[f"accident: {answer.reason} {answer.detail}, {name}"] += 1


def fuzz(mutants: int, seed: int) -> dict:
    """The summary of a run."""
    warnings.simplefilter("ignore")
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = Fuzz(seed, pathlib.Path(folder))
        for number, first in enumerate(range(0, mutants, BATCH)):
            run.batch(number, min(BATCH, mutants - first))
    decoder.close_all()
    peak_bytes = max(
        _own_peak_bytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    )
    summary = {
        "mutants": mutants,
        "syntaxes": len(SYNTAXES),
        "classes": dict(run.classes.most_common()),
        "outcomes": dict(run.outcomes.most_common()),
        "unexplained": run.unexplained[:20],
        "lost_siblings": run.lost_siblings,
        "slowest_s": round(run.slowest[0], 2),
        "slowest": run.slowest[1],
        "peak_bytes": peak_bytes,
        "took_s": round(time.monotonic() - started, 1),
    }
    broken = run.unexplained or run.lost_siblings or peak_bytes > LIMIT_BYTES
    summary["passed"] = not broken and run.slowest[0] < FILE_LIMIT_S + STARTING_S
    return summary


def _own_peak_bytes() -> int:
    """Not from getrusage, whose figure starts at the peak of the process that started this one."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable()
    result = fuzz(options.mutants, options.seed)
    print(json.dumps(result, indent=1))
    sys.exit(not result["passed"])
