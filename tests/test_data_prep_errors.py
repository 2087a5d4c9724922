"""Bad input is one sentence with a remedy, exit status 2 and no traceback."""

import csv
import pathlib
import subprocess
import sys
import zipfile

import pytest

from data_prep.build import build
from tests import data_prep_cohort as cohort
from tests.archive_folder import COLUMNS, Archive, table


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    cohort.write_slices(root, 4, 8, sequences=("T1",))
    cohort.write_reports(root / "reports.csv", 4)
    (root / "other.csv").write_text("Patient ID,Clinician's Notes\n77,of somebody else\n")
    (root / "columns.csv").write_text("Patient,Text\n1,a\n")
    (root / "empty.csv").write_text("")
    (root / "latin.csv").write_bytes(b"Patient ID,Clinician's Notes\n1,caf\xe9\n")
    (root / "broken.xlsx").write_bytes(b"PK no zip")
    (root / "reports.doc").write_text("a")
    with zipfile.ZipFile(root / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"<c/>" * 2**21)
    (root / "grades.csv").write_text("Patient_ID,D5\n1,2\n")
    (root / "findings.jsonl").write_text('{"id": 1, "findings": {"disc_bulg": "present"}}\n')
    (root / "key").write_text("no key")
    (root / "nothing").mkdir()
    (root / "a_file").write_text("")
    return root


CASES = {
    "no images folder": (
        {"images_dir": "nowhere"},
        "there is no folder .*nowhere: correct --images",
    ),
    "no known layout": ({"images_dir": "nothing"}, "neither 01_MRI_Data .* nor 04_Interm.*: point"),
    "no reports": ({"reports_file": "nowhere.xlsx"}, "no file .*nowhere.xlsx: correct --reports"),
    "reports format": ({"reports_file": "reports.doc"}, "neither .xlsx nor .csv nor .parquet"),
    "empty table": ({"reports_file": "empty.csv"}, "an empty table: correct --reports"),
    "columns": ({"reports_file": "columns.csv"}, "no column 'Patient ID' .*'Patient', 'Text'"),
    "encoding": ({"reports_file": "latin.csv"}, "not a CSV table in UTF-8: save"),
    "broken xlsx": ({"reports_file": "broken.xlsx"}, "not a readable .xlsx file: save"),
    "xlsx bomb": ({"reports_file": "bomb.xlsx"}, "unpacks to 8 MB, .*: save it again"),
    "no pairs": ({"reports_file": "other.csv"}, "no patient has both .*4 with images, 1 with rep"),
    "no grades": ({"grades_file": "nowhere.csv"}, "no file .*nowhere.csv: correct --grades"),
    "grade columns": ({"grades_file": "grades.csv"}, "no column 'D3' .*correct --grades"),
    "no findings": ({"findings_file": "nowhere"}, "no file .*nowhere: correct --findings"),
    "findings": ({"findings_file": "findings.jsonl"}, "findings.jsonl line 1 is not a findings"),
    "split name": ({"split_shares": "training=1"}, "names 'training', unknown or twice: write"),
    "split sum": ({"split_shares": "train=0.7,test=0.2"}, "sums to 0.9, not 1: write --splits"),
    "split number": ({"split_shares": "train=x"}, "gives train no number: write --splits like"),
    "empty split": ({"split_shares": "train=0.9,test=0.1"}, "leave the split 'test' empty: give"),
    "key": ({"key_file": "key"}, "key must hold 64 lower-case hex digits: restore"),
    "size": ({"size_px": 0}, "--size_px is 0: choose a number from 1 to"),
    "existing folder": ({"out_dir": "nothing"}, "exists and is no data set of ours: choose"),
    "no folder": ({"out_dir": "a_file/set"}, "a_file cannot be written: choose another --out"),
    "key inside": ({"key_file": "set/key", "out_dir": "set"}, "lie with the data: move it out"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence(case, inputs, tmp_path):
    changes, sentence = CASES[case]
    options = {
        "images_dir": inputs,
        "reports_file": inputs / "reports.csv",
        "out_dir": tmp_path / "set",
        "split_shares": "test=1",
    }
    for name, value in changes.items():
        options[name] = inputs / value if name.endswith(("file", "dir")) else value
    before = sorted(inputs.iterdir())
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
        build(**options)
    assert "\n" not in str(caught.value)
    assert sorted(inputs.iterdir()) == before
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".key"]


def test_an_archive_that_is_left_out_whole_says_why_and_lists_it(tmp_path):
    archive = Archive(tmp_path / "archive")
    for patient in ("7", "8"):
        archive.series({"PatientID": patient}, "T2", view="sag")
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a"), (8, "b")])
    out = tmp_path / "out" / "set"
    with pytest.raises(ValueError, match=r"no axial.*left out are 2 not_axial .a sagittal.*: see "):
        build(archive.root, reports, out, source="folder", columns=COLUMNS)
    with out.with_name("set.dropped.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [row["reason"] for row in listed] == ["not_axial"] * 2
    assert all((archive.root / row["location"]).is_file() for row in listed)
    assert sorted(path.name for path in out.parent.iterdir()) == ["set.dropped.csv", "set.key"]


def test_the_ready_slices_without_one_that_is_an_image(inputs, tmp_path):
    slices = tmp_path / "images" / "04_Intermediary_Ground_Truth_Data" / "T1_Output"
    slices.mkdir(parents=True)
    (slices / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"no image can be used; left out are 1 unknown_file "):
        build(tmp_path / "images", inputs / "reports.csv", tmp_path / "set")


def test_the_command_exits_with_2(tmp_path):
    command = [sys.executable, "-m", "data_prep.build", "--images=nowhere", "--reports=nowhere.csv"]
    result = subprocess.run(
        [*command, f"--out={tmp_path / 'set'}"],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert result.returncode == 2
    assert result.stderr == "error: there is no file nowhere.csv: correct --reports\n"


def test_the_command_builds(inputs, tmp_path):
    command = [sys.executable, "-m", "data_prep.build", f"--images={inputs}", "--splits=test=1"]
    result = subprocess.run(
        [*command, f"--reports={inputs / 'reports.csv'}", f"--out={tmp_path / 'set'}"],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert result.returncode == 0, result.stderr
    assert "test: 12 images of 4 patients, 4 different reports" in result.stdout
    assert (tmp_path / "set.key").stat().st_mode & 0o077 == 0
