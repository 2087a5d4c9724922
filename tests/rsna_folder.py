"""A made-up RSNA 2024 folder: axial series of tilted blocks, sagittal ones with marks, tables."""

import csv

import numpy as np

from data_prep.records.levels import LUMBAR
from data_prep.sources import rsna
from tests.data_prep_cohort import slice_dataset

PRESENT, ABSENT, NOT_MENTIONED = 1, 2, 0
FRAME, OTHER_FRAME = "1.2.3", "1.2.4"
SHAPE = (40, 40)
SPACING_MM = 4.0
SAGITTAL = [0, 1, 0, 0, 0, -1]
# Where the discs are: height of the middle, and the tilt of the slices through it.
DISCS = {
    "L1/L2": (140, 0),
    "L2/L3": (105, 0),
    "L3/L4": (70, 0),
    "L4/L5": (35, 10),
    "L5/S1": (0, 25),
}
SIDES_OF_MARKS = {
    "Spinal Canal Stenosis": ("200", 0.0),
    "Left Neural Foraminal Narrowing": ("100", 10.0),
    "Right Neural Foraminal Narrowing": ("100", 10.0),
}


def tilted(degrees: float) -> list[float]:
    angle = np.radians(degrees)
    return [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]


def save(path, corner, orientation, *, frame=FRAME, instance=1, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = slice_dataset(corner, np.eye(*shape, dtype=np.uint16), orientation=orientation)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PixelSpacing = [SPACING_MM, SPACING_MM]
    dataset.FrameOfReferenceUID = frame
    dataset.InstanceNumber = instance
    dataset.SeriesInstanceUID = f"1.2.{path.parent.name}"
    dataset.save_as(path, enforce_file_format=True)


def write_axial(folder, *, frame=FRAME, discs=DISCS, gap_mm=5.0):
    """Three slices a disc from the head down, with gaps in the instance numbers: 2, 4, 6 ..."""
    instance = 0
    for height_mm, tilt in discs.values():
        along_column = np.array(tilted(tilt)[3:])
        normal = np.array([0, -along_column[2], along_column[1]])
        for step in (1, 0, -1):
            instance += 2
            # Centred on the disc's middle, which lies at x = y = 0.
            half = (SHAPE[0] - 1) / 2 * SPACING_MM
            center = np.array([0, 0, height_mm]) + step * gap_mm * normal
            corner = center - half * np.array([1, 0, 0]) - half * along_column
            path = folder / f"{instance}.dcm"
            shape = SHAPE if instance % 4 else (SHAPE[0] - 6, SHAPE[1] - 3)
            save(path, corner.tolist(), tilted(tilt), frame=frame, instance=instance, shape=shape)


def write_study(root, study, *, frame=FRAME, marks=tuple(SIDES_OF_MARKS), discs=DISCS):
    """A study with a sagittal T1 (100), a sagittal T2 (200) and an axial T2 (300); its marks."""
    folder = root / "train_images" / study
    rows = []
    for series in ("100", "200"):
        # Rows run down from z = 160 mm and columns back from y = -78 mm.
        save(folder / series / "7.dcm", [0, -78, 160], SAGITTAL, instance=7)
    write_axial(folder / "300", frame=frame, discs=discs)
    for condition in marks:
        series, above_mm = SIDES_OF_MARKS[condition]
        for level, (height_mm, _) in discs.items():
            x, y = 78 / SPACING_MM, (160 - height_mm - above_mm) / SPACING_MM
            rows.append((study, series, 7, condition, level, x, y))
    rows.append((study, "300", 2, "Left Subarticular Stenosis", "L1/L2", 3.0, 3.0))
    return rows


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_tables(root, marks, severities):
    """`severities` is study -> {column: value}."""
    levels = [level.replace("-", "_").lower() for level in LUMBAR]
    columns = [f"{condition}_{level}" for condition in rsna.CONDITIONS for level in levels]
    rows = [(study, *(graded.get(c, "") for c in columns)) for study, graded in severities.items()]
    write_csv(root / "train.csv", ("study_id", *columns), rows)
    names = ("study_id", "series_id", "instance_number", "condition", "level", "x", "y")
    write_csv(root / "train_label_coordinates.csv", names, marks)
    series = (("100", "Sagittal T1"), ("200", "Sagittal T2/STIR"), ("300", "Axial T2"))
    write_csv(
        root / "train_series_descriptions.csv",
        ("study_id", "series_id", "series_description"),
        [(study, *row) for study in severities for row in series],
    )
