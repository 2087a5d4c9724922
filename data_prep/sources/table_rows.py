"""The rows of a researcher's own table, an image each: what they say, read strictly."""

import dataclasses
import math
import re
from collections.abc import Sequence

from data_prep.records import schema
from data_prep.records.drops import Drop, Reason
from data_prep.records.levels import disc_named
from data_prep.records.pairing import normal_id
from data_prep.records.row_ids import path_in, without
from data_prep.records.texts import ANY_KIND
from data_prep.tables.table import Table, is_blank
from data_prep.text.reports import clean, report_group

# Column -> what is in it, for whoever fills a table. All others are labels, or further texts.
COLUMNS = {
    "path": "image below --images: PNG, JPEG, TIFF, DICOM, .mha or NIfTI",
    "patient": "whose it is; leaves as a pseudonym",
    "study": "which of the patient's studies, if there are several",
    "level": "L3-L4, L4-L5 or L5-S1; empty for a view of all discs",
    "plane": "axial or sagittal; empty: axial where there is a level",
    "sequence": "T1 or T2",
    "slice": "number from 0 in a file of several; empty: the middle one, of a TIFF the first",
    "spacing_mm": "pixel size of a PNG, JPEG or TIFF; empty: not known",
    "split": "train, validation or test; leave the column out to have it drawn",
    "report": "report of the patient; empty: a text is made from the labels",
}
FURTHER = "report_"
COMMENT = "#"
SEQUENCE = re.compile(r"(T[12])(W|WI)?([\W_].*)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An image as its row has it; what the row leaves open is None, and 0 for a pixel size.

    `sequence` is "" where it is neither T1 nor T2.
    """

    number: int
    path: str
    patient: str
    study: str | None
    level: str
    plane: str | None
    sequence: str | None
    slice: int | None
    picture_mm: float


class TableRows:
    """The table, without the rows whose path begins with #, which are comments.

    Raises:
      ValueError: it has no column path or patient, or two columns of one name.
    """

    def __init__(self, table: Table):
        index = table.column("path")
        rows = tuple(row for row in table.rows if not row[1][index].strip().startswith(COMMENT))
        self.table = dataclasses.replace(table, rows=rows)
        table.column("patient")
        named = without(table, tuple(COLUMNS))
        self.further = [column for column in named if column.lower().startswith(FURTHER)]
        self.labels = [column for column in named if column not in self.further]
        self._index = {name: table.column(name) for name in COLUMNS if table.has(name)}

    def entries(self) -> tuple[list[Entry], list[Drop]]:
        """The images of all rows, and the rows that are left out.

        Raises:
          ValueError: a cell is none of what its column may hold, two ids differ in zeros or case
            alone, or two rows are of one image; the sentence names the row.
        """
        entries, drops = [], []
        written: dict[str, str] = {}
        for number, cells in self.table.rows:
            said = self._said(cells)
            where = f"reports row {number}"
            patient = normal_id(said["patient"])
            path = path_in(said["path"])
            if written.setdefault(patient, said["patient"]) != said["patient"]:
                raise self._error(
                    number, "a patient id that differs from one above in zeros or case alone"
                )
            shows_all = said["level"].lower() in ("", schema.WHOLE_SPINE)
            level = schema.WHOLE_SPINE if shows_all else disc_named(said["level"])
            if not patient:
                drops.append(Drop(where, Reason.NO_PATIENT_ID))
            elif not path:
                drops.append(Drop(where, Reason.MISSING_IMAGE, "no path"))
            elif level not in (*schema.LEVELS, schema.WHOLE_SPINE):
                drops.append(Drop(where, Reason.BAD_LEVEL))
            else:
                entries.append(self._entry(number, path, patient, str(level), said))
        return entries, drops

    def reports(self, entries: Sequence[Entry]) -> dict[str, str]:
        """The report of each patient who has one.

        Raises:
          ValueError: two rows of a patient have different ones.
        """
        cells_of = dict(self.table.rows)
        reports: dict[str, str] = {}
        for entry in entries:
            text = clean(self._said(cells_of[entry.number])["report"])
            if is_blank(text):
                continue
            if report_group(reports.setdefault(entry.patient, text)) != report_group(text):
                raise self._error(
                    entry.number,
                    "another report than a row above of the same patient, who may have one: keep "
                    f"one, and put texts of single images into a column such as {FURTHER}image",
                )
        return reports

    def splits(self, entries: Sequence[Entry]) -> dict[str, str] | None:
        """patient -> split, or None where the table has no such column or nothing in it.

        Raises:
          ValueError: a row has no split while others have, or a patient two.
        """
        cells_of = dict(self.table.rows)
        said = {entry.number: self._said(cells_of[entry.number])["split"] for entry in entries}
        if not any(said.values()):
            return None
        splits: dict[str, str] = {}
        for entry in entries:
            split = schema.split_named(said[entry.number])
            if split is None or splits.setdefault(entry.patient, split) != split:
                raise self._error(
                    entry.number,
                    f"a split that is none of {', '.join(schema.SPLITS)}, or a second one of its "
                    "patient",
                )
        return splits

    def texts(self, entries: Sequence[Entry]) -> list[tuple[Entry, str, str, str]]:
        """(image, column, kind, text) of each further text."""
        cells_of = dict(self.table.rows)
        found = []
        for column in self.further:
            kind = re.sub("[^a-z]+", "_", column[len(FURTHER) :].lower()).strip("_") or ANY_KIND
            index = self.table.column(column)
            for entry in entries:
                text = clean(cells_of[entry.number][index])
                if not is_blank(text):
                    found.append((entry, column, kind, text))
        return found

    def _said(self, cells: Sequence[str]) -> dict[str, str]:
        """Column -> what the row says there, "" where nothing."""
        found = dict.fromkeys(COLUMNS, "")
        for name, index in self._index.items():
            found[name] = "" if is_blank(cells[index]) else cells[index].strip()
        return found

    def _entry(self, number: int, path: str, patient: str, level: str, said: dict) -> Entry:
        plane = said["plane"].lower()
        if plane and plane not in schema.PLANES:
            raise self._error(number, f"a plane that is none of {', '.join(schema.PLANES)}")
        sequence = SEQUENCE.fullmatch(said["sequence"])
        picture_mm = self._number(number, said, "spacing_mm")
        if picture_mm is not None and not 0.05 < picture_mm < 10:
            raise self._error(number, "a spacing_mm that is not from 0.05 to 10")
        index = self._number(number, said, "slice")
        if index is not None and (index < 0 or index % 1):
            raise self._error(number, "a slice that is no whole number from 0")
        return Entry(
            number,
            path,
            patient,
            f"{patient} {said['study']}" if said["study"] else None,
            level,
            plane or None,
            sequence[1].upper() if sequence else "" if said["sequence"] else None,
            None if index is None else int(index),
            picture_mm or 0.0,
        )

    def _number(self, number: int, said: dict, column: str) -> float | None:
        if not said[column]:
            return None
        try:
            found = float(said[column].replace(",", "."))
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise self._error(number, f"a {column} that is no number")
        return found

    def _error(self, number: int, what: str) -> ValueError:
        remedy = "" if ": " in what else ": correct it"
        return ValueError(f"{self.table.path} row {number} has {what}{remedy}")
