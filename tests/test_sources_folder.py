"""Any archive and any table: joined by what headers say, with errors that help and name no one."""

import collections
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from data_prep.build.inputs import read_inputs
from data_prep.images import pixels
from data_prep.records.drops import Reason
from data_prep.records.scan import Columns, Inputs
from data_prep.sources import folder
from tests.archive_folder import (
    COLUMNS,
    PATIENTS,
    Archive,
    accession,
    scan,
    structured_report,
    table,
)
from tests.data_prep_cohort import CANARY


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    archive = Archive(root)
    for patient in PATIENTS:
        archive.study(patient, accession(patient))
    structured_report().save_as(archive.path("SR1"), enforce_file_format=True)
    archive.path("readme.txt").write_text(f"studies of {CANARY}")
    archive.path("empty").write_bytes(b"")
    archive.path("link").symlink_to(root / "nowhere")
    os.mkfifo(archive.path("pipe"))
    ids = {"PatientID": "0017", "StudyInstanceUID": "1.2.3"}
    archive.series(ids, "T1", slices=3, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    return root


def reasons(scan) -> dict:
    return collections.Counter(drop.reason for drop in scan.drops)


def test_headers_decide_everything(archive, tmp_path):
    # A spreadsheet has eaten the zeros of the ids.
    reports = table(
        tmp_path / "r.csv", [("MRN", "Text"), (17, "a"), (18, "b"), (19, ""), (99, "d")]
    )
    found = scan(archive, reports)
    assert found.reports == {"17": "a", "18": "b"}
    slices = {(i.patient, i.sequence, i.level) for i in found.images}
    assert len(found.images) == len(slices) == 2 * 2 * 3
    assert {sequence for _, sequence, _ in slices} == {"T1", "T2"}
    assert reasons(found) == {
        Reason.NOT_AXIAL: 3,
        Reason.NOT_MR: 1,
        Reason.NO_IMAGE: 1,
        Reason.UNKNOWN_FILE: 4,
        Reason.REPORT_EMPTY: 1,
        Reason.IMAGE_WITHOUT_REPORT: 1,
        Reason.REPORT_WITHOUT_IMAGE: 1,
    }
    assert len({image.series for image in found.images}) == 4


def test_the_middle_slice_of_each_block_is_taken(archive, tmp_path):
    found = scan(archive, table(tmp_path / "r.csv", [("MRN", "Text"), ("0017", "a")]))
    shown = {
        image.level: int(pixels.read(archive / image.path, 8)[4, 4, 0])
        for image in found.images
        if image.sequence == "T1"
    }
    # Slices 1, 4 and 7 of nine from below, which hold 10, 40 and 70 of 1000.
    assert shown == {"L5-S1": 3, "L4-L5": 10, "L3-L4": 18}


@pytest.mark.parametrize("kind", ["accession", "study"])
def test_other_ids_join_too(archive, tmp_path, kind):
    studies = {
        header.patient: getattr(header, kind)
        for path in archive.rglob("IM*")
        for header in folder.read_headers(path)
        if header.kind is None
    }
    rows = [("Who", "Text"), *((f" {studies[p].lower()} ", p) for p in PATIENTS)]
    found = scan(archive, table(tmp_path / "r.csv", rows), Columns(report="text", **{kind: "who"}))
    assert found.reports == {p.lstrip("0"): p for p in PATIENTS}


def test_several_ids_must_agree(archive, tmp_path):
    rows = [("MRN", "Acc", "Text"), ("17", accession("0017"), "a"), ("18", accession("0019"), "b")]
    columns = Columns(patient="MRN", accession="Acc", report="Text")
    assert scan(archive, table(tmp_path / "r.csv", rows), columns).reports == {"17": "a"}


def test_the_latest_reported_study_of_a_patient_is_taken(tmp_path):
    archive = Archive(tmp_path / "archive")
    for number, date in enumerate(("20190301", "20210301", "20230301")):
        archive.study("7", f"acc{number}", date=date)
    rows = [("Acc", "Text"), ("acc0", "first"), ("acc1", "second")]
    columns = Columns(accession="Acc", report="Text")
    found = scan(archive.root, table(tmp_path / "r.csv", rows), columns)
    assert found.reports == {"7": "second"}
    assert len({image.study for image in found.images}) == 1
    assert reasons(found)[Reason.STUDY_NOT_CHOSEN] == 1
    assert reasons(found)[Reason.IMAGE_WITHOUT_REPORT] == 1


def test_a_column_of_levels(archive, tmp_path):
    of_level = {"L5/S1": 2, "l4-5": 5, "L3-L4": 8, "T12": 3}
    rows = [("MRN", "Text", "File", "Disc")]
    for path in sorted(archive.rglob("IM*")):
        for header in folder.read_headers(path):
            if header.patient != "0018" or header.sequence != "T1":
                continue
            number = 9 - header.instance
            level = {n: level for level, n in of_level.items()}.get(number, "")
            name = path.relative_to(archive).as_posix() if number == 5 else header.image
            rows.append(("0018", "the report", name, level))
    columns = Columns(patient="MRN", report="Text", image="File", level="Disc")
    found = scan(archive, table(tmp_path / "r.csv", rows), columns)
    by_level = {image.level: folder.read_headers(archive / image.path)[0] for image in found.images}
    assert {level: 9 - header.instance for level, header in by_level.items()} == {
        "L5-S1": 2,
        "L4-L5": 5,
        "L3-L4": 8,
    }
    assert reasons(found)[Reason.BAD_LEVEL] == 6
    assert Reason.REPORT_REPEATED not in reasons(found)


@pytest.mark.parametrize("written", ["{}.0", "{}.00", " 00{} "])
def test_ids_that_went_through_other_programs_join(archive, tmp_path, written):
    rows = [("MRN", "Text"), *((written.format(int(p)), f"report of {p}") for p in PATIENTS)]
    found = scan(archive, table(tmp_path / "r.csv", rows))
    assert found.reports == {p.lstrip("0"): f"report of {p}" for p in PATIENTS}


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("L4-L5", "L4-L5"), ("l4/5", "L4-L5"), ("L5 S1", "L5-S1"), ("L5-1", "L5-S1"),
        ("4-5", "L4-L5"), ("L3_L4", "L3-L4"), ("L4", None), ("L4-S1", None), ("L2-L3", None),
        ("L45", "L4-L5"), ("L5S1", "L5-S1"), ("L4 - L5", "L4-L5"),
    ],
)  # fmt: skip
def test_names_of_levels(text, level):
    assert folder.level_named(text) == level


