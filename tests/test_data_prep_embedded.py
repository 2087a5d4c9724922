"""The embedded phantom: built once, whole or not at all, by one process at a time."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.phantom import embedded
from tests import data_prep_cohort as cohort

PATIENTS = 12


def generate(out, patients, seed, difficulty, *, workers, progress):
    """Stands in for the phantom's generator; its brightness tells the seed."""
    cohort.write_slices(out, patients, 8, sequences=("T1",))
    cohort.write_reports(out / "Radiologists Report.xlsx", patients)
    cohort.write_labels(out / "PfirrmannGrade.csv", out / "report_findings.jsonl", patients)


@pytest.fixture
def generated(monkeypatch):
    """Counts the calls of the generator."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(kwargs)
        generate(*args, **kwargs)

    monkeypatch.setattr(embedded, "generate", counted)
    monkeypatch.setattr(embedded, "all_cores", lambda: 1)
    return calls


def test_built_once_and_named_by_its_parameters(generated, tmp_path, capsys):
    (tmp_path / ".phantom-left-by-a-killed-build").mkdir()
    options = {"patients": PATIENTS, "seed": 3, "difficulty": 0.5}
    folder = embedded.ensure_phantom(tmp_path, **options)
    assert embedded.ensure_phantom(tmp_path, **options) == folder
    assert [call["seed"] for call in generated] == [3]
    assert capsys.readouterr().out.splitlines() == [
        f"building the embedded phantom of {PATIENTS} patients, once, in {folder}"
    ]
    other = embedded.ensure_phantom(tmp_path, **options | {"difficulty": 0.25})
    assert other != folder
    assert not list(tmp_path.glob(".phantom*"))


def test_every_cache_holds_the_same_bytes(generated, tmp_path):
    folders = [
        embedded.ensure_phantom(tmp_path / name, patients=PATIENTS, seed=0, difficulty=0.5)
        for name in ("one", "two")
    ]
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == two


def test_a_failed_build_is_begun_anew(generated, tmp_path, monkeypatch):
    options = {"patients": PATIENTS, "seed": 0, "difficulty": 0.5}
    with monkeypatch.context() as broken:
        broken.setattr(embedded, "build", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embedded.ensure_phantom(tmp_path, **options)
    assert not list(tmp_path.glob(".phantom*"))
    assert (embedded.ensure_phantom(tmp_path, **options) / "manifest.json").exists()


def test_two_processes_build_once(tmp_path):
    code = f"""
import time
from data_prep.phantom import embedded
from tests.test_data_prep_embedded import generate
def slow(*args, **kwargs):
    time.sleep(1)
    generate(*args, **kwargs)
embedded.generate = slow
embedded.all_cores = lambda: 1
print(embedded.ensure_phantom({str(tmp_path)!r}, patients={PATIENTS}, seed=0, difficulty=0.5))
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [run.communicate()[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    assert sorted(map(len, outputs)) == [1, 2]


def test_a_cache_held_too_long_is_an_error(generated, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "LOCK_TIMEOUT_S", 0.0)
    with (tmp_path / "phantom.lock").open("w") as file:
        embedded.fcntl.flock(file, embedded.fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="end it, or set LUMBARCLIP_CACHE"):
            embedded.ensure_phantom(tmp_path, patients=PATIENTS, seed=0, difficulty=0.5)


def test_the_real_phantom_goes_through_dicom(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "all_cores", lambda: 1)
    folder = embedded.ensure_phantom(tmp_path, patients=10, seed=0, difficulty=0.5)
    builder = tfds.builder_from_directory(folder)
    found = [r for split in builder.info.splits for r in builder.as_data_source(split)]
    patients = {record["patient_id"] for record in found}
    assert len(found) == 6 * len(patients)
    views = {(record["sequence"], record["level"]) for record in found}
    assert len(views) == 6
    assert all(np.ptp(record["image"]) == 255 for record in found)
    assert any(record["findings"].any() for record in found)
    assert all(1 <= record["grades"]["pfirrmann"] <= 5 for record in found)
