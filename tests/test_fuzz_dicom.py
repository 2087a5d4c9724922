"""Damaged DICOM files cost themselves alone, quickly, and each has a reason."""

import json
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("mutants", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutants(mutants):
    command = [sys.executable, "tests/fuzz_dicom.py", f"--mutants={mutants}", "--seed=0"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.stdout, run.stderr[-2000:]
    summary = json.loads(run.stdout)
    assert summary["passed"], run.stdout
    assert run.returncode == 0
    assert summary["syntaxes"] >= 8
    assert sum(summary["classes"].values()) == mutants
    outcomes = {
        name: count for name, count in summary["outcomes"].items() if name.startswith("pixels: ")
    }
    assert sum(outcomes.values()) == mutants
    # Were nothing damaged, or all of it beyond reading, the run would show little.
    assert mutants / 10 < outcomes["pixels: decoded"] < 3 * mutants / 4
    assert len(outcomes) >= 5
