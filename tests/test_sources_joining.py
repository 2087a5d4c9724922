"""Reports that belong to no study, and columns that are not there: errors that help."""

import pytest

from data_prep.records.scan import Columns
from tests.archive_folder import COLUMNS, PATIENTS, Archive, accession, scan, table
from tests.data_prep_cohort import CANARY


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    archive = Archive(tmp_path_factory.mktemp("archive"))
    for patient in PATIENTS:
        archive.study(patient, accession(patient))
    return archive.root


ERRORS = {
    "no columns": (Columns(), "needs --report_column and at least one of .* has the columns 'MRN'"),
    "no report column": (Columns(patient="MRN"), "needs --report_column"),
    "unknown column": (
        Columns(patient="Patient", report="Text"),
        r"no column 'Patient' \(found: 'MRN', 'Acc', 'Text'\): .* or correct --patient_column",
    ),
    "level alone": (
        Columns(patient="MRN", report="Text", level="Acc"),
        "need both --level_column and --image_column",
    ),
    "no match": (
        Columns(patient="Acc", report="Text"),
        r"none of 3 reports belongs to one of 3 studies: column .Acc. holds 3 values and the "
        r"headers 3 patient ids, 0 of them equal \(but 3 are accession numbers of the headers, so "
        r"try --accession_column='Acc'\): name the columns",
    ),
    "no match together": (
        Columns(patient="MRN", accession="Text", report="Text"),
        "3 of them equal; column .Text. holds 3 values .* 0 of them equal and no row matches in",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_columns_are_one_helpful_sentence(case, archive, tmp_path):
    columns, sentence = ERRORS[case]
    rows = [("MRN", "Acc", "Text"), *((p, accession(p), f"report {p}") for p in PATIENTS)]
    with pytest.raises(ValueError, match=sentence) as caught:
        scan(archive, table(tmp_path / "r.csv", rows), columns)
    message = str(caught.value).replace(str(tmp_path), "")
    assert "\n" not in message
    assert not any(patient in message for patient in (CANARY, *PATIENTS))


def test_ids_that_a_spreadsheet_would_mix_up_are_refused(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("0042", "a")
    archive.study("42", "b")
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (42, "a")])
    with pytest.raises(
        ValueError, match="two patient ids of the headers differ in leading"
    ) as caught:
        scan(archive.root, reports, COLUMNS)
    assert "42" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"levels": "table"}, "--levels=table is for the published set"),
        ({"levels": "column"}, "need both --level_column and --image_column"),
    ],
)
def test_levels_that_cannot_be_told(archive, tmp_path, options, sentence):
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (17, "a")])
    with pytest.raises(ValueError, match=sentence):
        scan(archive, reports, COLUMNS, **options)


def test_a_folder_without_axial_slices_is_an_error(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.series({"PatientID": "7"}, "T2", view="sag")
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")])
    with pytest.raises(ValueError, match="holds no axial T1 or T2 MR slices"):
        scan(archive.root, reports, COLUMNS)
