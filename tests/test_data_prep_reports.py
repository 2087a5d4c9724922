"""Report tables, their texts, and the labels that go with them."""

import json

import pytest
from openpyxl import Workbook

from data_prep import labels, tables
from data_prep.drops import Reason
from data_prep.grades import read_grades
from data_prep.pairing import Subject
from data_prep.sources import mendeley
from data_prep.text import reports


def read(path):
    return reports.read_reports(
        path,
        patient_column=mendeley.PATIENT_COLUMN,
        report_column=mendeley.REPORT_COLUMN,
        patient_key=mendeley.patient_key,
    )


def test_xlsx_and_csv_tables_say_the_same(tmp_path):
    rows = [
        ("Patient ID", "Clinician's Notes", "Remark"),
        (1, "One\n\n  two\tthree ", "x"),
        (18.0, None, None),
        ("0020", "nan", None),
        (21, "One two three", None),
    ]
    workbook = Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(tmp_path / "table.xlsx")
    (tmp_path / "table.csv").write_text(
        "remark, CLINICIAN’S notes ,Patient_ID\n"
        '"x","One\n\n  two\tthree ",1\n,,18\n,nan,0020\n,One two three,21\n',
        encoding="utf-8-sig",
    )
    for name in ("table.xlsx", "table.csv"):
        texts, drops = read(tmp_path / name)
        assert texts == {"0001": "One\ntwo three", "0021": "One two three"}
        assert [(drop.location, drop.reason) for drop in drops] == [
            ("reports row 3", Reason.REPORT_EMPTY),
            ("reports row 4", Reason.REPORT_EMPTY),
        ]


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("L4-L5 :  Bulge.", "L4-L5 : Bulge."),
        ("a\r\nb\rc\n\n\nd", "a\nb\nc\nd"),
        ("a\vb\fc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("zero\u200bwidth\u00a0space\x07", "zerowidth space"),
        ("e\u0301", "\u00e9"),
        ("line_x000D_\nfeed", "line\nfeed"),
        (" \n ", ""),
    ],
)
def test_texts_keep_their_words(written, cleaned):
    assert reports.clean(written) == cleaned
    assert reports.clean(cleaned) == cleaned


def test_reports_are_equal_up_to_case_space_and_punctuation():
    one = reports.report_group("No disc lesion.\nL4/L5: normal")
    assert one == reports.report_group("NO  disc lesion L4-L5 normal")
    assert one != reports.report_group("Disc lesion. L4/L5: normal")
    assert len(one) == 16


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("1", "0001"),
        (" 575 ", "0575"),
        ("0012", "0012"),
        ("18.0", "0018"),
        ("1.5", None),
        ("", None),
        ("7a", None),
        ("../1", None),
    ],
)
def test_patient_keys_are_folder_names(cell, key):
    assert mendeley.patient_key(cell) == key


def test_findings_become_codes_of_the_patient_and_of_each_level(tmp_path):
    row = {
        "id": 7,
        "findings": {
            "disc_bulge": "present",
            "disc_protrusion": "present",
            "disc_extrusion": "absent",
            "annular_tear": "uncertain",
            "muscle_spasm": "present",
        },
        "levels": {"L4-L5": ["disc_bulge"], "L1-L2": ["disc_bulge"]},
    }
    (tmp_path / "findings.jsonl").write_text(json.dumps(row) + "\n\n")
    (line,) = labels.read_findings(tmp_path / "findings.jsonl", patient_key=mendeley.patient_key)
    assert line.subject == Subject("0007")
    findings = line.codes
    assert findings.patient == (1, 1, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 0)
    # The protrusion is stated without a level and the tear is hedged: either may be at any level.
    assert findings.levels["L4-L5"] == (1, 3, 2, 0, 0, 0, 0, 3)
    assert findings.levels["L5-S1"] == (0, 3, 2, 0, 0, 0, 0, 3)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"id": 1}', '{"id": 1, "findings": {"disc_bulge": "maybe"}}',
     '{"id": 1, "findings": {}, "levels": {"L4-L5": ["bulge"]}}'],
)  # fmt: skip
def test_a_bad_line_is_named(line, tmp_path):
    path = tmp_path / "findings.jsonl"
    path.write_text('{"id": 3, "findings": {}}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2 is not a findings object: correct it"):
        labels.read_findings(path, patient_key=mendeley.patient_key)


def test_a_patient_labelled_twice_is_named(tmp_path):
    path = tmp_path / "findings.jsonl"
    path.write_text('{"id": 3, "findings": {}}\n' * 2)
    with pytest.raises(ValueError, match="line 2 has no id or one seen before"):
        labels.read_findings(path, patient_key=mendeley.patient_key)


def test_grades_join_by_disc(tmp_path):
    (tmp_path / "grades.csv").write_text("Patient_ID,D5,D4,D3\n1,5,,3\n2,6,1,1\n3,1,1,x\n")
    (line,), drops = read_grades(tmp_path / "grades.csv", patient_key=mendeley.patient_key)
    assert (line.subject, line.codes) == (Subject("0001"), {"L5-S1": 5, "L3-L4": 3})
    assert [(drop.location, drop.reason) for drop in drops] == [
        ("grades row 3", Reason.BAD_GRADE),
        ("grades row 4", Reason.BAD_GRADE),
    ]


def test_short_rows_have_empty_cells(tmp_path):
    (tmp_path / "table.csv").write_text("a,b,c\n1\n1,2,3,4\n")
    table = tables.read_table(tmp_path / "table.csv", option="--reports")
    assert table.rows == ((2, ("1", "", "")), (3, ("1", "2", "3")))
