"""A made-up hospital archive: DICOM studies whose file and folder names mean nothing.

Every identity in it holds `CANARY`, so a test can look for it where it must not be.
"""

import csv
import pathlib
import random

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from data_prep.records.scan import Columns, Inputs
from data_prep.sources import folder
from tests.data_prep_cohort import CANARY, ORIENTATIONS, block_position, slice_dataset

SIZE_PX = 8
TIMES = {"T1": (11, 600), "T2": (95, 3900)}

PATIENTS = ("0017", "0018", "0019")
COLUMNS = Columns(patient="MRN", report="Text")


def accession(patient: str) -> str:
    return f"{CANARY}{patient}A"


def table(path, rows):
    """A report table with semicolons, as a spreadsheet of most of Europe saves it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    return path


def scan(images, reports, columns=COLUMNS, **options):
    return folder.scan(Inputs(images, reports, columns=columns, **options))


class Archive:
    """Writes images one by one, in the order of shuffled names."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        numbers = list(range(10_000))
        random.Random(0).shuffle(numbers)
        self._numbers = iter(numbers)

    def study(self, patient: str, accession: str, *, date: str = "20200101", **options) -> str:
        """A study of an axial T1, an axial T2 and a sagittal T2; returns its UID."""
        study = generate_uid(entropy_srcs=[patient, accession])
        ids = {"PatientID": patient, "AccessionNumber": accession, "StudyInstanceUID": study}
        ids["StudyDate"] = date
        self.series(ids, "T1", **options)
        self.series(ids, "T2", **options)
        self.series(ids, "T2", view="sag", **options)
        return study

    def series(
        self,
        ids: dict,
        sequence: str,
        *,
        view: str = "axial",
        slices: int | range = 9,
        above_mm: float = 0.0,
        **fields,
    ) -> str:
        """A series of blocks of three slices, 35 mm apart, its slice number in its pixels.

        `slices` is the number of them from below, or which; `above_mm` lifts them. Returns its UID.
        """
        uid = generate_uid()
        numbers = range(slices) if isinstance(slices, int) else slices
        for number in numbers:
            pixels = np.full((SIZE_PX, SIZE_PX), 10 * number, np.uint16)
            pixels[0, :2] = 0, 1000
            x_mm, y_mm, z_mm = block_position(number, 3)
            self.image(
                pixels,
                (x_mm, y_mm, z_mm + above_mm),
                view=view,
                InstanceNumber=numbers.stop - number,
                EchoTime=TIMES[sequence][0],
                RepetitionTime=TIMES[sequence][1],
                **({"SeriesInstanceUID": uid} | ids | fields),
            )
        return uid

    def image(self, pixels, corner, *, view="axial", name="", **fields) -> pathlib.Path:
        """One file; a field of None is left away."""
        dataset = slice_dataset(list(corner), pixels, orientation=ORIENTATIONS[view])
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        for field, value in fields.items():
            if value is None:
                delattr(dataset, field)
            else:
                setattr(dataset, field, value)
        path = self.path(name)
        dataset.save_as(path, enforce_file_format=True)
        return path

    def path(self, name: str = "") -> pathlib.Path:
        """A new place in one of three folders."""
        number = next(self._numbers)
        folder = self.root / f"{CANARY}_{number % 3}" / "DICOM"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / (name or f"IM{number:05d}")


def structured_report() -> pydicom.FileDataset:
    """A DICOM object that is no image."""
    dataset = slice_dataset([0, 0, 0], np.zeros((2, 2), np.uint16), orientation=[1, 0, 0, 0, 1, 0])
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(dataset, name)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    dataset.Modality = "SR"
    return dataset
