"""Labelled images of one split, for several tasks at once."""

import dataclasses

import numpy as np

from lumbarclip_jax.data.dataset import Columns, Dataset
from lumbarclip_jax.data.fields import one_hot
from lumbarclip_jax.data.tasks import UNLABELLED, Task
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.task_rows import LabelledRows, shortage


@dataclasses.dataclass(frozen=True)
class Examples:
    """M images of a split that carry a label of some task."""

    dataset: Dataset
    split: str
    tasks: tuple[Task, ...]
    rows: np.ndarray  # [M] int, of the split
    columns: Columns  # of the M

    @classmethod
    def of(cls, dataset: Dataset, split: str, tasks: tuple[Task, ...]) -> "Examples":
        """All labelled images of a split.

        Raises:
          ValueError: there is no such split, or too few patients of it have labels of a task.
        """
        columns = dataset.columns(split)
        for task in tasks:
            labelled = LabelledRows.of(columns, task)
            if not labelled.suffice:
                raise ValueError(
                    f"{task.name} cannot be learnt or measured on {dataset.folder}: "
                    f"{shortage({split: labelled})}; choose another --task"
                )
        rows = np.unique(np.concatenate([LabelledRows.of(columns, task).rows for task in tasks]))
        return cls(dataset, split, tasks, rows, columns.take(rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """By task, `[M]` int or UNLABELLED."""
        return {task.name: task.labels(self.columns) for task in self.tasks}

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """By task, images of every class `[K]`."""
        return {
            task.name: np.bincount(labels[labels != UNLABELLED], minlength=len(task.classes))
            for task, labels in zip(self.tasks, self.labels.values(), strict=True)
        }

    @property
    def levels(self) -> np.ndarray:
        """`[M, 3]`, see `one_hot`."""
        return one_hot(self.columns.level)

    def images(self, places: np.ndarray) -> np.ndarray:
        """Pixels of some of the M, uint8 `[B, S, S, 1]`."""
        return self.dataset.images(self.split, self.rows[places])

    def labelled(self, task: Task) -> LabelledRows:
        return LabelledRows.of(self.columns, task)

    def predictions(self, task: Task, probabilities: np.ndarray) -> Predictions:
        """What was said of all M `[M, K]`, about those with a label of the task."""
        labelled = self.labelled(task)
        return labelled.predicted(probabilities[labelled.rows])

    def part_of_patients(self, fraction: float, seed: int) -> "Examples":
        """The images of a random part of the patients, with every class that occurs in all.

        Smaller parts lie within larger ones of the same seed. Where a part lacks a class, patients
        are added until it does not.

        Raises:
          ValueError: `fraction` is not above 0 and at most 1.
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"--label_fraction={fraction} must be above 0 and at most 1")
        patients = np.unique(self.columns.patient_id)
        order = patients[np.random.default_rng(seed).permutation(len(patients))]
        occurring = {task: counts > 0 for task, counts in self.counts.items()}
        for count in range(max(1, round(fraction * len(patients))), len(patients)):
            places = np.flatnonzero(np.isin(self.columns.patient_id, order[:count]))
            part = dataclasses.replace(
                self, rows=self.rows[places], columns=self.columns.take(places)
            )
            if all(((n > 0) == occurring[task]).all() for task, n in part.counts.items()):
                return part
        return self
