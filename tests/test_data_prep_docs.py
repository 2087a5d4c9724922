"""The README of data_prep names every option and every reason."""

import pathlib
import subprocess
import sys

from data_prep.records.drops import Reason

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
README = (REPOSITORY / "data_prep" / "README.md").read_text()


def test_every_reason_is_explained():
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} |" in README


def test_every_option_is_explained():
    command = [sys.executable, "-m", "data_prep.build", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY).stdout
    options = [
        line.split(":")[0].strip().removeprefix("--").removeprefix("[no]")
        for line in shown.splitlines()
        if line.startswith("  --")
    ]
    assert len(options) > 10
    for option in options:
        assert f"`--{option}`" in README
