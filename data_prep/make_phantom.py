"""Writes a lumbar phantom: a cohort of invented patients in the published DICOM layout.

    python -m data_prep.make_phantom --patients 300 --seed 0 --out DIR

What is modelled, and what is not, is told in `data_prep.phantom`.
"""

import sys
import time

from absl import flags

from data_prep import cli

_OUT = flags.DEFINE_string(
    "out", None, "Folder to write; it must not exist or be empty.", required=True
)
_PATIENTS = flags.DEFINE_integer("patients", 300, "Number of patients.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed: the same seed gives the same bytes.")
_DIFFICULTY = flags.DEFINE_float(
    "difficulty", 0.5, "0 to 1: noise, shading, motion, variation; lesions shrink as it grows."
)
_WORKERS = flags.DEFINE_integer("workers", 1, "Processes.")
_SLICES_PER_DISC = flags.DEFINE_integer("slices_per_disc", 3, "Axial slices through each disc.")


def main() -> None:
    # Imported here, after the flags are read: --help should not wait for SciPy.
    from data_prep.phantom.generate import generate

    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        end = "\n" if done == total else "\r" if sys.stderr.isatty() else ""
        if end or done % 50 == 0:
            seconds = time.monotonic() - start
            line = f"phantom: {done}/{total} patients, {seconds:.0f} s"
            print(line, end=end or "\n", file=sys.stderr, flush=True)

    out = generate(
        _OUT.value,
        _PATIENTS.value,
        _SEED.value,
        _DIFFICULTY.value,
        workers=_WORKERS.value,
        slices_per_disc=_SLICES_PER_DISC.value,
        progress=progress,
    )
    print(out)


if __name__ == "__main__":
    cli.run(main)
