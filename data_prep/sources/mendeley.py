"""The published Lumbar Spine MRI Dataset (Sudirman et al., Mendeley Data k57fr854j2, s6bgczr8s2).

Two forms of the images: the raw studies ``01_MRI_Data/<pppp>/<study>/<series>/*.ima`` and the axial
slices that its authors picked from them,
``04_Intermediary_Ground_Truth_Data/T<1|2>_Output/T<1|2>_<pppp>_D<3|4|5>.png``.
"""

import functools
import hashlib
import pathlib
import re

from data_prep import blocks, dicom, schema
from data_prep.drops import Drop, Reason
from data_prep.parallel import ordered_map
from data_prep.scan import ImageRef, Scan
from data_prep.tables import read_table

PATIENT_COLUMN = "Patient ID"
REPORT_COLUMN = "Clinician's Notes"
RAW_FOLDER = "01_MRI_Data"
SLICES_FOLDER = "04_Intermediary_Ground_Truth_Data"
LEVEL_OF_DISC = {"D3": "L3-L4", "D4": "L4-L5", "D5": "L5-S1"}
SEQUENCES = ("T1", "T2")


def patient_key(cell: str) -> str | None:
    """The four-digit folder name of a patient number, or None."""
    # A table that went through pandas writes patient 18 as 18.0.
    match = re.fullmatch(r"\s*([0-9]{1,9})(\.0)?\s*", cell)
    return f"{int(match[1]):04d}" if match else None


def scan(images_dir: pathlib.Path, workers: int) -> Scan:
    """Finds the axial T1 and T2 slice of each of the three lowest discs of every patient.

    A folder with both forms is read in the form of ready slices: those were picked, and their
    levels assigned, by the authors; of the raw studies both must be inferred. To read the raw form
    of such a folder, give its ``01_MRI_Data`` itself.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it holds neither form.
    """
    if not images_dir.is_dir():
        raise FileNotFoundError(f"there is no folder {images_dir}: correct --images")
    slices, raw = images_dir / SLICES_FOLDER, images_dir / RAW_FOLDER
    if slices.is_dir():
        form = f"ready PNG slices of {SLICES_FOLDER}"
        unread = f", not the raw DICOM of {RAW_FOLDER} beside it" if raw.is_dir() else ""
        return _scan_slices(images_dir, slices, form + unread)
    if images_dir.name == RAW_FOLDER:
        raw = images_dir
    if raw.is_dir():
        return _scan_raw(images_dir, raw, workers)
    raise ValueError(
        f"{images_dir} has neither {RAW_FOLDER} (raw DICOM) nor {SLICES_FOLDER} (ready PNG "
        "slices): point --images to the folder that holds one of them"
    )


def read_grades(path: pathlib.Path) -> tuple[dict[str, dict[str, int]], list[Drop]]:
    """Reads Pfirrmann grades from columns ``Patient_ID, D5, D4, D3``.

    Returns:
      (patient -> level -> grade 1..5, rows with a cell that is no grade; empty cells are none).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a table of these columns.
    """
    table = read_table(path, option="--grades")
    patient_index = table.column("Patient_ID")
    discs = {table.column(disc): level for disc, level in LEVEL_OF_DISC.items()}
    grades: dict[str, dict[str, int]] = {}
    drops = []
    for number, cells in table.rows:
        patient = patient_key(cells[patient_index])
        stated = {level: cells[index].strip() for index, level in discs.items()}
        stated = {level: grade for level, grade in stated.items() if grade}
        if patient is None or any(grade not in set("12345") for grade in stated.values()):
            drops.append(Drop(f"grades row {number}", Reason.BAD_GRADE))
        else:
            grades[patient] = {level: int(grade) for level, grade in stated.items()}
    return grades, drops


def _scan_slices(root: pathlib.Path, folder: pathlib.Path, form: str) -> Scan:
    images, drops = [], []
    for sequence in SEQUENCES:
        for path in sorted((folder / f"{sequence}_Output").glob("*")):
            match = re.fullmatch(rf"{sequence}_([0-9]{{4}})_(D[345])\.png", path.name)
            location = path.relative_to(root).as_posix()
            if match is None or not path.is_file():
                drops.append(Drop(location, Reason.UNKNOWN_FILE))
                continue
            patient, disc = match.groups()
            level = LEVEL_OF_DISC[disc]
            images.append(
                # The slices do not say which study they are from.
                ImageRef(patient, patient, level, "axial", sequence, location, _sha256(path))
            )
    return Scan(form, images, drops)


