"""Report tables, their texts, and the labels that go with them."""

import pytest
from openpyxl import Workbook

from data_prep.records.drops import Reason
from data_prep.records.grades import read_grades
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


def test_what_stands_for_nothing_is_no_report_and_no_id(tmp_path):
    rows = ["1,#N/A", "2,--", "3,<NA>", "4,0", "5,0017", "NaN,a", "#REF!,b", "7,None of note", ","]
    (tmp_path / "table.csv").write_text("\n".join(["Patient ID,Clinician's Notes", *rows]))
    texts, drops = reports.read_reports(
        tmp_path / "table.csv",
        patient_column="Patient ID",
        report_column="Clinician's Notes",
        patient_key=lambda cell: cell or None,
    )
    assert texts == {"5": "0017", "7": "None of note"}
    assert [(drop.location, drop.reason) for drop in drops] == [
        *((f"reports row {row}", Reason.REPORT_EMPTY) for row in (2, 3, 4, 5)),
        *((f"reports row {row}", Reason.REPORT_BAD_ID) for row in (7, 8)),
    ]


def test_a_table_without_any_report_is_refused(tmp_path):
    workbook = Workbook()
    for row in (("Patient ID", "Clinician's Notes"), (1, '="a"'), (2, '="b"'), ("x", "text")):
        workbook.active.append(row)
    workbook.save(tmp_path / "table.xlsx")
    with pytest.raises(
        ValueError, match=r"no report in 3 rows, in 2 the row has no report text, in 1 .*formulas"
    ):
        read(tmp_path / "table.xlsx")


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("L4-L5 :  Bulge.", "L4-L5 : Bulge."),
        ("a\r\nb\rc\n\n\nd", "a\nb\nc\nd"),
        ("a\vb\fc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("zero\u200bwidth\u00a0space\x07", "zerowidth space"),
        ("e\u0301", "\u00e9"),
        ("line_x000D_\nfeed", "line\nfeed"),
        ("one_x000A_two_x0009_three _x2013_ four_xD83D_", "one\ntwo three \u2013 four"),
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


def grades_of(path, rows):
    path.write_text("Patient_ID,D5,D4,D3\n" + rows)
    lines, drops = read_grades(path, patient_key=mendeley.patient_key)
    return {line.subject.patient: line.codes for line in lines}, drops


def test_grades_join_by_disc(tmp_path):
    rows = "1,5,,3\n2,6,1,1\n3,1,1,x\n\nNA,1,1,1\n4,1.0, III,nan\n5,2.5,1,1\n"
    grades, drops = grades_of(tmp_path / "grades.csv", rows)
    assert grades == {"0001": {"L5-S1": 5, "L3-L4": 3}, "0004": {"L5-S1": 1, "L4-L5": 3}}
    assert [(drop.location, drop.reason) for drop in drops] == [
        (f"grades row {row}", Reason.BAD_GRADE) for row in (3, 4, 6, 8)
    ]


def test_a_disc_is_graded_once(tmp_path):
    grades, drops = grades_of(tmp_path / "grades.csv", "1,5,,3\n0001,5,4,\n1.0,5,4,3\n")
    assert (grades, drops) == ({"0001": {"L5-S1": 5, "L4-L5": 4, "L3-L4": 3}}, [])
    with pytest.raises(ValueError, match=r"grades.csv row 4 grades a disc of a patient otherwise"):
        grades_of(tmp_path / "grades.csv", "1,5,,3\n2,1,1,1\n0001,4,,3\n")
