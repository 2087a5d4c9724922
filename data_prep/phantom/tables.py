"""The tables beside the pictures: the report workbook, grades, stated findings and the truth."""

import csv
import dataclasses
import datetime
import io
import json
import pathlib
import zipfile
from typing import Any

import openpyxl

from data_prep.phantom.anatomy import Patient
from data_prep.phantom.reports import Report
from data_prep.records import grades

REPORTS = "Radiologists Report.xlsx"
GRADES = "PfirrmannGrade.csv"
FINDINGS = "report_findings.jsonl"
TRUTH = "phantom_truth.csv"

# The earliest date a zip archive can hold, for every date a workbook would take from the clock.
_EPOCH = datetime.datetime(1980, 1, 1)


def write_reports(path: pathlib.Path, reports: dict[int, Report]) -> None:
    """`Sheet1` with `Patient ID` and `Clinician's Notes`, the same bytes for the same reports."""
    book = openpyxl.Workbook()
    sheet: Any = book.active  # of a new book, its one sheet
    sheet.title = "Sheet1"
    sheet.append(["Patient ID", "Clinician's Notes"])
    for number, report in reports.items():
        sheet.append([number, report.text or None])
    book.properties.created = book.properties.modified = _EPOCH
    clocked = io.BytesIO()
    book.save(clocked)
    with zipfile.ZipFile(clocked) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            if item.filename == "docProps/core.xml":
                # openpyxl stamps the time of saving over the property set above.
                content = _without_clock(content, book.properties.modified)
            entry = zipfile.ZipInfo(item.filename, _EPOCH.timetuple()[:6])
            target.writestr(entry, content, zipfile.ZIP_DEFLATED)


def write_grades(path: pathlib.Path, patients: list[Patient]) -> None:
    """The Pfirrmann grades of a patient's discs, from L5-S1 up, in the columns `grades.COLUMNS`."""
    rows = ([p.number, *(level.pfirrmann for level in reversed(p.levels))] for p in patients)
    _write_csv(path, grades.COLUMNS, rows)


def write_findings(path: pathlib.Path, reports: dict[int, Report]) -> None:
    """One JSON object a written report: `{"id", "findings", "levels"}`, what the report says."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, report in reports.items():
            if report.text:
                row = {"id": number, "findings": report.findings, "levels": report.levels}
                file.write(json.dumps(row) + "\n")


def write_truth(path: pathlib.Path, patients: list[Patient]) -> None:
    """Every true parameter, one row a patient and level."""
    rows = [_truth_row(patient, level) for patient in patients for level in patient.levels]
    _write_csv(path, list(rows[0]), (row.values() for row in rows))


def _truth_row(patient, level):
    body = {f.name: getattr(patient, f.name) for f in dataclasses.fields(patient)}
    del body["levels"]
    body["shift_left_mm"], body["shift_back_mm"] = body.pop("shift_mm")
    disc = dataclasses.asdict(level)
    disc["centre_left_mm"], disc["centre_back_mm"], disc["centre_up_mm"] = disc.pop("centre_mm")
    derived = {
        "pfirrmann": level.pfirrmann,
        "protrusion_side": level.side,
        "sac_indentation_mm": level.sac_indentation_mm,
        "root_narrowing_left": level.root_narrowing("left"),
        "root_narrowing_right": level.root_narrowing("right"),
    }
    row = {"patient_id": body.pop("number"), "level": disc.pop("name"), **disc, **derived, **body}
    return {k: f"{v:.6g}" if isinstance(v, float) else _plain(v) for k, v in row.items()}


def _plain(value):
    return int(value) if isinstance(value, bool) else value


def _write_csv(path, header, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _without_clock(core_xml: bytes, saved: datetime.datetime) -> bytes:
    stamp, fixed = (f"{t:%Y-%m-%dT%H:%M:%SZ}".encode() for t in (saved, _EPOCH))
    return core_xml.replace(stamp, fixed)
