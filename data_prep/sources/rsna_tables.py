"""The tables of RSNA 2024: severities, series and marks."""

import dataclasses
import math
import pathlib
import re

from data_prep.records import schema
from data_prep.records.drops import Drop, Reason
from data_prep.records.levels import LUMBAR, disc_named
from data_prep.tables.table import is_blank, read_table

IMAGES_FOLDER = "train_images"
CONDITIONS = {
    "spinal_canal_stenosis": "spinal canal stenosis",
    "left_neural_foraminal_narrowing": "left neural foraminal narrowing",
    "right_neural_foraminal_narrowing": "right neural foraminal narrowing",
    "left_subarticular_stenosis": "left subarticular stenosis",
    "right_subarticular_stenosis": "right subarticular stenosis",
}
SEVERITIES = ("Severe", "Moderate", "Normal/Mild")
# Canal stenosis is marked in the middle of the disc, foraminal narrowing in front of and above it.
SAGITTAL_CONDITIONS = (
    "spinal_canal_stenosis",
    "left_neural_foraminal_narrowing",
    "right_neural_foraminal_narrowing",
)

Severities = dict[str, dict[str, str]]  # level -> condition -> severity


@dataclasses.dataclass(frozen=True)
class Mark:
    """A point marked on an instance of a series, in pixels."""

    series: str
    instance: int
    condition: str
    level: str
    x_px: float
    y_px: float


@dataclasses.dataclass(frozen=True)
class Study:
    """What the tables say of a study: its axial series with their sequence, and its marks."""

    name: str
    axial: dict[str, str]
    marks: list[Mark]


def patient_key(cell: str) -> str | None:
    """A study number, which stands for a patient here, or None."""
    match = re.fullmatch(r"\s*([0-9]{1,12})(\.0)?\s*", cell)
    return match[1] if match else None


def read_severities(path: pathlib.Path) -> tuple[dict[str, Severities], list[Drop]]:
    """What train.csv says of every study: (study -> severities, rows and cells left out).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it lacks a column, or a study has two severities of one condition at a level.
    """
    table = read_table(path, option="--images")
    study_index = table.column("study_id")
    columns = [
        (level, condition, table.column(f"{condition}_{level.replace('-', '_').lower()}"))
        for level in LUMBAR
        for condition in CONDITIONS
    ]
    named = {severity.casefold(): severity for severity in SEVERITIES}
    found: dict[str, Severities] = {}
    drops = []
    for number, cells in table.rows:
        study = patient_key(cells[study_index])
        graded: Severities = {}
        for level, condition, index in columns:
            severity = named.get(cells[index].strip().casefold())
            if severity:
                graded.setdefault(level, {})[condition] = severity
            elif not is_blank(cells[index]):
                drops.append(Drop(f"train.csv row {number}", Reason.BAD_GRADE, condition))
        if not study:
            drops.append(Drop(f"train.csv row {number}", Reason.REPORT_BAD_ID))
        elif not graded:
            drops.append(Drop(f"train.csv row {number}", Reason.REPORT_EMPTY))
        elif found.setdefault(study, graded) != graded:
            raise ValueError(
                f"{path} row {number} grades a study otherwise than a row above: keep one of them"
            )
    return found, drops


def read_studies(root: pathlib.Path, drops: list[Drop]) -> list[Study]:
    """The studies with their axial series and the marks on their sagittal ones, by name.

    Args:
      root: the folder of the tables.
      drops: grows by what is left out.

    Raises:
      FileNotFoundError: a table is not there.
      ValueError: it lacks a column, or a series has two descriptions.
    """
    table = read_table(root / "train_series_descriptions.csv", option="--images")
    names = ("study_id", "series_id", "series_description")
    study_index, series_index, description_index = (table.column(name) for name in names)
    studies: dict[str, Study] = {}
    described: dict[tuple[str, str], str] = {}
    for number, cells in table.rows:
        study, series_id = patient_key(cells[study_index]), patient_key(cells[series_index])
        if not study or not series_id:
            drops.append(Drop(f"series descriptions row {number}", Reason.REPORT_BAD_ID))
            continue
        description = cells[description_index].strip().casefold()
        if (study, series_id) in described:
            if described[study, series_id] != description:
                raise ValueError(
                    f"{table.path} row {number} describes a series otherwise than a row above: "
                    "keep one of them"
                )
            continue
        described[study, series_id] = description
        found = studies.setdefault(study, Study(study, {}, []))
        view, _, sequence = description.upper().partition(" ")
        if view == "AXIAL" and sequence in schema.SEQUENCES:
            found.axial[series_id] = sequence
        else:
            drops.append(Drop(f"{IMAGES_FOLDER}/{study}/{series_id}", Reason.NOT_AXIAL))
    for study, mark in _read_marks(root / "train_label_coordinates.csv", drops):
        if study in studies:
            studies[study].marks.append(mark)
    return [studies[name] for name in sorted(studies)]


def _read_marks(path: pathlib.Path, drops: list[Drop]) -> list[tuple[str, Mark]]:
    table = read_table(path, option="--images")
    names = ("study_id", "series_id", "instance_number", "condition", "level", "x", "y")
    indices = [table.column(name) for name in names]
    marks: dict[tuple[str, ...], Mark] = {}
    for number, cells in table.rows:
        where = f"coordinates row {number}"
        *ids, condition, level, x, y = (cells[index].strip() for index in indices)
        study, series_id, instance = map(patient_key, ids)
        condition, level = condition.lower().replace(" ", "_"), disc_named(level)
        try:
            x_px, y_px = float(x), float(y)
        except ValueError:
            x_px = y_px = math.nan
        if not (study and series_id and instance and level and math.isfinite(x_px + y_px)):
            drops.append(Drop(where, Reason.BAD_LEVEL))
            continue
        if condition not in SAGITTAL_CONDITIONS or level not in schema.LEVELS:
            continue
        mark = Mark(series_id, int(instance), condition, level, x_px, y_px)
        if marks.setdefault((study, series_id, instance, condition, level), mark) != mark:
            drops.append(Drop(where, Reason.BAD_LEVEL, "another place than in a row above"))
    return [(study, mark) for (study, *_), mark in marks.items()]
