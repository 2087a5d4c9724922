"""A tiny made-up cohort in both published layouts, for the tests of data_prep.

Every identity planted in its DICOM files holds `CANARY`, so a test can look for it in the outputs.
"""

import csv
import json
import pathlib

import numpy as np
import PIL.Image
import pydicom
from openpyxl import Workbook
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from data_prep.build import build

CANARY = "Canary"
DISCS = {"D3": "L3-L4", "D4": "L4-L5", "D5": "L5-S1"}
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SERIES = {
    # folder: (description, image type, orientation, echo ms, repetition ms)
    "LOCALIZER_0001": ("localizer", ["ORIGINAL", "PRIMARY", "M", "ND"], "axial", 5, 9),
    "T2_TSE_SAG_384_0002": ("t2_tse_sag_384", ["ORIGINAL", "PRIMARY", "M", "ND"], "sag", 90, 4000),
    "T2_TSE_TRA_384_0003": (
        "t2_tse_tra_384",
        ["ORIGINAL", "PRIMARY", "M", "ND"],
        "axial",
        90,
        4000,
    ),
    "T1_TSE_TRA_0004": ("tse_tra", ["ORIGINAL", "PRIMARY", "M", "ND"], "axial", 11, 600),
    "POSDISP_[4]_T2_0005": ("PosDisp", ["DERIVED", "SECONDARY", "POSDISP"], "axial", 90, 4000),
}
ORIENTATIONS = {"axial": [1, 0, 0, 0, 1, 0], "sag": [0, 1, 0, 0, 0, -1]}


