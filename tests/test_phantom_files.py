"""The phantom on disk: layout, DICOM validity, geometry, tables, determinism."""

import csv
import filecmp
import json
import pathlib
import re
import subprocess
import sys
import zipfile

import numpy as np
import openpyxl
import pydicom
import pytest
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from data_prep.phantom import geometry
from data_prep.phantom.anatomy import draw_patient
from data_prep.phantom.generate import generate
from data_prep.phantom.reports import write_report
from data_prep.phantom.tables import write_reports
from data_prep.records.findings import FINDINGS, LEVEL_FINDINGS
from data_prep.records.schema import LEVELS

PATIENTS, SEED = 7, 3


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> pathlib.Path:
    return generate(tmp_path_factory.mktemp("phantom") / "set", PATIENTS, SEED)


@pytest.fixture(scope="module")
def files(phantom):
    """Every DICOM file read without `force`, keyed by its path below the image folder."""
    images = phantom / "01_MRI_Data"
    return {p.relative_to(images): pydicom.dcmread(p) for p in sorted(images.rglob("*.ima"))}


def axial(files, sequence):
    """{patient: axial files of one sequence, head first}."""
    series = {}
    for path, ds in files.items():
        if path.parts[2].startswith(f"{sequence}_TSE_TRA"):
            series.setdefault(int(path.parts[0]), []).append(ds)
    return {n: sorted(s, key=lambda ds: -centre(ds)[2]) for n, s in series.items()}


def centre(ds):
    row, column = np.reshape(np.array(ds.ImageOrientationPatient, float), (2, 3))
    across = row * (ds.Columns - 1) / 2 + column * (ds.Rows - 1) / 2
    return np.array(ds.ImagePositionPatient, float) + across * float(ds.PixelSpacing[0])


def test_layout_is_the_published_one(files):
    study = re.compile(r"(L|C)-SPINE_[A-Z_-]+_\d{8}_\d{6}_\d{6}")
    series = re.compile(
        r"LOCALIZER_0001|T2_TSE_SAG_384_0002|T2_TSE_TRA_3[28][04]_000[45]|"
        r"T1_TSE_TRA(_320)?_000[56]|POSDISP_\[[45]\]_T2_TSE_TRA_3[28][04]_5001"
    )
    counts = {}
    for path in files:
        patient, study_name, series_name, name = path.parts
        assert re.fullmatch(r"\d{4}", patient)
        assert study.fullmatch(study_name)
        assert series.fullmatch(series_name)
        assert re.fullmatch(rf".+_{patient}_\d{{3}}\.ima", name)
        counts[patient, series_name] = counts.get((patient, series_name), 0) + 1
    assert sorted({patient for patient, _ in counts}) == [f"{n:04d}" for n in range(1, 8)]
    assert sorted(counts.values()) == sorted([1, 3, 9, 9, 1] * PATIENTS)


def test_files_are_valid_mr_images_in_six_transfer_syntaxes(files):
    assert len({ds.SOPInstanceUID for ds in files.values()}) == len(files)
    assert len({ds.file_meta.TransferSyntaxUID for ds in files.values()}) == 6
    for path, ds in files.items():
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.SOPInstanceUID.is_valid
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert ds.Modality == "MR"
        assert path.parts[1].endswith(f"{ds.StudyDate}_{ds.StudyTime.replace('.', '_')}")
        assert int(path.stem[-3:]) == ds.InstanceNumber
        if "POSDISP" in path.parts[2]:
            assert ds.SOPClassUID == SecondaryCaptureImageStorage
            assert list(ds.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        else:
            assert ds.SOPClassUID == MRImageStorage
            assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, 12, 11)
            assert path.parts[2] == f"{ds.SeriesDescription.upper()}_{ds.SeriesNumber:04d}"
            assert ds.SeriesDescription == ds.SeriesDescription.lower()


@pytest.mark.parametrize("number", range(1, 7))
def test_every_transfer_syntax_decodes_to_12_bits(files, number):
    ds = axial(files, "T2")[number][4]
    pixels = ds.pixel_array
    assert pixels.shape == (320, ds.Columns)
    assert 255 < pixels.max() <= 4095
    assert len(np.unique(pixels)) > 256


def test_sequences_carry_their_timing(files):
    for ds in axial(files, "T1")[1]:
        assert ds.EchoTime < 30
        assert ds.RepetitionTime < 1000
    for ds in axial(files, "T2")[1]:
        assert ds.EchoTime > 80
        assert ds.RepetitionTime > 2000


