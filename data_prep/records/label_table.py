"""Tables of labels, a row a patient or an image: every column that is no id is a task."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

from data_prep.records.drops import Drop, Reason
from data_prep.records.pairing import Line, Subject
from data_prep.records.row_ids import RowIds, without
from data_prep.records.scan import NO_COLUMNS, Columns
from data_prep.records.tasks import IMAGE, PATIENT, Task, read_tasks
from data_prep.tables.table import Table, read_table


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """What a table says: `lines` of patients, or `images` by their path."""

    path: pathlib.Path
    tasks: tuple[Task, ...]
    lines: list[Line[dict[str, int]]]
    images: Mapping[str, dict[str, int]]


def read_label_table(
    path: pathlib.Path,
    *,
    patient_key: Callable[[str], str | None],
    patient_column: str = "",
    report_column: str = "",
    columns: Columns = NO_COLUMNS,
) -> tuple[LabelTable, list[Drop]]:
    """Reads the labels of images, where the table has a column of their paths, or of patients.

    Args:
      path: a table.
      patient_key: maps a cell to the id that the images use, or to None.
      patient_column: what the source calls the ids of patients.
      report_column: what it calls the texts, which are no labels.
      columns: of the report table, see `RowIds`.

    Returns:
      (the labels, rows without an id).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it has no column of ids or none of labels, a column that is no task, or two
        labels of one patient or image.
    """
    table = read_table(path, option="--label_table")
    ids = RowIds(table, patient_key=patient_key, patient_column=patient_column, columns=columns)
    named = without(table, (*ids.names, report_column))
    tasks, rows = read_tasks(table, named, IMAGE if ids.of_images else PATIENT)
    if not tasks:
        raise ValueError(f"{path} has no column of labels beside those of ids: add one")
    lines: dict[Subject, Line[dict[str, int]]] = {}
    images: dict[str, dict[str, int]] = {}
    drops = []
    for (number, cells), labels in zip(table.rows, rows, strict=True):
        key = ids.path(cells) if ids.of_images else ids.subject(cells)
        if not key:
            detail = "no path" if ids.of_images else "no patient id"
            drops.append(Drop(f"labels row {number}", Reason.LABELS_WITHOUT_IMAGE, detail))
        elif isinstance(key, Subject):
            line = lines.setdefault(key, Line(f"{path} row {number}", key, {}))
            merge(table, number, line.codes, labels)
        else:
            merge(table, number, images.setdefault(key, {}), labels)
    return LabelTable(path, tuple(tasks), list(lines.values()), images), drops


def merge(table: Table, number: int, known: dict[str, int], more: Mapping[str, int]) -> None:
    """Adds the labels of a row to those of the rows above.

    Raises:
      ValueError: one of them is another than above.
    """
    for name, label in more.items():
        if known.setdefault(name, label) != label:
            raise ValueError(
                f"{table.path} row {number} has another label of {name} than a row above of the "
                "same patient or image: keep one of them"
            )
