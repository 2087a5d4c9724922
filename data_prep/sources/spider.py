"""SPIDER (van der Graaf et al., Zenodo 10159290): sagittal volumes and grades of every disc.

``images/<patient>_<t1|t2|t2_SPACE>.mha``, ``radiological_gradings.csv`` (a row a patient and disc)
and, if it is there, ``overview.csv`` (a row a volume). There are no reports: texts are templated.
"""

import functools
import pathlib
import re

from data_prep.images import volume
from data_prep.images.dicom import Rejected
from data_prep.process.parallel import ordered_map
from data_prep.records import schema
from data_prep.records.drops import Drop, Reason
from data_prep.records.findings import FINDINGS, STATUS
from data_prep.records.labels import Findings
from data_prep.records.levels import THORACOLUMBAR
from data_prep.records.scan import ImageRef, Inputs, Scan
from data_prep.slices.series import file_sha256
from data_prep.tables.table import Table, is_blank, read_table
from data_prep.text import templates

PATIENT_COLUMN = REPORT_COLUMN = ""
GRADINGS_FILE = "radiological_gradings.csv"
OVERVIEW_FILE = "overview.csv"
# Discs are counted from below, 1 being the lowest; the names are nominal.
LEVEL_OF_LABEL = dict(enumerate(reversed(THORACOLUMBAR), start=1))
# A column of 0 and 1 -> (phrase, the finding it is).
GRADED = {
    "Disc bulging": ("disc bulge", "disc_bulge"),
    "Disc herniation": ("disc herniation", "disc_herniation"),
    "Disc narrowing": ("disc space narrowing", None),
    "Spondylolisthesis": ("spondylolisthesis", "spondylolisthesis"),
    "UP endplate": ("upper endplate change", None),
    "LOW endplate": ("lower endplate change", None),
}
# The authors' spelling.
PFIRRMANN_COLUMN = "Pfirrman grade"
# The columns that say more than 0 or 1.
GRADES_OF = {"Modic": range(4), PFIRRMANN_COLUMN: range(1, 6)}
# Grades 1 and 2 are discs of normal height with a bright nucleus.
FIRST_DEGENERATED_GRADE = 3

Disc = dict[str, int]  # column -> grade of one disc


def patient_key(cell: str) -> str | None:
    """A patient number without leading zeros, or None."""
    match = re.fullmatch(r"\s*0*([0-9]{1,9})(\.0)?\s*", cell)
    return match[1] if match else None


def scan(inputs: Inputs) -> Scan:
    """Takes the middle sagittal slice of every volume of every graded patient.

    A sagittal view shows all discs, so its level is "all" and its Pfirrmann grade the worst of the
    three lowest discs. Grades of a patient hold for each of his series; Pfirrmann's are defined on
    T2 and are left away for patients who have none.

    Raises:
      FileNotFoundError: there is no such folder or no table of gradings.
      ValueError: the table lacks a column, or levels are asked for.
    """
    root = inputs.images_dir
    if inputs.levels != "auto":
        raise ValueError("--levels is for axial slices, and SPIDER has none: leave it away")
    if not (root / "images").is_dir():
        raise FileNotFoundError(f"there is no folder {root / 'images'}: correct --images")
    discs, drops = read_gradings(root / GRADINGS_FILE)
    images: list[ImageRef] = []
    names = sorted(path.name for path in (root / "images").iterdir())
    results = ordered_map(
        functools.partial(_scan_volume, root),
        names,
        workers=inputs.workers,
        label="reading volumes",
    )
    for image, drop in results:
        images += [image] if image else []
        drops += [drop] if drop else []
    drops += _missing(root, names)
    with_t2 = {image.patient for image in images if image.sequence == "T2"}
    return Scan(
        f"middle sagittal slices of {len(images)} volumes, texts templated from grades",
        images,
        drops,
        reports={patient: _text(levels) for patient, levels in discs.items()},
        templated=frozenset(discs),
        findings={patient: _findings(levels) for patient, levels in discs.items()},
        grades={
            patient: _pfirrmann(levels) for patient, levels in discs.items() if patient in with_t2
        },
    )


