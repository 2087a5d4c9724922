"""What a row of a table of labels or texts is of: a patient, one of its studies, or an image."""

import pathlib
from collections.abc import Callable, Mapping

from data_prep.records.pairing import Subject, normal_id
from data_prep.records.scan import NO_COLUMNS, Columns
from data_prep.tables.table import Table, is_blank

PATIENT_COLUMNS = ("patient", "patient_id")
IMAGE_COLUMNS = ("path", "image")
# What else says what a row is of, or belongs to the record in another way.
KNOWN = (
    *("split", "study", "study_id", "study_uid", "study_instance_uid", "accession"),
    *("accession_number", "series", "series_id", "series_uid", "image_id", "sop_instance_uid"),
    *("level", "plane", "sequence", "slice", "spacing_mm", "report"),
)


class RowIds:
    """The columns of a table that say what its rows are of.

    With a column of paths, rows are of images, else of patients.

    Args:
      table: to be read.
      patient_key: maps a cell to the id that the images use, or to None.
      patient_column: what the source calls the ids of patients, beside `PATIENT_COLUMNS`.
      columns: of the report table; where this one has its columns of studies or accessions, too,
        they say which study of a patient is meant.

    Raises:
      ValueError: no column says what a row is of.
    """

    def __init__(
        self,
        table: Table,
        *,
        patient_key: Callable[[str], str | None],
        patient_column: str = "",
        columns: Columns = NO_COLUMNS,
    ):
        patients = [*filter(None, (columns.patient, "patient", patient_column, "patient_id"))]
        image = next(filter(table.has, IMAGE_COLUMNS), "")
        patient = next(filter(table.has, patients), "")
        if not image and not patient:
            raise ValueError(
                f"{table.path} has no column patient or path that says what a row is of (found: "
                f"{table.shown_columns()}): rename the column"
            )
        self.of_images = bool(image)
        self.names = (*patients, *IMAGE_COLUMNS, *KNOWN, *filter(None, vars(columns).values()))
        self._index = table.column(image or patient)
        self._patient_key = patient_key
        self._further: Mapping[str, int] = {
            kind: table.column(name)
            for kind in ("study", "accession")
            if (name := getattr(columns, kind)) and table.has(name)
        }

    def path(self, cells: tuple[str, ...]) -> str:
        """The image of a row as a path below --images, or "" where it names none."""
        return path_in(cells[self._index])

    def subject(self, cells: tuple[str, ...]) -> Subject | None:
        """Whom a row is of, or None where it has no usable id."""
        cell = cells[self._index]
        patient = None if is_blank(cell) else self._patient_key(cell)
        if patient is None:
            return None
        ids = {kind: normal_id(cells[index]) for kind, index in self._further.items()}
        return Subject(patient, **ids)


def path_in(cell: str) -> str:
    """A path below --images as we write it; empty for a blank cell."""
    if is_blank(cell):
        return ""
    return pathlib.PurePosixPath(cell.strip().replace("\\", "/")).as_posix()


def without(table: Table, known: tuple[str, ...]) -> list[str]:
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
