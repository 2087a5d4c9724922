"""Tables as people and programs save them: read as they look in a spreadsheet, or refused."""

import datetime
import decimal
import re
import zipfile

import openpyxl
import pytest

from data_prep.tables.table import is_blank, read_table
from tests.bombs import workbook

ROWS = [["ID", "Report"], ["0001", "one"], ["0002", "two"]]
READ = ((2, ("0001", "one")), (3, ("0002", "two")))


def read(path):
    return read_table(path, option="--reports")


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def saved(path, rows, *, change=lambda book: None):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book)
    book.save(path)
    return path


def parquet(path, columns):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    names, values = zip(*columns, strict=True)
    arrays = [pyarrow.array(*each) if isinstance(each, tuple) else each for each in values]
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(names)), path)
    return path


def test_the_exact_name_of_a_column_wins(tmp_path):
    table = read(written(tmp_path / "t.csv", "Patient ID,patient_id,Report\n1,2,a\n"))
    assert [table.column(name) for name in ("patient_id", "Patient ID", "REPORT")] == [1, 0, 2]
    with pytest.raises(
        ValueError, match=r"2 columns that could be 'PatientID' \('Patient ID', 'patient_id'\)"
    ):
        table.column("PatientID", option="--patient_column")


def test_a_name_that_two_columns_have_is_refused_where_it_is_asked_for(tmp_path):
    content = "ID,Report,Remark,Remark,Report\n1,a,b,c,d\n"
    table = read(written(tmp_path / "t.csv", content))
    assert table.column("ID") == 0
    with pytest.raises(ValueError, match=r"t.csv has 2 columns that could be 'Report'.*--reports"):
        table.column("Report")


