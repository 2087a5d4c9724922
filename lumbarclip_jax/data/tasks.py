"""The classification tasks: what is asked of an image or of a patient, and where labels come from.

`MAIN` are the questions of the project, `FINDINGS` the report's findings one by one (multi-label
classification), of which evaluators also give the mean. Labels come from the report, except for the
Pfirrmann grades, which were read from the images, independent of the text. `tasks_of` a data set
adds the tasks of its own label columns.

A finding that a report does not name counts as absent, which is how the reports are written; a
hedged one leaves the row without a label. Where a split has not one status, nobody read its reports
and absence would mean nothing: no row has a label, nor where the data set does not list a finding.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.records.findings import FINDINGS as ALL_FINDINGS
from data_prep.records.findings import LEVEL_FINDINGS, PRESENT, UNCERTAIN
from data_prep.records.tasks import UNCERTAIN_LABEL

UNLABELLED = -1

# A `data.dataset.Columns` of M rows, or an embedded split, which is one, to `[M]` int.
Labels = Callable[..., np.ndarray]


@dataclasses.dataclass(frozen=True)
class Task:
    """`labels(columns)` gives `[M]` int: an index into `classes`, or UNLABELLED.

    Of two classes the last is the positive one. `ordered` classes are grades. With `unit` "patient"
    all images of a patient carry the patient's label, and their mean probability is its answer.
    `is_uncertain(columns)` gives `[M]` truths: rows without a label because it is hedged.
    """

    name: str
    classes: tuple[str, ...]
    labels: Labels
    ordered: bool = False
    unit: str = "image"
    is_uncertain: Labels | None = None


def pfirrmann(columns) -> np.ndarray:
    """The grade less one: 0 to 4."""
    return np.where(columns.pfirrmann == 0, UNLABELLED, columns.pfirrmann.astype(np.int64) - 1)


def pfirrmann_at_least(grade: int) -> Labels:
    def labels(columns) -> np.ndarray:
        grades = columns.pfirrmann.astype(np.int64)
        return np.where(grades == 0, UNLABELLED, grades >= grade)

    return labels


def any_at_level(*findings: str) -> Labels:
    """Whether one of the findings is present at the row's level."""

    def labels(columns) -> np.ndarray:
        return _any(columns, columns.level_findings, columns.level_names, findings)

    return labels


def any_in_patient(*findings: str) -> Labels:
    """Whether one of the findings is present anywhere in the row's patient."""

    def labels(columns) -> np.ndarray:
        return _any(columns, columns.findings, columns.names, findings)

    return labels


def anything_in_patient(columns) -> np.ndarray:
    """Whether any of the findings that the data set lists is present in the row's patient."""
    return any_in_patient(*columns.names)(columns)


def hedged_at_level(*findings: str) -> Labels:
    """Whether none of the findings is present at the row's level, and one is uncertain."""

    def labels(columns) -> np.ndarray:
        return _hedged(columns.level_findings, columns.level_names, findings)

    return labels


def hedged_in_patient(*findings: str) -> Labels:
    """The same of the row's patient."""

    def labels(columns) -> np.ndarray:
        return _hedged(columns.findings, columns.names, findings)

    return labels


def worst_in_patient(*classes: tuple[str, ...]) -> Labels:
    """The last of the classes, groups of findings from 1 on, of which the patient has one; or 0.

    A class that is hedged leaves the row without a label, unless a later one is present.
    """

    def labels(columns) -> np.ndarray:
        worst = np.zeros(len(columns.level), np.int64)
        for place, findings in enumerate(classes, start=1):
            has = any_in_patient(*findings)(columns)
            worst = np.where(has == 1, place, np.where(has == UNLABELLED, UNLABELLED, worst))
        return worst

    return labels


def _any(columns, status: np.ndarray, names: tuple[str, ...], findings: tuple[str, ...]):
    read = columns.findings.any() or columns.level_findings.any()
    if not read or not set(findings) <= set(names):
        return np.full(len(columns.level), UNLABELLED)
    status = status[:, [list(names).index(finding) for finding in findings]]
    present = (status == PRESENT).any(axis=1)
    uncertain = (status == UNCERTAIN).any(axis=1)
    return np.where(uncertain & ~present, UNLABELLED, present)


def _hedged(status: np.ndarray, names: tuple[str, ...], findings: tuple[str, ...]) -> np.ndarray:
    known = [list(names).index(finding) for finding in findings if finding in names]
    status = status[:, known]
    return (status == UNCERTAIN).any(axis=1) & ~(status == PRESENT).any(axis=1)


