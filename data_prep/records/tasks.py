"""Tasks that a data set brings along: columns of labels, and the classes that their cells name.

A record of such a data set has `labels`, one number a task in the order of the manifest's `tasks`:
the index of the class, or `NO_LABEL`, or `UNCERTAIN_LABEL`. The manifest has a task as
``{"name", "classes", "unit", "ordered", "column"}``.
"""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence

from data_prep.records.findings import FINDINGS
from data_prep.tables.table import Table, is_blank

log = logging.getLogger(__name__)

# The codes in records: never to be changed, since data sets hold them.
NO_LABEL, UNCERTAIN_LABEL = -1, -2
# What a label is of: each image, or all images of a patient.
IMAGE, PATIENT = "image", "patient"
# The tasks that every data set has, which no column may be called: `lumbarclip_jax.data.tasks`.
BUILT_IN = (
    "any_finding",
    "pfirrmann_ge_3",
    "pfirrmann",
    "disc_displacement",
    "compression",
    "patient_displacement",
    *FINDINGS,
)

Labels = Mapping[str, Mapping[str, int]]  # of whom or what -> task -> index of the class

NAME = re.compile("[a-z0-9_]+")
MAX_GRADES = 12
MAX_CLASSES = 50
TRUTH = {"true": "1", "yes": "1", "false": "0", "no": "0"}
WHOLE = re.compile(r"([+-]?[0-9]{1,9})(?:\.0+)?")
NUMBER = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+(?:e[+-]?[0-9]+)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Task:
    """A question with fixed answers. Of two classes the last is the positive one.

    `ordered` classes are grades. With `unit` "patient" all images of a patient carry the patient's
    label. `column` is the header of the column that it was read from.
    """

    name: str
    classes: tuple[str, ...]
    unit: str
    ordered: bool
    column: str

    @property
    def shown(self) -> str:
        """The header as words."""
        return " ".join(self.column.replace("_", " ").split())

    @property
    def is_presence(self) -> bool:
        """Whether the classes are that something is not there, and that it is."""
        return self.classes == presence(self.shown)

    def index_of(self, cell: str) -> int:
        """The class that a cell names, `NO_LABEL` or `UNCERTAIN_LABEL`.

        Raises:
          ValueError: it names none.
        """
        if is_blank(cell):
            return NO_LABEL
        number = _whole(cell)
        if self.is_presence and number in (-1, 0, 1):
            return UNCERTAIN_LABEL if number == -1 else number
        wanted = f"grade {number}" if self.ordered else _plain(cell)
        for index, name in enumerate(self.classes):
            if name.casefold() == wanted.casefold():
                return index
        raise ValueError(f"its classes are {', '.join(self.classes)}")


@dataclasses.dataclass(frozen=True)
class TaskLabels:
    """The tasks of a data set, and of patients and images (by place) task -> index of class."""

    tasks: tuple[Task, ...] = ()
    of_patient: Labels = dataclasses.field(default_factory=dict)
    of_image: Labels = dataclasses.field(default_factory=dict)

    def features(self, patient: str, place: str) -> dict[str, tuple[int, ...]]:
        """What the record of an image has of them: `labels`, or nothing where there is no task."""
        said = {**self.of_patient.get(patient, {}), **self.of_image.get(place, {})}
        labels = tuple(said.get(task.name, NO_LABEL) for task in self.tasks)
        return {"labels": labels} if labels else {}

    def joined(self, other: "TaskLabels") -> "TaskLabels":
        """The tasks of both.

        Raises:
          ValueError: both have one of a name.
        """
        check_names([*self.tasks, *other.tasks])
        return TaskLabels(
            (*self.tasks, *other.tasks),
            _united(self.of_patient, other.of_patient),
            _united(self.of_image, other.of_image),
        )

    def in_manifest(self) -> dict[str, list[dict]]:
        """The manifest's entry, and none where there are no tasks."""
        tasks = [dataclasses.asdict(task) for task in self.tasks]
        return {"tasks": tasks} if tasks else {}


NO_TASKS = TaskLabels()


