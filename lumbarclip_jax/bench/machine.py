"""What a measurement ran on, the command that makes it again, and the two files it leaves."""

import datetime
import json
import logging
import os
import pathlib
import platform
import shlex
import sys


def describe() -> dict[str, str | int | float]:
    """Processor, cores of this process, load average and date: call it before measuring."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
    }


def sentence(machine: dict) -> str:
    """Of a page: what `describe` returned."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, load average "
        f"{machine['load_average']:.1f} before measuring, {machine['date']}"
    )


def command(module: str) -> str:
    """The command line of this process, started with `python -m`."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def write(out: pathlib.Path, row: dict, page: str, log: logging.Logger) -> None:
    """Writes out.json with the row and out.md with its page, and shows the page.

    Raises:
      OSError: they cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(row, indent=1) + "\n")
    out.with_suffix(".md").write_text(page)
    for line in page.splitlines():
        log.info("%s", line)


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
