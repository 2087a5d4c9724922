"""Pfirrmann grades of the discs, as a table of one row a patient."""

import pathlib
from collections.abc import Callable

from data_prep.drops import Drop, Reason
from data_prep.pairing import Line, Subject, normal_id
from data_prep.scan import NO_COLUMNS, Columns
from data_prep.tables import read_table

LEVEL_OF_DISC = {"D3": "L3-L4", "D4": "L4-L5", "D5": "L5-S1"}


def read_grades(
    path: pathlib.Path,
    *,
    patient_key: Callable[[str], str | None],
    columns: Columns = NO_COLUMNS,
) -> tuple[list[Line[dict[str, int]]], list[Drop]]:
    """Reads Pfirrmann grades from columns ``Patient_ID, D5, D4, D3``.

    Args:
      path: a table.
      patient_key: maps a cell to the id that the images use, or to None.
      columns: of the report table; where the grades have its column of studies or accessions, too,
        that says which study of a patient was graded.

    Returns:
      (level -> grade 1..5 of each row, rows with a cell that is no grade; empty cells are none).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a table of these columns.
    """
    table = read_table(path, option="--grades")
    patient_index = table.column("Patient_ID")
    discs = {table.column(disc): level for disc, level in LEVEL_OF_DISC.items()}
    ids = {
        kind: table.column(name)
        for kind in ("study", "accession")
        if (name := getattr(columns, kind)) and table.has(name)
    }
    lines, drops = [], []
    for number, cells in table.rows:
        patient = patient_key(cells[patient_index])
        stated = {level: cells[index].strip() for index, level in discs.items()}
        stated = {level: grade for level, grade in stated.items() if grade}
        if patient is None or any(grade not in set("12345") for grade in stated.values()):
            drops.append(Drop(f"grades row {number}", Reason.BAD_GRADE))
            continue
        subject = Subject(patient, **{kind: normal_id(cells[i]) for kind, i in ids.items()})
        grades = {level: int(grade) for level, grade in stated.items()}
        lines.append(Line(f"{path} row {number}", subject, grades))
    return lines, drops