def read_tasks(
    table: Table, columns: Sequence[str], unit: str
) -> tuple[list[Task], list[dict[str, int]]]:
    """Tells from the cells of each column what it asks.

    0 and 1 (or no and yes, false and true) are "no <column>" and "<column>"; beside them -1 is
    uncertain. Other whole numbers are ordered grades from the smallest to the largest. Texts are
    the classes that they name, in sorted order and whatever their case. A blank cell has no label,
    and a column of nothing else is no task.

    Args:
      table: of labels.
      columns: headers of the columns of labels.
      unit: of the tasks.

    Returns:
      (the tasks, of each row of the table: task -> index of those that it has a label of).

    Raises:
      ValueError: a column has no name, one that is taken, or cells that are no classes.
    """
    tasks: list[Task] = []
    rows: list[dict[str, int]] = [{} for _ in table.rows]
    for column in columns:
        index = table.column(column)
        cells = [cells[index] for _, cells in table.rows]
        said = [cell for cell in cells if not is_blank(cell)]
        if not said:
            log.info("the column %r of %s holds no label: left out", column, table.path)
            continue
        classes, ordered = _classes(f"{table.path} has in the column {column!r}", column, said)
        name = name_of(column)
        task = Task(name, classes, unit, ordered, column)
        tasks.append(task)
        for row, cell in zip(rows, cells, strict=True):
            label = task.index_of(cell)
            if label != NO_LABEL:
                row[name] = label
        if len({task.index_of(cell) for cell in said} - {UNCERTAIN_LABEL}) < 2:
            log.warning("the column %r of %s holds one class alone", column, table.path)
    check_names(tasks)
    return tasks, rows


def name_of(column: str) -> str:
    """The name of a column's task: the header in lower case with _ for all that is no a-z or digit;
    empty where nothing is left."""
    return re.sub("[^a-z0-9]+", "_", column.lower()).strip("_")


def check_names(tasks: Sequence[Task]) -> None:
    """Raises ValueError where a task has no name, one of another, or one of `BUILT_IN`."""
    column_of: dict[str, str] = {}
    for task in tasks:
        if not task.name:
            raise ValueError(
                f"the column of labels {task.column!r} gives no name of letters a-z and digits: "
                "rename it"
            )
        if task.name in BUILT_IN:
            raise ValueError(
                f"the column of labels {task.column!r} is called like the task {task.name} that "
                "every data set has: rename it"
            )
        if task.name in column_of:
            raise ValueError(
                f"the columns of labels {column_of[task.name]!r} and {task.column!r} both give the "
                f"task {task.name}: rename one of them"
            )
        column_of[task.name] = task.column


def _classes(where: str, column: str, said: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """(the classes that cells name, whether they are ordered)."""
    numbers = {number for cell in said if (number := _whole(cell)) is not None}
    if all(_whole(cell) is not None for cell in said):
        if numbers <= {-1, 0, 1}:
            return presence(" ".join(column.replace("_", " ").split())), False
        grades = range(min(numbers), max(numbers) + 1)
        if len(numbers) <= MAX_GRADES and len(grades) <= MAX_CLASSES:
            return tuple(f"grade {number}" for number in grades), True
    if all(NUMBER.fullmatch(_plain(cell)) or _whole(cell) is not None for cell in said):
        raise ValueError(
            f"{where} numbers that are no classes, which are at most {MAX_GRADES} whole ones close "
            "together: is it an id or a measurement? Delete the column, or write classes into it"
        )
    names: dict[str, str] = {}
    for cell in sorted(map(_plain, said)):
        names.setdefault(cell.casefold(), cell)
    # An id or a person's name is in a row or two; as a class it would be published.
    if len(names) > MAX_CLASSES or 2 < len(names) > len(said) / 2:
        raise ValueError(
            f"{where} {len(names)} different texts in {len(said)} rows, and classes are at most "
            f"{MAX_CLASSES} that repeat: is it an id or free text? Delete the column"
        )
    return tuple(names[key] for key in sorted(names)), False


def _united(one: Labels, two: Labels) -> Labels:
    return {key: {**one.get(key, {}), **two.get(key, {})} for key in [*one, *two]}


def presence(shown: str) -> tuple[str, str]:
    """The classes of what is there or not."""
    return f"no {shown}", shown


def _plain(cell: str) -> str:
    return " ".join(cell.replace("\u2212", "-").split())


def _whole(cell: str) -> int | None:
    text = _plain(cell)
    match = WHOLE.fullmatch(TRUTH.get(text.casefold(), text))
    return int(match[1]) if match else None