def read_gradings(path: pathlib.Path) -> tuple[dict[str, dict[str, Disc]], list[Drop]]:
    """(patient -> level -> grades, rows and cells left out).

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it lacks a column, or grades a disc twice.
    """
    table = read_table(path, option="--images")
    columns = {name: table.column(name) for name in (*GRADED, "Modic", PFIRRMANN_COLUMN)}
    patient_index, label_index = table.column("Patient"), table.column("IVD label")
    discs: dict[str, dict[str, Disc]] = {}
    drops = []
    for number, cells in table.rows:
        where = f"gradings row {number}"
        patient, label = patient_key(cells[patient_index]), patient_key(cells[label_index])
        level = LEVEL_OF_LABEL.get(int(label or 0))
        if patient is None or level is None:
            drops.append(Drop(where, Reason.BAD_GRADE, "no patient or no disc"))
            continue
        disc = {}
        for name, index in columns.items():
            grade = patient_key(cells[index])
            if grade is not None and int(grade) in GRADES_OF.get(name, (0, 1)):
                disc[name] = int(grade)
            elif not is_blank(cells[index]):
                drops.append(Drop(where, Reason.BAD_GRADE, f"{name} is no such number"))
        if discs.setdefault(patient, {}).setdefault(level, disc) != disc:
            raise ValueError(
                f"{path} row {number} grades a disc otherwise than a row above: keep one of them"
            )
    return discs, drops


def _scan_volume(root: pathlib.Path, name: str) -> tuple[ImageRef | None, Drop | None]:
    location = f"images/{name}"
    match = re.fullmatch(r"([0-9]+)_(t1|t2|t2_space)\.mh[ad]", name, re.IGNORECASE)
    patient = patient_key(match[1]) if match else None
    if match is None or patient is None:
        return None, Drop(location, Reason.UNKNOWN_FILE)
    try:
        found = volume.read_volume(root / location)
        sha256 = file_sha256(found.data_file)
    except Rejected as rejected:
        return None, Drop(location, rejected.reason, rejected.detail)
    except OSError:
        return None, Drop(location, Reason.UNREADABLE_IMAGE, "its data are not there")
    image = ImageRef(
        patient=patient,
        study=patient,
        level=schema.WHOLE_SPINE,
        plane="sagittal",
        sequence=match[2][:2].upper(),
        path=location,
        sha256=sha256,
        series=location,
        frame=found.slices("sagittal") // 2,
    )
    return image, None


def _missing(root: pathlib.Path, names: list[str]) -> list[Drop]:
    """The volumes that the overview lists and the folder does not have."""
    if not (root / OVERVIEW_FILE).is_file():
        return []
    table: Table = read_table(root / OVERVIEW_FILE, option="--images")
    index = table.column("new_file_name")
    stems = {pathlib.Path(name).stem for name in names}
    return [
        Drop(f"overview row {number}", Reason.MISSING_IMAGE)
        for number, cells in table.rows
        if not is_blank(cells[index]) and cells[index].strip() not in stems
    ]


def _text(levels: dict[str, Disc]) -> str:
    """One line a disc, from the head down."""
    lines = []
    for level in reversed(LEVEL_OF_LABEL.values()):
        disc = levels.get(level, {})
        present = [phrase for name, (phrase, _) in GRADED.items() if disc.get(name, 0) > 0]
        absent = [phrase for name, (phrase, _) in GRADED.items() if disc.get(name) == 0]
        if disc.get("Modic"):
            present.append(f"Modic type {disc['Modic']} change")
        if disc.get(PFIRRMANN_COLUMN):
            present.insert(0, f"Pfirrmann grade {disc[PFIRRMANN_COLUMN]}")
        if present or absent:
            lines.append(templates.statement(level, present, absent))
    return "\n".join(lines)


def _status(disc: Disc, finding: str) -> int:
    if finding == "disc_degeneration":
        grade = disc.get(PFIRRMANN_COLUMN, 0)
        degenerated = "present" if grade >= FIRST_DEGENERATED_GRADE else "absent"
        return STATUS[degenerated if grade else "not_mentioned"]
    columns = [name for name, (_, graded) in GRADED.items() if graded == finding]
    grades = [disc[name] for name in columns if name in disc]
    if not grades:
        return STATUS["not_mentioned"]
    return STATUS["present" if max(grades) > 0 else "absent"]


def _findings(levels: dict[str, Disc]) -> Findings:
    """A finding of the patient is present if it is at any graded disc."""
    return Findings.of_levels(
        {
            level: {finding: _status(disc, finding) for finding in FINDINGS}
            for level, disc in levels.items()
        }
    )


def _pfirrmann(levels: dict[str, Disc]) -> dict[str, int]:
    grades = {
        level: levels[level][PFIRRMANN_COLUMN]
        for level in schema.LEVELS
        if PFIRRMANN_COLUMN in levels.get(level, {})
    }
    return grades | ({schema.WHOLE_SPINE: max(grades.values())} if grades else {})
