"""A table of one row an image that says which disc it shows."""

import collections
import datetime

import openpyxl
import pytest

from data_prep.records.drops import Reason
from data_prep.records.scan import Columns
from data_prep.sources import folder
from tests.archive_folder import Archive, accession, scan, table

COLUMNS = Columns(patient="MRN", report="Text", image="File", level="Disc")
HEADER = ("MRN", "Text", "File", "Disc")
LONG = "too long a name for any file " * 100 + "."


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    Archive(root).study("0018", accession("0018"))
    return root


def reasons(scan) -> dict:
    return collections.Counter(drop.reason for drop in scan.drops)


def level_rows(archive, levels) -> list[tuple]:
    """(patient, report, image, level) of the T1 of patient 0018: slice number -> level."""
    headers = {
        9 - header.instance: (path.relative_to(archive).as_posix(), header.image)
        for path in sorted(archive.rglob("IM*"))
        for header in folder.read_headers(path)
        if header.patient == "0018" and header.sequence == "T1"
    }
    return [("0018", "the report", *headers[number], level) for number, level in levels.items()]


def test_an_image_has_one_level(archive, tmp_path):
    right = level_rows(archive, {2: "L5-S1", 5: "L4-L5", 8: "L3-L4"})
    rows = [HEADER]
    for patient, text, path, uid, level in right:
        spelled = ".\\" + path.replace("/", "\\")
        rows += [(patient, text, spelled, level), (patient, text, path, level.replace("-", "/"))]
        rows.append((patient, text, uid, level))
    found = scan(archive, table(tmp_path / "r.csv", rows), COLUMNS)
    assert {i.level for i in found.images} == {"L5-S1", "L4-L5", "L3-L4"}
    assert not reasons(found).keys() & {Reason.BAD_LEVEL, Reason.MISSING_IMAGE}
    rows.append((*rows[2][:3], "L3-L4"))
    with pytest.raises(ValueError, match=r"r.csv row 11 gives an image another level than a row"):
        scan(archive, table(tmp_path / "r.csv", rows), COLUMNS)


def test_an_image_with_another_level_by_its_path_than_by_its_uid_is_left_out(archive, tmp_path):
    right = level_rows(archive, {2: "L5-S1", 5: "L4-L5", 8: "L3-L4"})
    rows = [HEADER, *((*row[:3], row[4]) for row in right)]
    rows.append((*right[0][:2], right[0][3], "L4-L5"))
    found = scan(archive, table(tmp_path / "r.csv", rows), COLUMNS)
    assert {i.level for i in found.images} == {"L4-L5", "L3-L4"}
    assert [d.location for d in found.drops if d.reason == Reason.BAD_LEVEL] == [right[0][2]]


def test_images_of_the_level_column_that_are_not_there_are_counted(archive, tmp_path):
    right = level_rows(archive, {2: "L5-S1", 5: "L4-L5", 8: "L3-L4"})
    rows = [HEADER, *((*row[:3], row[4]) for row in right)]
    rows += [("0018", "the report", name, "L4-L5") for name in ("no/where.dcm", "1.2.3.4", LONG)]
    found = scan(archive, table(tmp_path / "r.csv", rows), COLUMNS)
    missing = [drop.location for drop in found.drops if drop.reason == Reason.MISSING_IMAGE]
    assert missing == ["no/where.dcm", "1.2.3.4", LONG]


def test_levels_that_a_spreadsheet_took_for_dates_are_refused(archive, tmp_path):
    workbook = openpyxl.Workbook()
    workbook.active.append(HEADER)
    workbook.active.append(("0018", "the report", "1.2.3", datetime.date(2020, 5, 4)))
    workbook.save(tmp_path / "r.xlsx")
    with pytest.raises(ValueError, match=r"row 2 has a date or time in the column 'Disc'"):
        scan(archive, tmp_path / "r.xlsx", COLUMNS)
