"""The slices that the authors of the published set picked, as their tables name them.

The folder ``09_Source_Code/03_Extract_Best_Slices`` of the published code holds ``Slices
Numbers.csv`` (a patient and the numbers of three slices, counted from 1 over a series' files in
natural order) and ``T1_Subfolders.csv``, ``T2_Subfolders.csv`` (a patient and the beginning of the
series folder's name).
"""

import csv
import dataclasses
import pathlib
import re
from collections.abc import Iterator

from data_prep.records.schema import SEQUENCES

NUMBERS_FILE = "Slices Numbers.csv"
SUBFOLDERS_FILE = "{sequence}_Subfolders.csv"


@dataclasses.dataclass(frozen=True)
class SliceTables:
    """`numbers`: patient number -> three slice numbers; `folders`: sequence -> patient -> name."""

    numbers: dict[int, tuple[int, int, int]]
    folders: dict[str, dict[int, str]]


def read_slice_tables(folder: pathlib.Path) -> SliceTables:
    """Reads the three tables.

    Which number is which disc is not read from the column names but from the slices themselves: the
    highest is D3.

    Raises:
      FileNotFoundError: one of the tables is missing.
      ValueError: a row is not of the form above, or says another thing of a patient than one above.
    """
    numbers: dict[int, tuple[int, int, int]] = {}
    path = folder / NUMBERS_FILE
    for row, cells in _rows(path):
        if len(cells) != 4 or not all(cell.isdecimal() for cell in cells):
            raise ValueError(
                f"{path} row {row} is not a patient and three slice numbers: correct it"
            )
        patient, *slices = map(int, cells)
        _add(numbers, patient, tuple(slices), path, row)
    folders: dict[str, dict[int, str]] = {}
    for sequence in SEQUENCES:
        path = folder / SUBFOLDERS_FILE.format(sequence=sequence)
        folders[sequence] = {}
        for row, cells in _rows(path):
            if len(cells) != 2:
                raise ValueError(f"{path} row {row} is not a patient and a folder: correct it")
            _add(folders[sequence], int(cells[0]), cells[1], path, row)
    return SliceTables(numbers, folders)


def natural_order(path: pathlib.Path) -> list:
    """A key that sorts file 2 before file 10."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [int(part) if part.isdigit() else part for part in parts]


def _add(said: dict, patient: int, value: object, path: pathlib.Path, row: int) -> None:
    if said.setdefault(patient, value) != value:
        raise ValueError(
            f"{path} row {row} says another thing of a patient than a row above: keep one of them"
        )


def _rows(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that begin with a patient number; a first row of column names does not."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: correct --slice_tables")
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row, cells in enumerate(csv.reader(file), start=1):
            cells = [cell.strip() for cell in cells if cell.strip()]
            if cells and cells[0].isdecimal():
                yield row, cells
            elif cells and row > 1:
                raise ValueError(f"{path} row {row} does not begin with a patient number")
