"""Real pixels through real DICOM: the published slices, wrapped in every syntax, come back."""

import itertools
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, JPEGLSNearLossless

from data_prep.build import build
from data_prep.images import pixels
from data_prep.records.scan import Columns
from tests import data_prep_cohort as cohort
from tests import dicom_syntaxes

PATIENTS = ("0001", "0002", "0003", "0005")
# Syntax -> the largest and the mean difference of a grey of 255.
LOSSY = {
    JPEGLSNearLossless: (dicom_syntaxes.NEAR + 1, 2),
    JPEG2000: (8, 1),
    JPEGBaseline8Bit: (25, 2),
}


def slice_path(root: pathlib.Path, patient: str, disc: str) -> pathlib.Path:
    return root / "04_Intermediary_Ground_Truth_Data" / "T1_Output" / f"T1_{patient}_{disc}.png"


def wrapped(path: pathlib.Path, source: pathlib.Path, syntax, *, patient: str, disc: str) -> None:
    """Writes a PNG as an axial T1 slice; the discs are 35 mm apart, D5 the lowest."""
    with PIL.Image.open(source) as image:
        array = np.asarray(image)
    height_mm = 35.0 * list(cohort.DISCS)[::-1].index(disc)
    dataset = cohort.slice_dataset(
        [0, 0, height_mm], array.astype(np.uint16), orientation=cohort.ORIENTATIONS["axial"]
    )
    dataset.PatientID = patient
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = f"1.2.{int(patient)}"
    dataset.SeriesDescription = "t1_tse_tra"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.BitsStored = 8
    dicom_syntaxes.set_pixels(dataset, array, syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom_syntaxes.save(dataset, path)


@pytest.fixture(scope="module")
def six_slices(real_data):
    return [(p, d, slice_path(real_data, p, d)) for p in PATIENTS[:2] for d in cohort.DISCS]


@pytest.mark.parametrize("syntax", dicom_syntaxes.LOSSLESS, ids=lambda syntax: syntax.keyword)
def test_lossless_dicom_gives_the_png_back(syntax, six_slices, tmp_path):
    for patient, disc, source in six_slices:
        wrapped(tmp_path / "a.dcm", source, syntax, patient=patient, disc=disc)
        np.testing.assert_array_equal(
            pixels.read(tmp_path / "a.dcm", 320), pixels.read(source, 320)
        )


@pytest.mark.parametrize("syntax", LOSSY, ids=lambda syntax: syntax.keyword)
def test_lossy_dicom_stays_near_the_png(syntax, six_slices, tmp_path):
    largest, mean = LOSSY[syntax]
    for patient, disc, source in six_slices:
        wrapped(tmp_path / "a.dcm", source, syntax, patient=patient, disc=disc)
        found = pixels.read(tmp_path / "a.dcm", 320).astype(int)
        difference = np.abs(found - pixels.read(source, 320))
        assert 0 < difference.max() <= largest
        assert difference.mean() <= mean


def records(folder: pathlib.Path) -> list[tuple]:
    """What the records hold apart from their ids, which are of another source."""
    found = tfds.builder_from_directory(folder).as_data_source("test")
    return sorted(
        (
            record["report"],
            record["level"],
            record["sequence"],
            record["plane"],
            record["findings"].tobytes(),
            record["level_findings"].tobytes(),
            int(record["grades"]["pfirrmann"]),
            record["image"].tobytes(),
        )
        for record in found
    )


def test_the_data_set_of_the_dicoms_is_that_of_the_pngs(real_data, tmp_path):
    syntaxes = itertools.cycle(dicom_syntaxes.LOSSLESS)
    for patient in PATIENTS:
        for disc in cohort.DISCS:
            source = slice_path(real_data, patient, disc)
            copy = slice_path(tmp_path / "png", patient, disc)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
            name = tmp_path / "archive" / f"{int(patient) * 7919 % 97:02d}" / disc[::-1]
            wrapped(name, source, next(syntaxes), patient=patient, disc=disc)
    reports = real_data / "Radiologists Report.xlsx"
    options = {
        "grades_file": real_data / "PfirrmannGrade.csv",
        "findings_file": real_data / "report_findings.jsonl",
        "split_shares": "test=1",
    }
    build(tmp_path / "png", reports, tmp_path / "of_pngs", **options)
    columns = Columns(patient="Patient ID", report="Clinician's Notes")
    build(
        tmp_path / "archive",
        reports,
        tmp_path / "of_dicoms",
        source="folder",
        columns=columns,
        **options,
    )
    assert len(records(tmp_path / "of_pngs")) == 3 * len(PATIENTS)
    assert records(tmp_path / "of_dicoms") == records(tmp_path / "of_pngs")
