"""A made-up SPIDER folder with the quirks of the published one planted."""

import csv
import pathlib
import zlib

import numpy as np

HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = {compressed}
TransformMatrix = {matrix}
Offset = 0 0 0
CenterOfRotation = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = {spacing}
DimSize = {shape}
ElementType = {kind}
ElementDataFile = {data}
"""
KINDS = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT", "uint16": "MET_USHORT"}
COLUMNS = (
    "Patient", "IVD label", "Modic", "UP endplate", "LOW endplate", "Spondylolisthesis",
    "Disc herniation", "Disc narrowing", "Disc bulging", "Pfirrman grade",
)  # fmt: skip


def write_volume(
    path: pathlib.Path,
    voxels: np.ndarray,
    *,
    directions=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    spacing_mm=(4.0, 0.6875, 0.6875),
    compressed: bool = True,
    beside: str = "",
) -> None:
    """Writes voxels [I, J, K], the first axis fastest; `directions` has one axis a row."""
    data = voxels.tobytes(order="F")
    data = zlib.compress(data) if compressed else data
    header = HEADER.format(
        compressed=compressed,
        matrix=" ".join(str(value) for row in directions for value in row),
        spacing=" ".join(map(str, spacing_mm)),
        shape=" ".join(map(str, voxels.shape)),
        kind=KINDS[voxels.dtype.name],
        data=beside or "LOCAL",
    ).encode()
    if beside:
        path.write_bytes(header)
        path.with_name(beside).write_bytes(data)
    else:
        path.write_bytes(header + data)


def sagittal_voxels(size_px: int = 16, slices: int = 5, seed: int = 0) -> np.ndarray:
    """int16 voxels [x, y, z] of random values between 0 and 1000, both in every slice."""
    voxels = np.random.default_rng(seed).integers(0, 1000, (slices, size_px, size_px), np.int16)
    voxels[:, 0, 0], voxels[:, 0, 1] = 0, 1000
    return voxels


def write_gradings(path: pathlib.Path, rows) -> None:
    """`rows` are tuples in the order of `COLUMNS`."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def write_cohort(root: pathlib.Path, patients: int, size_px: int = 16) -> None:
    """Patients 3, 6, 9 ... with a T1 and a T2 each; every third also has a T2 SPACE."""
    (root / "images").mkdir(parents=True)
    gradings, overview = [], [("new_file_name", "subset", "sex ", "num_discs")]
    for index in range(patients):
        patient = 3 * (index + 1)
        for modality in ("t1", "t2", *(["t2_SPACE"] if index % 3 == 0 else [])):
            name = f"{patient}_{modality}"
            write_volume(root / "images" / f"{name}.mha", sagittal_voxels(size_px, seed=patient))
            overview.append((name, "training", "F " if index % 2 else "F", 7))
        for label in range(1, 8):
            # Every second patient has no disease, and the others have it at changing discs. The
            # digits of the patient's number make the grades, and with them the texts, differ.
            ill = int(index % 2 and (index + label) % 3 == 0)
            grade = 1 + (index >> label - 1) % 2
            herniated = int(ill and index % 4 == 1)
            gradings.append((patient, label, 0, 0, 0, 0, herniated, 0, ill, grade + 3 * ill))
    write_gradings(root / "radiological_gradings.csv", gradings)
    with (root / "overview.csv").open("w", newline="") as file:
        csv.writer(file).writerows(overview)
