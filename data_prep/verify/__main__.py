"""Checks a data set: is it whole, is it what its manifest says, does anything leak between splits.

    python -m data_prep.verify DIR

Reads every byte. Prints one line a fault, by shard and record number, and exits with 1; without a
fault it prints what was checked and exits with 0. Nothing that it prints is of the source.
"""

import pathlib
import sys

from absl import flags

from data_prep import cli
from data_prep.verify import verify


def main() -> None:
    """Runs the command."""
    faults, summary = verify(pathlib.Path(flags.FLAGS.data))
    print(f"{flags.FLAGS.data}: {summary}")
    for fault in faults:
        print(fault)
    if faults:
        print(f"{len(faults)} faults")
        sys.exit(1)
    print("no fault: files, records, counts and vocabulary agree, and nothing leaks between splits")


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "folder of the data set, which may also be given plainly")
    cli.run(main, plain="data")