def test_axial_blocks_cut_the_three_discs(files):
    for number, series in axial(files, "T2").items():
        patient = draw_patient(SEED, number, 0.5)
        for level_index, level in enumerate(patient.levels):
            block = series[3 * level_index : 3 * level_index + 3]
            row, column = np.reshape(np.array(block[0].ImageOrientationPatient, float), (2, 3))
            np.testing.assert_allclose(
                [row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-5
            )
            normal = np.cross(row, column)
            tilt = np.rad2deg(np.arctan2(column[2], column[1]))
            assert tilt == pytest.approx(level.tilt_deg, abs=1e-3)
            heights = [centre(ds) @ normal for ds in block]
            np.testing.assert_allclose(np.diff(heights), -4.4, atol=1e-4)
            # The middle slice runs through the centre of the disc.
            assert heights[1] == pytest.approx(np.array(level.centre_mm) @ normal, abs=1e-4)
            assert all(ds.SliceThickness == 4 and ds.SpacingBetweenSlices == 4.4 for ds in block)
            assert list(block[0].PixelSpacing) == [0.6875, 0.6875]


def test_both_sequences_show_the_same_planes(files):
    t1, t2 = axial(files, "T1"), axial(files, "T2")
    for number in t1:
        for a, b in zip(t1[number], t2[number], strict=True):
            assert a.ImagePositionPatient == b.ImagePositionPatient
            assert a.ImageOrientationPatient == b.ImageOrientationPatient
            assert a.StudyInstanceUID == b.StudyInstanceUID
            assert a.SeriesInstanceUID != b.SeriesInstanceUID


def test_plane_by_hand():
    plane = geometry.Plane(
        np.array([10.0, 20.0, 30.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), 2.0
    )
    np.testing.assert_allclose(plane.position_mm((3, 5)), [6.0, 18.0, 30.0])
    np.testing.assert_allclose(plane.pixel_of([6.0, 18.0, 99.0], (3, 5)), [0, 0])
    np.testing.assert_allclose(plane.pixel_of([14.0, 22.0, 30.0], (3, 5)), [2, 4])
    assert geometry.slice_offsets_mm(2) == pytest.approx((2.2, -2.2))


def test_planted_identities_are_in_headers_private_tags_and_nowhere_else(phantom, files):
    names = {str(ds.PatientName) for ds in files.values()}
    assert len(names) >= PATIENTS - 2
    for ds in files.values():
        assert str(ds.PatientName).split("^")[0] in str(ds.get((0x0019, 0x1001)).value)
        assert ds.PatientBirthDate < ds.StudyDate
        assert ds.PatientID.startswith("HX")
    for table in phantom.iterdir():
        if table.is_file():
            content = table.read_bytes()
            assert not any(name.split("^")[0].encode() in content for name in names)


def test_tables_agree_with_the_patients(phantom):
    patients = [draw_patient(SEED, n, 0.5) for n in range(1, PATIENTS + 1)]
    sheet = openpyxl.load_workbook(phantom / "Radiologists Report.xlsx")["Sheet1"]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0] == ("Patient ID", "Clinician's Notes")
    assert rows[1:] == [(p.number, write_report(p).text or None) for p in patients]

    with open(phantom / "PfirrmannGrade.csv", newline="") as file:
        grades = list(csv.DictReader(file))
    assert list(grades[0]) == ["Patient_ID", "D5", "D4", "D3"]
    for patient, row in zip(patients, grades, strict=True):
        expected = [level.pfirrmann for level in patient.levels]
        assert [int(row[d]) for d in ("D3", "D4", "D5")] == expected

    lines = (phantom / "report_findings.jsonl").read_text().splitlines()
    stated = [json.loads(line) for line in lines]
    assert [s["id"] for s in stated] == [p.number for p in patients if write_report(p).text]
    for row in stated:
        assert set(row["findings"]) <= set(FINDINGS)
        assert set(row["findings"].values()) <= {"present", "absent", "uncertain"}
        for names in row["levels"].values():
            assert names
            assert set(names) <= set(LEVEL_FINDINGS)

    with open(phantom / "phantom_truth.csv", newline="") as file:
        truth = list(csv.DictReader(file))
    assert [r["level"] for r in truth] == list(LEVELS) * PATIENTS
    assert float(truth[4]["bulge_mm"]) == pytest.approx(patients[1].levels[1].bulge_mm, rel=1e-5)


def test_bytes_do_not_depend_on_workers(tmp_path):
    alone = generate(tmp_path / "alone", 3, 11, slices_per_disc=1)
    pooled = generate(tmp_path / "pooled", 3, 11, slices_per_disc=1, workers=2)
    names = sorted(p.relative_to(alone) for p in alone.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(pooled) for p in pooled.rglob("*") if p.is_file())
    same, different, errors = filecmp.cmpfiles(alone, pooled, names, shallow=False)
    assert (len(same), different, errors) == (3 * (3 + 3 + 3 + 1 + 1) + 4, [], [])


def test_a_longer_cohort_begins_with_the_shorter_one(phantom, tmp_path):
    short = generate(tmp_path / "short", 1, SEED)
    for path in short.rglob("*.ima"):
        assert path.read_bytes() == (phantom / path.relative_to(short)).read_bytes()


def test_workbook_holds_no_clock(tmp_path):
    write_reports(tmp_path / "a.xlsx", {1: write_report(draw_patient(0, 1, 0.5))})
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        assert {entry.date_time for entry in book.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        stamps = re.findall(rb"\d{4}-\d\d-\d\dT", book.read("docProps/core.xml"))
    assert set(stamps) == {b"1980-01-01T"}


def test_refuses_a_folder_in_use_and_keeps_it(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="choose another folder"):
        generate(tmp_path, 1, 0)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("name", "value"),
    [("patients", 0), ("seed", -1), ("difficulty", 1.5), ("workers", 0), ("slices_per_disc", 9)],
)
def test_arguments_out_of_range_are_named(tmp_path, name, value):
    arguments = {"patients": 1, "seed": 0, **{name: value}}
    with pytest.raises(ValueError, match=f"^{name} is {value}; choose"):
        generate(tmp_path / "out", **arguments)
    assert not any(tmp_path.iterdir())


def test_command_line_reports_one_sentence(tmp_path):
    command = [sys.executable, "-m", "data_prep.make_phantom", "--patients=0", "--out"]
    run = subprocess.run([*command, tmp_path / "x"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "error: patients is 0; choose a value from 1 to 9999.\n"


def test_command_line_writes_the_set_and_one_line_of_progress(tmp_path):
    flags = ["--patients=4", "--seed=2", "--slices_per_disc=1", f"--out={tmp_path / 'set'}"]
    command = [sys.executable, "-m", "data_prep.make_phantom", *flags]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == f"{tmp_path / 'set'}\n"
    assert re.fullmatch(r"phantom: 4/4 patients, \d+ s\n", run.stderr)
    assert len(list((tmp_path / "set" / "01_MRI_Data").iterdir())) == 4
