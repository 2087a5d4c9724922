"""Peak resident memory of this process, from a moment on (Linux; elsewhere from its start)."""

import contextlib
import pathlib
import resource
import sys

PROCESS = pathlib.Path("/proc/self")


def reset_peak() -> None:
    """Forgets the peak so far: what counts is a training step, not how the weights were read."""
    with contextlib.suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most that was resident at any time since `reset_peak`."""
    with contextlib.suppress(OSError):
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