def report_text(patient: int) -> str:
    """Every fourth patient has one boiler-plate report, in one of two spellings."""
    if patient % 4 == 0:
        return "Normal study of the discs." if patient % 8 else "NORMAL  study of the discs"
    level = list(DISCS.values())[patient % 3]
    side = ["central", "left", "right"][patient // 3 % 3]
    return f"{level}: {side} disc protrusion number {patient},\ntouching the thecal sac."


def write_slices(root: pathlib.Path, patients: int, size_px: int, sequences=("T1", "T2")) -> None:
    """The form of ready PNG slices, three a patient and sequence; the rows differ in brightness."""
    rng = np.random.default_rng(0)
    for sequence in sequences:
        folder = root / "04_Intermediary_Ground_Truth_Data" / f"{sequence}_Output"
        folder.mkdir(parents=True)
        for patient in range(1, patients + 1):
            for disc in DISCS:
                pixels = rng.integers(0, 256, (size_px, size_px), np.uint8)
                pixels[0, :2] = 0, 255
                PIL.Image.fromarray(pixels).save(folder / f"{sequence}_{patient:04d}_{disc}.png")


def write_reports(path: pathlib.Path, patients: int, extra_rows=()) -> None:
    """The report table; `extra_rows` of (id, text) follow the patients'."""
    rows = [(patient, report_text(patient)) for patient in range(1, patients + 1)]
    rows = [("Patient ID", "Clinician's Notes"), *rows, *extra_rows]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return
    workbook = Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(path)


def write_labels(grades: pathlib.Path, findings: pathlib.Path, patients: int) -> None:
    """Grades 1..5 by patient and disc, and the findings that `report_text` states."""
    with grades.open("w") as file:
        file.write("Patient_ID,D5,D4,D3\n")
        for patient in range(1, patients + 1):
            file.write(f"{patient},{patient % 5 + 1},{(patient + 1) % 5 + 1},\n")
    with findings.open("w") as file:
        for patient in range(1, patients + 1):
            level = list(DISCS.values())[patient % 3]
            names = ["disc_protrusion", "thecal_sac_compression"] if patient % 4 else []
            row = {
                "id": patient,
                "findings": dict.fromkeys(names, "present") | {"disc_extrusion": "absent"},
                "levels": {level: names} if names else {},
            }
            file.write(json.dumps(row) + "\n")


def write_split_table(path: pathlib.Path, patients: int) -> None:
    """A table of patient_id, split and lbp, where every split has both classes."""
    splits = ("train", "train", "train", "train", "valid", "test")
    rows = [
        f"{patient},{splits[patient // 2 % len(splits)]},{patient % 2}"
        for patient in range(1, patients + 1)
    ]
    path.write_text("\n".join(["patient_id,split,lbp", *rows]) + "\n")


def write_studies(root: pathlib.Path, patients: int, size_px: int, slices_a_disc: int = 3) -> None:
    """The raw form: per patient one study of five series, every second patient's RLE-compressed."""
    for patient in range(1, patients + 1):
        study = (
            root / "01_MRI_Data" / f"{patient:04d}" / f"L-SPINE_LSS_2016030{patient}_091629_240000"
        )
        for series, (
            description,
            image_type,
            orientation,
            echo_ms,
            repetition_ms,
        ) in SERIES.items():
            (study / series).mkdir(parents=True)
            for number in range(3 * slices_a_disc):
                dataset = slice_dataset(
                    block_position(number, slices_a_disc),
                    slice_pixels(patient, number, size_px),
                    orientation=ORIENTATIONS[orientation],
                )
                dataset.SeriesDescription = description
                dataset.ImageType = image_type
                dataset.EchoTime, dataset.RepetitionTime = echo_ms, repetition_ms
                if patient % 2 == 0:
                    dataset.compress(
                        RLELossless, encoding_plugin="pydicom", generate_instance_uid=False
                    )
                # File names run against the order of the slices.
                name = f"{series[:2]}_{patient:04d}_{99 - number:03d}.ima"
                dataset.save_as(study / series / name, enforce_file_format=True)


def block_position(number: int, slices_a_disc: int) -> list[float]:
    """The corner of slice `number`: discs 35 mm apart from below, slices 4.4 mm apart in each."""
    disc, step = divmod(number, slices_a_disc)
    return [0.0, 0.0, 35.0 * disc + 4.4 * step]


def slice_pixels(patient: int, number: int, size_px: int) -> np.ndarray:
    """12-bit pixels whose first row holds the range, so that the stretch to 8 bit is known."""
    pixels = np.full((size_px, size_px), 16 * (patient * 20 + number), np.uint16)
    pixels[0, 0], pixels[0, 1] = 0, 4080
    return pixels


def slice_dataset(
    corner: list[float], pixels: np.ndarray, *, orientation: list[float]
) -> FileDataset:
    """One MR slice with planted identities."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MR_IMAGE_STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = MR_IMAGE_STORAGE
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = dataset.StudyInstanceUID = generate_uid()
    dataset.Modality = "MR"
    dataset.PatientName = f"{CANARY}^Patient"
    dataset.PatientID = dataset.AccessionNumber = f"{CANARY}-4711"
    dataset.PatientBirthDate = dataset.StudyDate = "19700229"
    dataset.InstitutionName = dataset.StationName = f"{CANARY} hospital"
    private = dataset.private_block(0x0029, f"{CANARY} PRIVATE", create=True)
    private.add_new(0x01, "LO", f"{CANARY} private")
    referring = pydicom.Dataset()
    referring.PersonIdentificationCodeSequence = pydicom.Sequence([pydicom.Dataset()])
    referring.InstitutionName = f"{CANARY} nested"
    dataset.ReferringPhysicianIdentificationSequence = pydicom.Sequence([referring])
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [0.6875, 0.6875]
    dataset.SpacingBetweenSlices = 4.4
    dataset.ImageOrientationPatient = orientation
    dataset.ImagePositionPatient = corner
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return dataset


def write_own_labels(table: pathlib.Path, texts: pathlib.Path, patients: int) -> None:
    """Two tasks of patients, some without a label, and two texts with labels of all but one.

    Of a patient the first text has the other class of `pain` and none of `worst`; the second is
    uncertain of `pain`, and has the lowest class of `worst`; where the report is short, it is long.
    """
    with table.open("w", newline="") as file:
        rows = [(p, p % 2 if p % 5 else "", p % 3 + 1) for p in range(1, patients + 1)]
        csv.writer(file).writerows([("patient", "pain", "worst"), *rows])
    with texts.open("w", newline="") as file:
        rows = [("patient", "kind", "text", "pain", "worst")]
        for patient in range(2, patients + 1):
            rows.append((patient, "paraphrase", f"Other words {patient}.", 1 - patient % 2, ""))
            more = " No disc protrusion is touching the thecal sac." * 3 * (patient % 4 == 0)
            rows.append((patient, "section", f"Impression {patient}. Disc.{more}", -1, 1))
        csv.writer(file).writerows(rows)


def tiny_set(root: pathlib.Path, **options) -> pathlib.Path:
    """A built data set of 24 patients, 72 slices of 32 x 32 px, all three splits."""
    write_slices(root, patients=24, size_px=32, sequences=("T1",))
    write_reports(root / "reports.csv", patients=24)
    write_labels(root / "grades.csv", root / "findings.jsonl", patients=24)
    # A key of chance would give every run of the tests other splits and another order.
    (root / "dataset.key").write_text("0" * 64)
    build(
        root,
        root / "reports.csv",
        root / "dataset",
        grades_file=root / "grades.csv",
        findings_file=root / "findings.jsonl",
        split_shares="train=0.6,validation=0.2,test=0.2",
        size_px=32,
        **options,
    )
    return root / "dataset"


def labelled_set(root: pathlib.Path) -> pathlib.Path:
    """`tiny_set` with tasks of its own and further texts, see `write_own_labels`."""
    write_own_labels(root / "labels.csv", root / "texts.csv", patients=24)
    return tiny_set(root, label_table=root / "labels.csv", texts_file=root / "texts.csv")
