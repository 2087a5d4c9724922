"""Damaged DICOM files cost themselves alone, quickly, and each has a reason."""

import json
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def test_two_thousand_mutants():
    command = [sys.executable, "tests/fuzz_dicom.py", "--mutants=2000", "--seed=0"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.stdout, run.stderr[-2000:]
    summary = json.loads(run.stdout)
    assert summary["passed"], run.stdout
    assert run.returncode == 0
    assert summary["syntaxes"] >= 8
    assert sum(summary["classes"].values()) == 2000
    outcomes = {
        name: count for name, count in summary["outcomes"].items() if name.startswith("pixels: ")
    }
    assert sum(outcomes.values()) == 2000
    # Were nothing damaged, or all of it beyond reading, the run would show little.
    assert 200 < outcomes["pixels: decoded"] < 1500
    assert len(outcomes) >= 5
