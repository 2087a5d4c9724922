"""Pfirrmann grades of the discs, as a table of one row a patient."""

import pathlib
from collections.abc import Callable

from data_prep.records.drops import Drop, Reason
from data_prep.records.pairing import Line, Subject, normal_id
from data_prep.records.scan import NO_COLUMNS, Columns
from data_prep.records.schema import LEVELS
from data_prep.tables.table import is_blank, read_table

# The published table calls a disc by the lumbar vertebra above it.
LEVEL_OF_DISC = {f"D{number}": level for number, level in enumerate(LEVELS, start=3)}
PATIENT_COLUMN = "Patient_ID"
COLUMNS = (PATIENT_COLUMN, *reversed(LEVEL_OF_DISC))
# Pfirrmann numbered them I to V; a table that went through pandas writes 3 as 3.0.
GRADES = {
    written: grade
    for grade, roman in enumerate(("I", "II", "III", "IV", "V"), start=1)
    for written in (str(grade), f"{grade}.0", roman)
}


def read_grades(
    path: pathlib.Path,
    *,
    patient_key: Callable[[str], str | None],
    columns: Columns = NO_COLUMNS,
) -> tuple[list[Line[dict[str, int]]], list[Drop]]:
    """Reads Pfirrmann grades from the columns `COLUMNS`, ``Patient_ID, D5, D4, D3``.

    Args:
      path: a table.
      patient_key: maps a cell to the id that the images use, or to None.
      columns: of the report table; where the grades have its column of studies or accessions, too,
        that says which study of a patient was graded.

    Returns:
      (level -> grade 1..5 of each patient or study, rows with a cell that is no grade; empty cells
      are none).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a table of these columns, or a patient has two grades at one disc.
    """
    table = read_table(path, option="--grades")
    patient_index = table.column(PATIENT_COLUMN)
    discs = {table.column(disc): level for disc, level in LEVEL_OF_DISC.items()}
    ids = {
        kind: table.column(name)
        for kind in ("study", "accession")
        if (name := getattr(columns, kind)) and table.has(name)
    }
    lines: dict[Subject, Line[dict[str, int]]] = {}
    drops = []
    for number, cells in table.rows:
        where = f"grades row {number}"
        patient = None if is_blank(cells[patient_index]) else patient_key(cells[patient_index])
        written = {
            level: cells[index].strip().upper()
            for index, level in discs.items()
            if not is_blank(cells[index])
        }
        stated = {level: GRADES[grade] for level, grade in written.items() if grade in GRADES}
        if patient is None:
            drops.append(Drop(where, Reason.BAD_GRADE, "no patient id"))
        elif len(stated) < len(written):
            drops.append(Drop(where, Reason.BAD_GRADE))
        else:
            subject = Subject(patient, **{kind: normal_id(cells[i]) for kind, i in ids.items()})
            line = lines.setdefault(subject, Line(f"{path} row {number}", subject, {}))
            if any(line.codes.setdefault(level, grade) != grade for level, grade in stated.items()):
                raise ValueError(
                    f"{path} row {number} grades a disc of a patient otherwise than a row above: "
                    "keep one of them"
                )
    return list(lines.values()), drops
