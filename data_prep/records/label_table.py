"""Tables of labels, a row a patient or an image: every column that is no id is a task."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from data_prep.records.drops import Drop, Reason
from data_prep.records.pairing import Line, Subject, normal_id
from data_prep.records.scan import NO_COLUMNS, Columns
from data_prep.records.tasks import IMAGE, PATIENT, Task, read_tasks
from data_prep.tables.table import Table, is_blank, read_table

OPTION = "--label_table"
PATIENT_COLUMNS = ("patient", "patient_id")
IMAGE_COLUMNS = ("path", "image")
# What else says what a row is of, or belongs to the record in another way.
NO_LABELS = (
    *("split", "study", "study_id", "study_uid", "study_instance_uid", "accession"),
    *("accession_number", "series", "series_id", "series_uid", "image_id", "sop_instance_uid"),
    *("level", "plane", "sequence", "slice", "spacing_mm", "report"),
)


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """What a table says: `lines` of patients, or `images` by their path."""

    path: pathlib.Path
    tasks: tuple[Task, ...]
    lines: list[Line[dict[str, int]]] = dataclasses.field(default_factory=list)
    images: Mapping[str, dict[str, int]] = dataclasses.field(default_factory=dict)


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
      patient_column: what the source calls the ids of patients, beside `PATIENT_COLUMNS`.
      report_column: what it calls the texts, which are no labels.
      columns: of the report table; where this one has its columns of studies or accessions, too,
        they say which study of a patient was labelled.

    Returns:
      (the labels, rows without an id).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it has no column of ids or none of labels, a column that is no task, or two
        labels of one patient or image.
    """
    table = read_table(path, option=OPTION)
    patients = [name for name in (columns.patient, "patient", patient_column, "patient_id") if name]
    image = next(filter(table.has, IMAGE_COLUMNS), "")
    patient = next(filter(table.has, patients), "")
    if not image and not patient:
        raise ValueError(
            f"{path} has no column patient or path that says what a row is of (found: "
            f"{table.shown_columns()}): rename the column"
        )
    known = [*patients, *PATIENT_COLUMNS, *IMAGE_COLUMNS, *NO_LABELS, report_column]
    named = without(table, [*known, *vars(columns).values()])
    tasks, rows = read_tasks(table, named, IMAGE if image else PATIENT)
    if not tasks:
        raise ValueError(f"{path} has no column of labels beside those of ids: add one")
    if image:
        images, drops = _of_images(table, image, rows)
        return LabelTable(path, tuple(tasks), images=images), drops
    lines, drops = _of_patients(table, patient, rows, patient_key, columns)
    return LabelTable(path, tuple(tasks), lines), drops


def without(table: Table, known: Sequence[str]) -> list[str]:
    """The columns of a table but those of a known name, however that is spelt.

    Raises:
      ValueError: one that has cells has no name.
    """
    indices = {table.column(name) for name in known if name and table.has(name)}
    named = []
    for index, column in enumerate(table.columns):
        if index in indices:
            continue
        if column:
            named.append(column)
        elif any(not is_blank(cells[index]) for _, cells in table.rows):
            raise ValueError(f"{table.path} has no name above column {index + 1}: give it one")
    return named


def path_in(cell: str) -> str:
    """A path below --images as we write it; empty for a blank cell."""
    if is_blank(cell):
        return ""
    return pathlib.PurePosixPath(cell.strip().replace("\\", "/")).as_posix()


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


def _of_images(
    table: Table, column: str, rows: Sequence[Mapping[str, int]]
) -> tuple[dict[str, dict[str, int]], list[Drop]]:
    index = table.column(column)
    images: dict[str, dict[str, int]] = {}
    drops = []
    for (number, cells), labels in zip(table.rows, rows, strict=True):
        if place := path_in(cells[index]):
            merge(table, number, images.setdefault(place, {}), labels)
        else:
            drops.append(Drop(f"labels row {number}", Reason.LABELS_WITHOUT_IMAGE, "no path"))
    return images, drops


def _of_patients(
    table: Table,
    column: str,
    rows: Sequence[dict[str, int]],
    patient_key: Callable[[str], str | None],
    columns: Columns,
) -> tuple[list[Line[dict[str, int]]], list[Drop]]:
    index = table.column(column)
    ids = {
        kind: table.column(name)
        for kind in ("study", "accession")
        if (name := getattr(columns, kind)) and table.has(name)
    }
    lines: dict[Subject, Line[dict[str, int]]] = {}
    drops = []
    for (number, cells), labels in zip(table.rows, rows, strict=True):
        patient = None if is_blank(cells[index]) else patient_key(cells[index])
        if patient is None:
            drops.append(Drop(f"labels row {number}", Reason.LABELS_WITHOUT_IMAGE, "no patient id"))
            continue
        subject = Subject(patient, **{kind: normal_id(cells[i]) for kind, i in ids.items()})
        line = lines.setdefault(subject, Line(f"{table.path} row {number}", subject, {}))
        merge(table, number, line.codes, labels)
    return list(lines.values()), drops
