"""The published Lumbar Spine MRI Dataset (Sudirman et al., Mendeley Data k57fr854j2, s6bgczr8s2).

Two forms of the images: the raw studies ``01_MRI_Data/<pppp>/<study>/<series>/*.ima`` and the axial
slices that its authors picked from them,
``04_Intermediary_Ground_Truth_Data/T<1|2>_Output/T<1|2>_<pppp>_D<3|4|5>.png``.
"""

import functools
import pathlib
import re

from data_prep.images.dicom import Rejected
from data_prep.images.headers import read_headers
from data_prep.process.parallel import ordered_map
from data_prep.records import schema
from data_prep.records.drops import Drop, Reason
from data_prep.records.grades import LEVEL_OF_DISC
from data_prep.records.scan import ImageRef, Inputs, Scan
from data_prep.slices import levels, series
from data_prep.slices.series import Candidate, Series, Slice
from data_prep.slices.slice_tables import SliceTables, natural_order, read_slice_tables

PATIENT_COLUMN = "Patient ID"
REPORT_COLUMN = "Clinician's Notes"
RAW_FOLDER = "01_MRI_Data"
SLICES_FOLDER = "04_Intermediary_Ground_Truth_Data"
TABLES_FOLDER = "09_Source_Code/03_Extract_Best_Slices"


def patient_key(cell: str) -> str | None:
    """The four-digit folder name of a patient number, or None."""
    # A table that went through pandas writes patient 18 as 18.0.
    match = re.fullmatch(r"\s*([0-9]{1,9})(\.0)?\s*", cell)
    return f"{int(match[1]):04d}" if match else None


def scan(inputs: Inputs) -> Scan:
    """Finds the axial T1 and T2 slice of each of the three lowest discs of every patient.

    A folder with both forms is read in the form of ready slices: those were picked, and their
    levels assigned, by the authors; of the raw studies both must be inferred. To read the raw form
    of such a folder, give its ``01_MRI_Data`` itself.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it holds neither form, or the levels cannot be told in the way asked for.
    """
    root = inputs.images_dir
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: correct --images")
    slices, raw = root / SLICES_FOLDER, root / RAW_FOLDER
    if inputs.levels == "column":
        raise ValueError("--levels=column is for --source=folder: choose auto, blocks or table")
    if slices.is_dir():
        form = f"ready PNG slices of {SLICES_FOLDER}"
        unread = f", not the raw DICOM of {RAW_FOLDER} beside it" if raw.is_dir() else ""
        return _scan_slices(root, slices, form + unread)
    if root.name == RAW_FOLDER:
        raw = root
    if raw.is_dir():
        return _scan_raw(inputs, raw)
    raise ValueError(
        f"{root} has neither {RAW_FOLDER} (raw DICOM) nor {SLICES_FOLDER} (ready PNG "
        "slices): point --images to the folder that holds one of them"
    )


def _scan_slices(root: pathlib.Path, folder: pathlib.Path, form: str) -> Scan:
    images, drops = [], []
    for sequence in schema.SEQUENCES:
        for path in sorted((folder / f"{sequence}_Output").glob("*")):
            match = re.fullmatch(
                rf"{sequence}_([0-9]{{4}})_({'|'.join(LEVEL_OF_DISC)})\.png", path.name
            )
            location = path.relative_to(root).as_posix()
            if match is None or not path.is_file():
                drops.append(Drop(location, Reason.UNKNOWN_FILE))
                continue
            patient, disc = match.groups()
            level, sha256 = LEVEL_OF_DISC[disc], series.file_sha256(path)
            images.append(
                # The slices do not say which study they are from.
                ImageRef(patient, patient, level, "axial", sequence, location, sha256)
            )
    return Scan(form, images, drops)


def _scan_raw(inputs: Inputs, raw: pathlib.Path) -> Scan:
    root = inputs.images_dir
    tables = _slice_tables(inputs)
    patients, drops = [], []
    for path in sorted(raw.iterdir()):
        if path.is_dir() and patient_key(path.name) == path.name:
            patients.append(path)
        else:
            drops.append(Drop(path.relative_to(root).as_posix(), Reason.UNKNOWN_FILE))
    images, identities = [], {}
    results = ordered_map(
        functools.partial(_scan_patient, root, tables, inputs.keep_doubtful),
        patients,
        workers=inputs.workers,
        label="reading headers",
    )
    for folder, (patient_images, patient_drops, persons) in zip(patients, results, strict=True):
        images += patient_images
        drops += patient_drops
        identities[folder.name] = persons
    way = "by the published slice tables" if tables else "counted from below"
    form = f"raw DICOM of {RAW_FOLDER}, levels {way}"
    return Scan(form, images, drops, identities=identities)