DISPLACED = ("disc_protrusion", "disc_extrusion", "disc_herniation")

# What reports state of the patient, but for the findings of levels and the negative control.
PATIENT_FINDINGS = tuple(
    name for name in ALL_FINDINGS if name not in (*LEVEL_FINDINGS, "muscle_spasm")
)

_MAIN = (
    Task(
        "pfirrmann_ge_3",
        ("grade 1-2", "grade 3-5"),
        pfirrmann_at_least(3),
    ),
    Task(
        "pfirrmann",
        ("grade 1", "grade 2", "grade 3", "grade 4", "grade 5"),
        pfirrmann,
        ordered=True,
    ),
    Task(
        "disc_displacement",
        ("not displaced", "displaced"),
        any_at_level("disc_bulge", *DISPLACED),
        is_uncertain=hedged_at_level("disc_bulge", *DISPLACED),
    ),
    Task(
        "compression",
        ("not compressed", "compressed"),
        any_at_level("thecal_sac_compression", "nerve_root_compression"),
        is_uncertain=hedged_at_level("thecal_sac_compression", "nerve_root_compression"),
    ),
    # No published label of three classes is to be had for these reports. This one is ours: the
    # worst displacement the report states firmly at any level, where protrusion, extrusion and
    # herniation are one class since the last two are rare.
    Task(
        "patient_displacement",
        ("none", "bulge", "protrusion or worse"),
        worst_in_patient(("disc_bulge",), DISPLACED),
        ordered=True,
        unit="patient",
    ),
    # The negative control. An axial slice of a disc does not show the straightened lordosis that
    # reports call spasm, so an AUROC far from 0.5 points to a leak, or to something else that goes
    # with it: spasm is mentioned a little more often beside degenerated discs and compressed roots.
    Task(
        "muscle_spasm",
        ("no spasm", "spasm"),
        any_in_patient("muscle_spasm"),
        unit="patient",
        is_uncertain=hedged_in_patient("muscle_spasm"),
    ),
)
_FINDINGS = (
    *(
        Task(
            name,
            ("absent", "present"),
            any_at_level(name),
            is_uncertain=hedged_at_level(name),
        )
        for name in LEVEL_FINDINGS
    ),
    *(
        Task(
            name,
            ("absent", "present"),
            any_in_patient(name),
            unit="patient",
            is_uncertain=hedged_in_patient(name),
        )
        for name in PATIENT_FINDINGS
    ),
)

# Normal or abnormal, as the reports have it. What retrieval asks alone: it is no task that a model
# is trained, prompted or probed for, so it is not among those of a data set.
ANY_FINDING = Task("any_finding", ("normal", "abnormal"), anything_in_patient, unit="patient")

MAIN = tuple(task.name for task in _MAIN)  # of every data set
FINDINGS = tuple(task.name for task in _FINDINGS)
TASKS = {task.name: task for task in (*_MAIN, *_FINDINGS)}


def tasks_of(manifest: Mapping[str, Any]) -> dict[str, Task]:
    """All tasks of a data set by name: those above, and those of its own label columns.

    A data set that is described by hand, or by an earlier version, may have none of its own.
    """
    own = [
        Task(
            of["name"],
            tuple(of["classes"]),
            _own(place),
            of["ordered"],
            of["unit"],
            _own_uncertain(place),
        )
        for place, of in enumerate(manifest.get("tasks", ()))
    ]
    return TASKS | {task.name: task for task in own}


def named(names: Sequence[str], known: Mapping[str, Task], where: str = "") -> tuple[Task, ...]:
    """The tasks of these names, among those `known` of a data set that lies at `where`.

    Raises:
      ValueError: there is none of a name, or no name at all.
    """
    there_are = f"there are {', '.join(known)}"
    if not names:
        raise ValueError(f"no task is named: {there_are}")
    for name in names:
        if name not in known:
            guess = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {guess[0]}?" if guess else ";"
            of = f" of {where}" if where else ""
            raise ValueError(f"there is no task {name}{of}{hint} {there_are}")
    return tuple(known[name] for name in names)


def _own(place: int) -> Labels:
    """Labels of the data set's own task at this place; of no class where they are uncertain."""

    def labels(columns) -> np.ndarray:
        return np.maximum(columns.own_labels[:, place].astype(np.int64), UNLABELLED)

    return labels


def _own_uncertain(place: int) -> Labels:
    def labels(columns) -> np.ndarray:
        return columns.own_labels[:, place] == UNCERTAIN_LABEL

    return labels
