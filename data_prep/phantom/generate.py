"""The whole data set: patients in, the published folder layout out."""

import functools
import pathlib
import shutil
from collections.abc import Callable

from data_prep.phantom import tables
from data_prep.phantom.anatomy import Patient, draw_patient
from data_prep.phantom.reports import Report, write_report
from data_prep.phantom.study import write_study
from data_prep.process.parallel import worker_processes

IMAGES = "01_MRI_Data"
MAX_PATIENTS = 9999  # four digits in the published file names


def generate(
    out: str | pathlib.Path,
    patients: int,
    seed: int,
    difficulty: float = 0.5,
    *,
    workers: int = 1,
    slices_per_disc: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> pathlib.Path:
    """Writes a phantom cohort and returns its folder.

    The bytes depend on `seed`, `patients`, `difficulty` in [0, 1] and `slices_per_disc` alone, not
    on `workers` (processes). The folder appears under its name when it is complete; until then it
    is `<out>.partial`. `progress(done, patients)` is called after each patient.

    Raises ValueError for an argument out of range, FileExistsError when `out` is there and is not
    an empty folder.
    """
    _check(patients, seed, difficulty, workers, slices_per_disc)
    out = pathlib.Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} already holds something; choose another folder or remove it.")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)

    make = functools.partial(_make_patient, partial, seed, difficulty, slices_per_disc)
    cohort: list[Patient] = []
    reports: dict[int, Report] = {}
    for patient, report in _each(make, range(1, patients + 1), workers):
        cohort.append(patient)
        reports[patient.number] = report
        if progress is not None:
            progress(len(cohort), patients)
    tables.write_reports(partial / tables.REPORTS, reports)
    tables.write_findings(partial / tables.FINDINGS, reports)
    tables.write_grades(partial / tables.GRADES, cohort)
    tables.write_truth(partial / tables.TRUTH, cohort)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return out


def _make_patient(out, seed, difficulty, slices_per_disc, number):
    patient = draw_patient(seed, number, difficulty)
    write_study(out / IMAGES / f"{number:04d}", patient, slices_per_disc)
    return patient, write_report(patient)


def _each(make, numbers, workers):
    """`make(number)` in order, here or in a pool of spawned processes."""
    if workers == 1:
        yield from map(make, numbers)
        return
    with worker_processes(workers) as pool:
        yield from pool.map(make, numbers, chunksize=4)


def _check(patients, seed, difficulty, workers, slices_per_disc):
    for name, value, low, high in (
        ("patients", patients, 1, MAX_PATIENTS),
        ("seed", seed, 0, 2**63 - 1),
        ("difficulty", difficulty, 0.0, 1.0),
        ("workers", workers, 1, 1024),
        ("slices_per_disc", slices_per_disc, 1, 5),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; choose a value from {low} to {high}.")
