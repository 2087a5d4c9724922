"""The rows of a split that a task can use, and the baseline that sees only their level."""

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lumbarclip_jax.data.dataset import Columns
from lumbarclip_jax.data.tasks import FINDINGS, UNLABELLED, Task
from lumbarclip_jax.evaluators.classification import Predictions

log = logging.getLogger(__name__)

# Patients that must have a finding, and as many that must not, for it to be measured.
FEWEST_PATIENTS = 5


def _fewest(task: Task) -> int:
    return FEWEST_PATIENTS if task.name in FINDINGS else 1


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """The rows of one split, embedded or its columns alone, that carry a label for a task."""

    task: Task
    columns: Columns
    rows: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, columns, task: Task) -> "LabelledRows":
        labels = task.labels(columns)
        rows = np.flatnonzero(labels != UNLABELLED)
        return cls(task, columns, rows, labels[rows])

    @property
    def patient_id(self) -> np.ndarray:
        return self.columns.patient_id[self.rows]

    @property
    def level(self) -> np.ndarray:
        return self.columns.level[self.rows]

    def features(self, name: str) -> np.ndarray:
        """`[M, D]` rows of an array of the embedded split."""
        return getattr(self.columns, name)[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def patients(self) -> list[int]:
        """How many patients have a row of each class."""
        return [
            len(np.unique(self.patient_id[self.labels == label]))
            for label in range(len(self.task.classes))
        ]

    @property
    def suffice(self) -> bool:
        """Whether there is something to tell apart: two classes; for a finding enough patients."""
        return sum(patients >= _fewest(self.task) for patients in self.patients) >= 2

    def predicted(self, probabilities: np.ndarray) -> Predictions:
        """What a model said `[M, K]` about these images."""
        return Predictions(
            classes=self.task.classes,
            labels=self.labels,
            probabilities=probabilities,
            patient_id=self.patient_id,
            level=self.level,
            image_id=self.columns.image_id[self.rows],
            ordered=self.task.ordered,
        )


def level_counts(train: LabelledRows) -> dict[str, list[int]]:
    """How many rows of each class `[K]` there are at each level."""
    classes = len(train.task.classes)
    return {
        str(level): np.bincount(train.labels[train.level == level], minlength=classes).tolist()
        for level in np.unique(train.level)
    }


def level_only(counts: Mapping[str, Sequence[int]], measured: LabelledRows) -> Predictions:
    """What one says who has learnt how frequent each class is at each level, and sees no image.

    How common a finding is differs by level, so this predicts better than chance; a model has shown
    something about the pixels only where it beats this. Frequencies are those of `counts`, of the
    training split by `level_counts`, drawn towards those of all its levels by one row's worth.
    """
    of_all = np.sum(list(counts.values()), axis=0)
    overall = of_all / of_all.sum()

    def frequency(level: str) -> np.ndarray:
        rows = np.asarray(counts.get(level, np.zeros_like(of_all)))
        return (rows + overall) / (rows.sum() + 1)

    levels, level_of_row = np.unique(measured.level, return_inverse=True)
    table = np.array([frequency(level) for level in levels]).reshape(len(levels), len(overall))
    return measured.predicted(table[level_of_row])


def shortage(splits: Mapping[str, LabelledRows]) -> str:
    """Says of how few patients the classes of a task are, split by split."""
    task = next(iter(splits.values())).task
    return (
        f"too few labelled patients ({_patients(splits)}); two classes of {_fewest(task)} or more "
        "are needed"
    )


def can_fit(prefix: str, splits: Collection[str]) -> bool:
    """Whether there are splits to fit and to choose a probe on; if not, logs which is missing."""
    missing = {"train", "validation"} - set(splits)
    if missing:
        absent = " and no ".join(sorted(missing))
        log.warning("%s skipped: the data set has no %s split to fit a probe on", prefix, absent)
    return not missing


def warn_of_skipped(
    prefix: str, asked: int, skipped: Mapping[str, Mapping[str, LabelledRows]]
) -> None:
    """Logs in one line, or none, what an evaluator left out for want of labelled patients.

    Args:
      prefix: what is said of the evaluator: its split and name.
      asked: how many tasks it was asked for.
      skipped: the name of each task left out to the splits that it would have needed.
    """
    if skipped:
        log.warning(
            "%s: %d of %d tasks skipped, for want of labelled patients (two classes of 1 or more "
            "are needed, of %d for a finding): %s",
            prefix,
            len(skipped),
            asked,
            FEWEST_PATIENTS,
            ", ".join(f"{name} ({_patients(splits)})" for name, splits in skipped.items()),
        )


def _patients(splits: Mapping[str, LabelledRows]) -> str:
    """`train 12 absent, 0 present; test 4 absent, 0 present`."""
    return "; ".join(
        f"{split} "
        + ", ".join(f"{n} {name}" for name, n in zip(rows.task.classes, rows.patients, strict=True))
        for split, rows in splits.items()
    )