def test_copies_and_echoes_are_left_out(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "a")
    axial = [p for p in archive.root.rglob("IM*") if folder.read_headers(p)[0].sequence == "T1"]
    for path in axial:
        shutil.copy(path, archive.path())
    found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")]))
    assert len(found.images) == 6
    assert reasons(found)[Reason.REPEATED_IMAGE] == 9


def test_a_series_without_contrast_agent_is_preferred(tmp_path):
    archive = Archive(tmp_path / "archive")
    ids = {"PatientID": "7", "AccessionNumber": "a", "StudyInstanceUID": "1.2.3"}
    archive.series(ids, "T1", ContrastBolusAgent="Gd", SeriesDescription="z")
    archive.series(ids, "T1", SeriesDescription="a")
    archive.series(ids, "T1", slices=6)
    found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")]))
    chosen = folder.read_headers(archive.root / found.images[0].path)[0]
    assert len(found.images) == 3
    assert not chosen.contrast
    assert reasons(found)[Reason.SERIES_NOT_CHOSEN] == 2


def test_an_image_without_a_patient_is_left_out(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "a")
    archive.study("", "b")
    found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")]))
    assert reasons(found)[Reason.NO_PATIENT_ID] == 2
    assert {image.patient for image in found.images} == {"7"}


def test_a_parquet_table_reads_as_its_csv(archive, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = {"MRN": [17.0, 18.0, None], "Text": ["a", "b", "c"]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "r.parquet")
    found = scan(archive, tmp_path / "r.parquet")
    assert found.reports == {"17": "a", "18": "b"}
    assert reasons(found)[Reason.REPORT_BAD_ID] == 1
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"not a readable \.parquet file: save it again"):
        scan(archive, tmp_path / "broken.parquet")


def test_workers_and_tasks_make_no_difference(archive, tmp_path, monkeypatch):
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (17, "a"), (18, "b")])
    one = scan(archive, reports)
    monkeypatch.setattr(folder, "FILES_A_TASK", 7)
    many = scan(archive, reports)
    assert many.images == one.images
    assert sorted(many.drops) == sorted(one.drops)


def test_findings_of_the_archives_own_ids(archive, tmp_path):
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (17, "a")])
    labels = tmp_path / "findings.jsonl"
    labels.write_text('{"id": "0017", "findings": {"disc_bulge": "present"}}\n')
    material = read_inputs(
        "folder", Inputs(archive, reports, columns=COLUMNS), findings_file=labels
    )
    assert material.findings["17"].patient[0] == 1
    assert material.provenance["findings_source"] == "given with --findings for 1 of 1 patients"
    assert not material.templated
    assert np.unique([image.plane for image in material.images]).tolist() == ["axial"]


def test_without_a_table_of_reports_there_is_nothing_to_join(archive):
    with pytest.raises(ValueError, match="--reports is missing"):
        folder.scan(Inputs(archive, columns=COLUMNS))


def test_the_command_builds_from_named_columns(archive, tmp_path):
    texts = ("Disc bulge.", "No disc bulge.", "Disc protrusion.")
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), *zip(PATIENTS, texts, strict=True)])
    command = [
        *(sys.executable, "-m", "data_prep.build", "--source=folder", f"--images={archive}"),
        *(f"--reports={reports}", "--patient_column=mrn", "--report_column=TEXT"),
        *(f"--out={tmp_path / 'set'}", "--splits=test=1", "--size_px=8", "--workers=1"),
        *("--spacing_mm=1.5", "--window=percentile", "--levels=blocks"),
    ]
    repository = pathlib.Path(__file__).parents[1]
    result = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert result.returncode == 0, result.stderr
    assert "test: 18 images of 3 patients, 3 different reports" in result.stdout
    assert CANARY not in result.stdout + result.stderr
