"""Labels belong to the report and study that they were made from, whatever else a patient has."""

import json

import pytest

from data_prep.build.inputs import read_inputs
from data_prep.label_reports import labelling
from data_prep.records.drops import Reason
from data_prep.records.findings import ABSENT, PRESENT
from data_prep.records.pairing import Line, Record, Subject, pair
from data_prep.records.scan import Columns, Inputs
from tests.archive_folder import Archive, table

COLUMNS = Columns(accession="Acc", report="Text")
FIRST, SECOND = "Disc bulge at L4-L5, first visit.", "No disc bulge, second visit."


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairing")
    archive = Archive(root / "archive")
    archive.study("7", "old", date="20190301")
    archive.study("7", "new", date="20210301")
    archive.study("8", "other")
    rows = [
        ("MRN", "Acc", "Text"),
        (7, "old", FIRST),
        (7, "new", SECOND),
        (8, "other", "Disc bulge."),
    ]
    table(root / "r.csv", rows)
    return root


def read(archive, **files):
    inputs = Inputs(archive / "archive", archive / "r.csv", columns=COLUMNS)
    material = read_inputs("folder", inputs, **files)
    return material, [drop.reason for drop in material.drops]


@pytest.mark.parametrize("id_column", ["MRN", "Acc"])
def test_labels_made_of_all_reports_join_the_one_that_was_taken(archive, tmp_path, id_column):
    labelling.run(
        archive / "r.csv",
        out_file=tmp_path / "f.jsonl",
        patient_column=id_column,
        report_column="Text",
    )
    material, reasons = read(archive, findings_file=tmp_path / "f.jsonl")
    assert material.reports["7"] == SECOND
    assert {p: f.patient[0] for p, f in material.findings.items()} == {"7": ABSENT, "8": PRESENT}
    assert material.findings["7"].levels["L4-L5"][0] == ABSENT
    left_out = {"MRN": Reason.LABELS_OF_ANOTHER, "Acc": Reason.FINDINGS_WITHOUT_IMAGE}
    assert reasons.count(left_out[id_column]) == 1


@pytest.mark.parametrize(
    ("ids", "known", "reason"),
    [
        ({}, False, Reason.LABELS_AMBIGUOUS),
        ({"accession": " NEW"}, True, None),
        ({"accession": "old"}, False, Reason.LABELS_OF_ANOTHER),
    ],
)
def test_labels_by_hand(archive, tmp_path, ids, known, reason):
    rows = [
        {"id": "7", "findings": {"disc_bulge": "present"}} | ids,
        {"id": "8", "findings": {"disc_bulge": "absent"}},
    ]
    (tmp_path / "f.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    material, reasons = read(archive, findings_file=tmp_path / "f.jsonl")
    assert ("7" in material.findings) == known
    assert material.findings["8"].patient[0] == ABSENT
    assert (reason in reasons) == (reason is not None)


def test_grades_name_their_study_too(archive, tmp_path):
    rows = "7,1,1,1\n8,2,2,2\n"
    (tmp_path / "g.csv").write_text("Patient_ID,D5,D4,D3\n" + rows)
    material, reasons = read(archive, grades_file=tmp_path / "g.csv")
    assert set(material.grades) == {"8"}
    assert reasons.count(Reason.LABELS_AMBIGUOUS) == 1
    rows = "7,old,1,1,1\n7,New,5,4,3\n8,,2,2,2\n"
    (tmp_path / "g.csv").write_text("Patient_ID,acc,D5,D4,D3\n" + rows)
    material, reasons = read(archive, grades_file=tmp_path / "g.csv")
    assert material.grades["7"] == {"L5-S1": 5, "L4-L5": 4, "L3-L4": 3}
    assert set(material.grades) == {"7", "8"}
    assert reasons.count(Reason.LABELS_OF_ANOTHER) == 1


def test_labels_of_other_reports_are_refused(archive, tmp_path):
    line = {"id": "8", "report": "0" * 16, "findings": {"disc_bulge": "absent"}}
    (tmp_path / "f.jsonl").write_text(json.dumps(line))
    with pytest.raises(ValueError, match=r"f.jsonl labels none of the reports: make it from this"):
        read(archive, findings_file=tmp_path / "f.jsonl")


def test_two_labels_of_one_record_must_agree():
    lines = [Line("row 1", Subject("7"), 1), Line("row 2", Subject("7", accession="a"), 2)]
    records = {"7": Record("r", accession="a")}
    how = {"what": "grades", "unpaired": Reason.GRADES_WITHOUT_IMAGE}
    with pytest.raises(ValueError, match="row 1 and row 2 hold different labels of one report"):
        pair(lines, records, **how)
    assert pair(lines[:1] * 2, records, **how) == ({"7": 1}, [])