def test_columns_without_a_name_are_no_ones(tmp_path):
    table = read(written(tmp_path / "t.csv", ",#,ID\n0,5,1\n"))
    assert table.column("#") == 1
    with pytest.raises(ValueError, match="has no column '--'"):
        table.column("--")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("ID,Report\n0001,one\n0002,two\n", READ),
        ("ID;Report\n0001;one\n0002;two\n", READ),
        ("ID\tReport\n0001\tone\n0002\ttwo", READ),
        ("\ufeffID,Report\r0001,one\r0002,two\r", READ),
        ("sep=;\r\nID;Report\r\n0001;one\r\n0002;two\r\n", READ),
        ("sep=/\nID/Report\n0001/one\n0002/two\n", READ),
        ("ID|Report\n0001|one\n0002|two\n", READ),
        ("\n,,\nID,Report\n\n0001,one\n ,\n0002,two,,\n", ((5, READ[0][1]), (7, READ[1][1]))),
        ('ID,Report\n0001,"one\n1"\n0002,"a ""b"""\n', ((2, ("0001", "one\n1")),
                                                         (3, ("0002", 'a "b"')))),
        ('ID;Report;"Age, sex, weight, height"\n1;a;b\n', ((2, ("1", "a", "b")),)),
        ('"First,\nsecond, third";Report\n1;a\n', ((2, ("1", "a")),)),
        ("ID,Report\n1,a\0\n", ((2, ("1", "a\0")),)),
    ],
)  # fmt: skip
def test_separated_values_in_many_forms(content, rows, tmp_path):
    assert read(written(tmp_path / "t.csv", content)).rows == rows


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("\nID,Report\n1,ok\n2,Mild bulge, L4-L5, no stenosis\n", "row 4 has more cells than the"),
        ("ID,Report,,\n1,Mild bulge, L4-L5\n", "row 2 has more cells than the header, the"),
        ("Export of 2020,\nID,Report\n1,a\n", "row 2 .* put quotes .* or delete what is above"),
        ('ID,Report\n1,a\n2,"the \\"black\\" disc"\n', "row 3 is no row of CSV: write a quote"),
        ("ID,Report\n1,caf\u00e9\n".encode("cp1252"), "is not a CSV table in UTF-8: save it"),
        ("ID,Report\n1,a\n".encode("utf-16"), "is not a CSV table in UTF-8: save it"),
        ("\n,,\n", "is an empty table: correct --reports"),
    ],
)
def test_separated_values_that_would_be_misread(content, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read(written(tmp_path / "t.csv", content))


def test_a_row_may_end_before_a_column_that_no_one_asks_for(tmp_path):
    table = read(written(tmp_path / "t.csv", "ID,Report,Remark\n1,first line\nsecond line,x\n2\n"))
    assert table.rows[-1] == (4, ("2", "", ""))
    assert table.column("ID") == 0
    with pytest.raises(ValueError, match=r"t.csv row 4 ends before the column 'Report': put quote"):
        table.column("Report")


@pytest.mark.parametrize("cell", ["2.02001E+11", "1e+15"])
def test_an_id_that_a_spreadsheet_shortened_is_refused(cell, tmp_path):
    table = read(written(tmp_path / "t.csv", f"ID,Report,x\n1,a,1E+02\n{cell},b,2e+03\n"))
    assert table.column("x") == 2
    with pytest.raises(ValueError, match="row 3 has a number in the column 'ID' that is too long"):
        table.column("ID")


def test_a_sheet_is_counted_from_its_corner(tmp_path):
    rows = [[], [], [None, "ID", "Report"], [None, 1, "a"], [], [None, "0002", "b", "scribbled"]]
    table = read(saved(tmp_path / "t.xlsx", rows))
    columns = [table.column(name) for name in ("ID", "Report")]
    assert [(row, [cells[i] for i in columns]) for row, cells in table.rows] == [
        (4, ["1", "a"]),
        (6, ["0002", "b"]),
    ]


def test_a_hidden_sheet_is_passed_over(tmp_path):
    def change(book):
        book.active.sheet_state = "hidden"
        sheet = book.create_sheet("shown")
        for row in ROWS:
            sheet.append(row)

    table = read(saved(tmp_path / "t.xlsx", [["Codes"], ["x"]], change=change))
    assert table.rows == READ


def test_reports_on_another_sheet_are_not_found(tmp_path):
    path = saved(tmp_path / "t.xlsx", [["ID"]], change=lambda book: book.create_sheet("Reports"))
    with pytest.raises(ValueError, match="no column 'Report' in its first visible sheet"):
        read(path).column("Report")


def test_merged_cells_count_once(tmp_path):
    path = saved(tmp_path / "t.xlsx", ROWS, change=lambda book: book.active.merge_cells("A2:A3"))
    assert read(path).rows == ((2, ("0001", "one")), (3, ("", "two")))


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (datetime.datetime(2020, 1, 2), "a date or time"),
        (datetime.time(4, 5), "a date or time"),
        (float(10**15 + 1), "a number in the column 'ID' that is too long"),
        (1.5e20, "a number in the column 'ID' that is too long"),
    ],
)
def test_cells_that_a_spreadsheet_changed(cell, what, tmp_path):
    table = read(saved(tmp_path / "t.xlsx", [*ROWS, [cell, "three"]]))
    assert table.column("Report") == 1
    with pytest.raises(ValueError, match=f"t.xlsx row 4 has {what}"):
        table.column("ID")


STRINGS = b"<si><t>ID</t></si><si><t>Report</t></si><si><r><t>0</t></r><r><t>1</t></r></si>"


@pytest.mark.parametrize(
    "empty",
    [
        b'<c r="B2" t="s"><v/></c>',
        b'<c r="B2" t="s"><v></v></c>',
        b"<c t='s' r='B2' s='0'><v xml:space='preserve'></v></c>",
        b'<c r="B2" t="s"/>',
        b'<c r="B2" t="e"><v>#REF!</v></c>',
        b'<c r="B2"><f>A1</f></c>',
        b'<c r="B2" t="str"><f>A1</f><v></v></c>',
        b'<c r="XFD1048576" s="0"/>',
    ],
)
def test_cells_without_a_value_are_empty(empty, tmp_path):
    cells = b"".join(
        b'<row r="%d"><c r="A%d" t="s"><v>%d</v></c>%b</row>' % (row, row, string, rest)
        for row, string, rest in ((1, 0, b'<c r="B1" t="s"><v>1</v></c>'), (2, 2, empty))
    )
    workbook(tmp_path / "t.xlsx", sheet=b"<sheetData>" + cells + b"</sheetData>", shared=STRINGS)
    table = read(tmp_path / "t.xlsx")
    assert (table.columns, table.rows) == (("ID", "Report"), ((2, ("01", "")),))