def _slice_tables(inputs: Inputs) -> SliceTables | None:
    beside = inputs.images_dir / TABLES_FOLDER
    if inputs.levels == "blocks":
        return None
    if inputs.slice_tables or beside.is_dir() or inputs.levels == "table":
        return read_slice_tables(inputs.slice_tables or beside)
    return None


def _scan_patient(
    root: pathlib.Path, tables: SliceTables | None, keep_doubtful: bool, folder: pathlib.Path
) -> tuple[list[ImageRef], list[Drop], frozenset[str]]:
    """Chooses one axial series of each sequence and the slice of each disc in it."""
    drops: list[Drop] = []
    by_study: dict[pathlib.Path, list[Candidate]] = {}
    persons: frozenset[str] = frozenset()
    for study in _folders(root, folder, drops):
        folders = _folders(root, study, drops)
        if tables:
            found = [_named_slices(root, one, tables, drops, keep_doubtful) for one in folders]
            candidates = [candidate for candidate in found if candidate]
        else:
            axial = [_axial_series(root, one, drops, keep_doubtful) for one in folders]
            persons |= series.identities(item for one in axial for item in one.slices)
            frames = series.by_frame(axial)
            candidates = [c for _, one in frames for c in levels.by_blocks(one, drops)]
        if candidates:
            by_study[study] = candidates
    candidates = [candidate for found in by_study.values() for candidate in found]
    persons |= series.identities(item for c in candidates for item in c.slices.values())
    if len(by_study) > 1 and not tables:
        # The report of a patient does not say which of several studies it is of; the tables do.
        places = (study.relative_to(root).as_posix() for study in by_study)
        return [], [*drops, *(Drop(p, Reason.STUDY_AMBIGUOUS) for p in places)], persons
    chosen, not_chosen = series.best_of_each_sequence(candidates)
    images = []
    for candidate in chosen:
        place = next(iter(candidate.places.values()))
        study = pathlib.PurePosixPath(place).parent.as_posix()
        images += series.image_refs(candidate, root, patient=folder.name, study=study)
    return images, drops + not_chosen, persons


def _folders(root: pathlib.Path, parent: pathlib.Path, drops: list[Drop]) -> list[pathlib.Path]:
    """The folders in a folder; anything else in it is left out."""
    children = sorted(parent.iterdir())
    drops += [
        Drop(path.relative_to(root).as_posix(), Reason.UNKNOWN_FILE)
        for path in children
        if not path.is_dir()
    ]
    return [path for path in children if path.is_dir()]


def _axial_series(
    root: pathlib.Path, folder: pathlib.Path, drops: list[Drop], keep_doubtful: bool
) -> Series:
    """The axial slices of one series folder, or none with a drop added.

    The first readable header decides whether the rest of the folder is looked at.
    """
    place = folder.relative_to(root).as_posix()
    found: list[Slice] = []
    for path in sorted(folder.iterdir()):
        location = path.relative_to(root).as_posix()
        try:
            if not path.is_file():
                raise Rejected(Reason.UNKNOWN_FILE)
            headers = read_headers(path, keep_doubtful=keep_doubtful)
        except Rejected as rejected:
            drops.append(Drop(location, rejected.reason, rejected.detail))
            continue
        for header in headers:
            reason = series.reason_against(header)
            if reason and not found:
                drops.append(Drop(place, reason))
                return Series(place, [])
            if reason:
                drops.append(Drop(location, reason))
            else:
                found.append(Slice(location, header))
    return Series(place, found)


def _named_slices(
    root: pathlib.Path,
    folder: pathlib.Path,
    tables: SliceTables,
    drops: list[Drop],
    keep_doubtful: bool,
) -> Candidate | None:
    """The slices of one series folder that the published tables name, or None with a drop added."""
    patient = int(folder.parent.parent.name)
    place = folder.relative_to(root).as_posix()
    named = any(
        folder.name.casefold().startswith(folders.get(patient, "\0").casefold())
        for folders in tables.folders.values()
    )
    if not named or patient not in tables.numbers:
        drops.append(Drop(place, Reason.SERIES_NOT_CHOSEN, "not in the slice tables"))
        return None
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=natural_order)
    found = []
    for number in tables.numbers[patient]:
        if not 1 <= number <= len(files):
            drops.append(Drop(place, Reason.NO_DISC_BLOCK, "a slice number beyond the series"))
            return None
        location = files[number - 1].relative_to(root).as_posix()
        try:
            header = read_headers(files[number - 1], keep_doubtful=keep_doubtful)[0]
            reason = series.reason_against(header)
            if reason:
                raise Rejected(reason)
        except Rejected as rejected:
            drops.append(Drop(location, rejected.reason, rejected.detail))
            return None
        found.append(Slice(location, header))
    # Their names do not say which is which; their heights do.
    found.sort(key=lambda item: -item.header.known_plane.center_mm[2])
    return Candidate.of(place, dict(zip(schema.LEVELS, found, strict=True)))
