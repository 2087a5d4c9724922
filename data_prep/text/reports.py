"""The report table: reading, clean-up, and the normal form that makes two reports equal."""

import collections
import dataclasses
import hashlib
import pathlib
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence

from data_prep.records.drops import Drop, Reason
from data_prep.tables.table import is_blank, read_table
from data_prep.text.scrub import scrub

# How a spreadsheet stores a character that XML cannot hold; pandas writes them out as they are.
ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


@dataclasses.dataclass(frozen=True)
class Report:
    """A cleaned text and the row that it is from, for the list of what was left out."""

    row: str
    text: str


def read_reports(
    path: pathlib.Path,
    *,
    patient_column: str,
    report_column: str,
    patient_key: Callable[..., str | None],
    further_id_columns: Sequence[str] = (),
) -> tuple[dict[str, str], list[Drop]]:
    """Reads the one report of each patient; of several none, since nothing says which is meant.

    Args:
      path: a table.
      patient_column: header of the column of patient ids.
      report_column: header of the column of report texts.
      patient_key: maps the cells of the id columns to the id that the images use, or to None.
      further_id_columns: headers of columns that together with the first say whose report it is.

    Returns:
      (patient id -> cleaned report text in the order of the table, rows left out).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a table of the stated columns, or holds no report.
    """
    all_reports, drops = read_all_reports(
        path,
        patient_column=patient_column,
        report_column=report_column,
        patient_key=patient_key,
        further_id_columns=further_id_columns,
    )
    reports = {}
    for patient, found in all_reports.items():
        if len(found) == 1:
            reports[patient] = next(iter(found.values())).text
        else:
            drops += [Drop(report.row, Reason.REPORT_REPEATED) for report in found.values()]
    return reports, drops


def read_all_reports(
    path: pathlib.Path,
    *,
    patient_column: str,
    report_column: str,
    patient_key: Callable[..., str | None],
    further_id_columns: Sequence[str] = (),
) -> tuple[dict[str, dict[str, Report]], list[Drop]]:
    """As `read_reports`, but with all different reports of a patient.

    Returns:
      (patient id -> `report_group` -> the first such report, rows left out).
    """
    table = read_table(path, option="--reports")
    id_indices = [table.column(column) for column in (patient_column, *further_id_columns)]
    report_index = table.column(report_column)
    reports: dict[str, dict[str, Report]] = {}
    drops = []
    for number, cells in table.rows:
        row = f"reports row {number}"
        ids = ["" if is_blank(cells[index]) else cells[index] for index in id_indices]
        patient = patient_key(*ids)
        text = clean(cells[report_index])
        if patient is None:
            drops.append(Drop(row, Reason.REPORT_BAD_ID))
        elif is_blank(text) or text == "0":  # what a formula makes of an empty cell
            drops.append(Drop(row, Reason.REPORT_EMPTY))
        else:
            reports.setdefault(patient, {}).setdefault(report_group(text), Report(row, text))
    if not reports:
        counts = collections.Counter(drop.reason.meaning for drop in drops)
        why = "".join(f", in {count} {meaning}" for meaning, count in counts.items())
        raise ValueError(
            f"{path} holds no report in {len(table.rows)} rows{why}: correct the columns, or save "
            "it again with the values of its formulas"
        )
    return reports, drops


def scrub_reports(
    reports: Mapping[str, str], identities: Mapping[str, Collection[str]]
) -> tuple[dict[str, str], dict[str, int]]:
    """Takes identities out of every report.

    Args:
      reports: patient -> text.
      identities: patient -> what the headers of that patient's images say of persons.

    Returns:
      (patient -> text without them, how many were taken out by category).
    """
    removed: collections.Counter[str] = collections.Counter()
    scrubbed = {}
    for patient, text in reports.items():
        scrubbed[patient], counts = scrub(text, identities.get(patient, ()))
        removed.update(counts)
    return scrubbed, dict(sorted(removed.items()))


def clean(text: str) -> str:
    """A text as written, in Unicode NFC, without control characters and surplus white space.

    Line breaks stay: they separate a report's statements.
    """
    text = ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", text)
    text = "".join(
        " " if char.isspace() and char != "\n" else char
        for char in text
        if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    lines = (re.sub(" +", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()


def normal_form(text: str) -> str:
    """The text without case, punctuation and surplus white space."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", text).strip()


def report_group(text: str) -> str:
    """16 hex digits, equal for two reports exactly when their normal forms are."""
    return hashlib.sha256(normal_form(text).encode()).hexdigest()[:16]