def test_reading_aids_and_escapes_in_shared_strings(tmp_path):
    strings = (
        b"<si><r><t>Pat</t></r><r><rPr><b/></rPr><t>ID</t></r><rPh sb='0' eb='1'><t>KANA</t></rPh>"
        b"</si><si><t>a_x000A_b_x0009_c</t></si>"
    )
    cells = b'<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c>'
    sheet = b"<sheetData>" + cells + b"</row></sheetData>"
    workbook(tmp_path / "t.xlsx", sheet=sheet, shared=strings)
    table = read(tmp_path / "t.xlsx")
    assert (table.columns, table.rows) == (("PatID",), ((2, ("a\nb\tc",)),))


def test_a_word_in_the_last_corner_of_a_sheet_is_refused(tmp_path):
    def change(book):
        book.active["XFD1048576"] = "far"

    with pytest.raises(ValueError, match="a sheet of 1048576 rows and 16384 columns"):
        read(saved(tmp_path / "t.xlsx", ROWS, change=change))


def test_a_mended_workbook_keeps_its_other_parts(tmp_path):
    path = saved(tmp_path / "t.xlsx", [*ROWS, [3, datetime.date(2020, 1, 2)]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = next(name for name in parts if "worksheets/" in name)
    cell = rb'<c r="B2"[^>]*>.*?</c>'
    parts[sheet] = re.sub(cell, b'<c r="B2" t="s"><v></v></c>', parts[sheet], count=1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    table = read(path)
    assert [cells for _, cells in table.rows] == [
        ("0001", ""), ("0002", "two"), ("3", "2020-01-02")
    ]  # fmt: skip
    with pytest.raises(ValueError, match="row 4 has a date"):
        table.column("Report")


def test_parquet_of_many_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    path = parquet(
        tmp_path / "t.parquet",
        [
            ("bytes", ([b"0001", "\u00fc".encode(), None],)),
            ("words", pyarrow.array(["a", "b", "a"]).dictionary_encode()),
            ("large", (["x", "y", "z"], pyarrow.large_string())),
            ("float", ([12.0, float("nan"), 1.5],)),
            ("decimal", ([decimal.Decimal("12.00"), decimal.Decimal("12.50"), None],)),
            ("whole", ([10**17, 2, None],)),
        ],
    )
    table = read(path)
    assert [table.column(name) for name in table.columns] == list(range(6))
    assert table.rows == (
        (2, ("0001", "a", "x", "12", "12", str(10**17))),
        (3, ("\u00fc", "b", "y", "", "12.5", "2")),
        (4, ("", "a", "z", "1.5", "", "")),
    )


def test_parquet_columns_that_are_no_text_are_refused_where_asked_for(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    nanoseconds = pyarrow.array([None, 1], pyarrow.timestamp("ns"))
    path = parquet(
        tmp_path / "t.parquet",
        [
            ("ID", (["1", "2"],)),
            ("bytes", ([b"a", b"\xff\xfe"],)),
            ("when", nanoseconds),
            ("parts", ([["a"], None],)),
            ("twice", (["a", "b"],)),
            ("twice", (["c", "d"],)),
        ],
    )
    table = read(path)
    assert table.column("ID") == 0
    for name, sentence in {
        "bytes": "row 3 has bytes in the column 'bytes' that are not UTF-8",
        "when": "row 3 has a date or time in the column 'when'",
        "parts": "row 2 has a list or a structure in the column 'parts'",
        "twice": "has 2 columns that could be 'twice'",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            table.column(name)


@pytest.mark.parametrize(
    "cell",
    [
        "", " \n\t", "nan", "NaN", "-NaN", "None", "null", "NULL", "NA", "N/A", "n.a.", "n / a",
        "<NA>", "NaT", "nil", "#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#QNAN", "#VALUE!", "#REF!",
        "#NAME?", "#DIV/0!", "#NULL!", "#BEZUG!", "#\u00a1VALOR!", "#NV", "-", "--", "---", ".",
        "...", "—", "?", "/", "not available", "Not applicable.",
    ],
)  # fmt: skip
def test_spellings_of_nothing(cell):
    assert is_blank(cell)


@pytest.mark.parametrize("cell", ["0", "1", "NAD", "nanna", "#A123", "none seen", "無"])
def test_spellings_of_something(cell):
    assert not is_blank(cell)