def _scan_raw(root: pathlib.Path, raw: pathlib.Path, workers: int) -> Scan:
    patients, drops = [], []
    for path in sorted(raw.iterdir()):
        if path.is_dir() and patient_key(path.name) == path.name:
            patients.append(path)
        else:
            drops.append(Drop(path.relative_to(root).as_posix(), Reason.UNKNOWN_FILE))
    images = []
    results = ordered_map(
        functools.partial(_scan_patient, root), patients, workers=workers, label="reading headers"
    )
    for patient_images, patient_drops in results:
        images += patient_images
        drops += patient_drops
    return Scan(f"raw DICOM of {RAW_FOLDER}", images, drops)


def _scan_patient(root: pathlib.Path, folder: pathlib.Path) -> tuple[list[ImageRef], list[Drop]]:
    """Chooses one axial series of each sequence: the one with most discs, then the latest."""
    drops: list[Drop] = []
    candidates: dict[str, list[tuple[pathlib.Path, dict[str, pathlib.Path]]]] = {}
    for study in _folders(root, folder, drops):
        for series in _folders(root, study, drops):
            found = _scan_series(root, series, drops)
            if found:
                sequence, slices = found
                candidates.setdefault(sequence, []).append((series, slices))
    images = []
    for sequence, series_found in sorted(candidates.items()):
        chosen = max(series_found, key=lambda found: (len(found[1]), found[0]))
        for series, slices in series_found:
            location = series.relative_to(root).as_posix()
            if series != chosen[0]:
                drops.append(Drop(location, Reason.SERIES_NOT_CHOSEN))
                continue
            study = series.parent.relative_to(root).as_posix()
            images += [
                ImageRef(
                    patient=folder.name,
                    study=study,
                    level=level,
                    plane="axial",
                    sequence=sequence,
                    path=path.relative_to(root).as_posix(),
                    sha256=_sha256(path),
                )
                for level, path in slices.items()
            ]
    return images, drops


def _folders(root: pathlib.Path, parent: pathlib.Path, drops: list[Drop]) -> list[pathlib.Path]:
    """The folders in a folder; anything else in it is left out."""
    children = sorted(parent.iterdir())
    drops += [
        Drop(path.relative_to(root).as_posix(), Reason.UNKNOWN_FILE)
        for path in children
        if not path.is_dir()
    ]
    return [path for path in children if path.is_dir()]


def _scan_series(
    root: pathlib.Path, series: pathlib.Path, drops: list[Drop]
) -> tuple[str, dict[str, pathlib.Path]] | None:
    """The sequence and the slice of each disc of one series folder, or None with a drop added.

    The first readable header decides whether the rest of the folder is looked at.
    """
    location = series.relative_to(root).as_posix()
    headers: list[dicom.Header] = []
    paths: list[pathlib.Path] = []
    for path in sorted(series.iterdir()):
        place = path.relative_to(root).as_posix()
        try:
            if not path.is_file():
                raise dicom.Rejected(Reason.UNKNOWN_FILE)
            header = dicom.read_header(path)
            reason = _series_reason(header)
            if reason and not headers:
                drops.append(Drop(location, reason))
                return None
            if reason:
                raise dicom.Rejected(reason)
        except dicom.Rejected as rejected:
            drops.append(Drop(place, rejected.reason, rejected.detail))
        else:
            headers.append(header)
            paths.append(path)
    if not headers:
        return None
    slices = blocks.middle_slices(headers)
    if len(slices) < len(schema.LEVELS):
        detail = f"{len(slices)} of {len(schema.LEVELS)} discs in {len(headers)} slices"
        drops.append(Drop(location, Reason.NO_DISC_BLOCK, detail))
    if not slices:
        return None
    return headers[0].sequence, {level: paths[index] for level, index in slices.items()}


def _series_reason(header: dicom.Header) -> Reason | None:
    if header.kind:
        return header.kind
    if header.plane is None:
        return Reason.NO_GEOMETRY
    if header.plane != "axial":
        return Reason.NOT_AXIAL
    if header.sequence is None:
        return Reason.UNKNOWN_SEQUENCE
    return None


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
