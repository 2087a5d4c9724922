"""The part of the page about retrieval by class: one table a task, both ways and every class."""

import dataclasses

from lumbarclip_jax.data.tasks import FINDINGS
from lumbarclip_jax.evaluators.names import Name
from lumbarclip_jax.report.tables import Row, Section, Table, Task, title

EVALUATOR = "class_retrieval"
DIRECTIONS = ("image_to_text", "text_to_image", "patient_to_text", "text_to_patient")
BALANCES = {"": "image", "by_patient": "patient"}  # the path of a balance to its unit
DEPTHS = (1, 5, 10)
MEASURES = tuple(f"{kind}_at_{k}" for kind in ("precision", "recall") for k in DEPTHS)


@dataclasses.dataclass(frozen=True)
class Line:
    """One direction and class, or the mean of its classes; a cell of `MEASURES` may be empty."""

    direction: str
    of: str
    cells: tuple[Row | None, ...]

    @property
    def is_mean(self) -> bool:
        return self.of == MEAN


MEAN = "mean of the classes"


@dataclasses.dataclass(frozen=True)
class ClassTable:
    """All about one task; without `lines` it was not measured."""

    title: str
    facts: list[str]
    is_main: bool
    lines: list[Line]
    headings: tuple[str, ...] = tuple(map(title, MEASURES))


def is_of_one(section: Section, table: Table) -> bool:
    """Whether it is about one class, which the mean over all stands for."""
    return section.evaluator == EVALUATOR and table.key.count("/") == 2


def is_drawn(number: Name) -> bool:
    """Whether it has a line over training: the means by image, of all but the findings."""
    by_image = number.features in {(direction,) for direction in DIRECTIONS[:2]}
    return by_image and number.measure == "precision_at_5" and number.task not in FINDINGS


def class_tables(section: Section) -> list[ClassTable]:
    """The tables of a section about retrieval by class, in its order of tasks."""
    return [
        ClassTable(task.title, task.facts, task.key not in FINDINGS, _lines(task))
        for task in section.tasks.values()
    ]


def _lines(task: Task) -> list[Line]:
    lines = []
    for direction in DIRECTIONS:
        for key, table in task.tables.items():
            *above, last = key.split("/")[1:] or [""]
            if last == direction:
                of = title(above[0]) if above else MEAN
                lines.append(Line(title(direction), of, _cells(table, MEASURES)))
    for path, unit in BALANCES.items():
        if table := task.tables.get("/".join(filter(None, (task.key, path)))):
            wanted = [f"balance_at_{k}" for k in DEPTHS]
            lines.append(Line(f"Balance, by {unit}", MEAN, _cells(table, wanted)))
    return lines


def _cells(table: Table, measures) -> tuple[Row | None, ...]:
    rows = {row.measure: row for row in table.rows}
    cells = [rows.get(measure) for measure in measures]
    return tuple(cells + [None] * (len(MEASURES) - len(cells)))
