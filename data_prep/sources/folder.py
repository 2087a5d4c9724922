"""Any folder of DICOM studies and a report table with columns of any name: bring your own.

Names of files and folders mean nothing here; headers decide everything.
"""

import functools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from data_prep.images import quarantine
from data_prep.images.dicom import Rejected
from data_prep.images.headers import Header, read_headers
from data_prep.process.parallel import ordered_map
from data_prep.records import schema
from data_prep.records.drops import Drop, NothingLeft, Reason
from data_prep.records.levels import disc_named
from data_prep.records.pairing import Record, normal_id
from data_prep.records.scan import Inputs, Scan
from data_prep.slices import levels, series
from data_prep.slices.series import Candidate, Series, Slice
from data_prep.sources.joining import Exam, ReportIds, join, with_several
from data_prep.tables.table import is_blank, read_table
from data_prep.text.reports import read_reports, report_group

# Named by the user, and read by `scan`, since rows are joined to studies by what headers say.
PATIENT_COLUMN = REPORT_COLUMN = ""
FILES_A_TASK = 256
# What shows that a patient was examined by MR, usable or not.
SCANNED = (None, Reason.LOCALIZER, Reason.OVERLAY, *quarantine.DOUBTFUL)


def patient_key(cell: str) -> str | None:
    """A patient id without blanks, leading zeros and case, or None."""
    return normal_id(cell) or None


def scan(inputs: Inputs) -> Scan:
    """Finds the axial T1 and T2 slice of each of the three lowest discs of every reported study.

    Images and reports are joined on every id whose column is named: of the patient, the study and
    the accession; what could belong to another is left out. Of several reported studies of a
    patient the latest is taken, since a record stands for one patient and one report.

    Raises:
      FileNotFoundError: there is no such folder or table.
      ValueError: a column is missing or no id of the table is one of the images'.
    """
    root = inputs.images_dir
    ids = ReportIds(inputs.columns)
    table = read_table(inputs.reports, option="--reports")
    ids.check(table)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: correct --images")
    first, *further = ids.columns.values()
    reports, drops = read_reports(
        inputs.reports,
        patient_column=first,
        further_id_columns=further,
        report_column=inputs.columns.report,
        patient_key=ids.of_row,
    )
    level_of_image = None
    if ids.levels_by_column(inputs.levels):
        level_of_image = _levels_of_images(inputs, drops)
    studies, exams = _read_studies(inputs, drops)
    drops += _missing(root, level_of_image or {}, studies.values())
    if not studies:
        raise NothingLeft(f"{root} holds no axial T1 or T2 MR slices", drops)
    chosen, reports_of, join_drops = join(studies, exams, reports, ids)
    drops += join_drops
    images = []
    for patient, study in chosen.items():
        images += _images(root, patient, study, studies[study], level_of_image, drops)
    way = "as the table says" if level_of_image else "counted from below"
    # A patient's other studies may have other spellings of the name.
    identities: dict[str, frozenset[str]] = {}
    for (patient, _), slices in studies.items():
        identities[patient] = identities.get(patient, frozenset()) | series.identities(slices)
    form = f"DICOM of any layout, levels {way}"
    several = with_several(exams) | ids.with_several(reports)
    records = {
        patient: _record(studies[study][0].header, reports_of[patient], patient not in several)
        for patient, study in chosen.items()
    }
    return Scan(form, images, drops, reports_of, records=records, identities=identities)


def _record(header: Header, report: str, alone: bool) -> Record:
    study, accession = normal_id(header.study), normal_id(header.accession)
    return Record(report_group(report), study, accession, alone)


def level_named(text: str) -> str | None:
    """The level that a person's "L4/5", "L4-L5", "l5 s1" means, or None."""
    name = disc_named(text)
    return name if name in schema.LEVELS else None


def _levels_of_images(inputs: Inputs, drops: list[Drop]) -> dict[str, str]:
    """The table's image column (path or SOP instance UID) -> level.

    Raises:
      ValueError: an image has two levels.
    """
    table = read_table(inputs.reports, option="--reports")
    image = table.column(inputs.columns.image, option="--image_column")
    level = table.column(inputs.columns.level, option="--level_column")
    found: dict[str, str] = {}
    for number, cells in table.rows:
        name = level_named(cells[level])
        place = pathlib.PurePosixPath(cells[image].strip().replace("\\", "/")).as_posix()
        if name and not is_blank(cells[image]):
            if found.setdefault(place, name) != name:
                raise ValueError(
                    f"{table.path} row {number} gives an image another level than a row above: "
                    "keep one of them"
                )
        elif not (is_blank(cells[level]) and is_blank(cells[image])):
            drops.append(Drop(f"reports row {number}", Reason.BAD_LEVEL))
    return found


def _missing(
    root: pathlib.Path, level_of_image: Mapping[str, str], studies: Iterable[Sequence[Slice]]
) -> list[Drop]:
    """The images of the level column that are not below `root`, or no usable ones by their UID."""
    uids = {item.header.image for slices in studies for item in slices}
    return [
        Drop(name, Reason.MISSING_IMAGE)
        for name in level_of_image
        # It answers for names that no file can have, too.
        if name not in uids and not os.path.isfile(root / name)
    ]


def _read_studies(
    inputs: Inputs, drops: list[Drop]
) -> tuple[dict[tuple[str, str], list[Slice]], set[Exam]]:
    """The axial slices of every study, by (patient id, study UID), and all examinations."""
    paths = sorted(
        os.path.relpath(os.path.join(folder, name), inputs.images_dir)
        for folder, _, names in os.walk(inputs.images_dir)
        for name in names
    )
    tasks = [paths[i : i + FILES_A_TASK] for i in range(0, len(paths), FILES_A_TASK)]
    results = ordered_map(
        functools.partial(_read_files, inputs.images_dir, inputs.keep_doubtful),
        tasks,
        workers=inputs.workers,
        label="reading headers",
    )
    studies: dict[tuple[str, str], list[Slice]] = {}
    exams: set[Exam] = set()
    rejected: dict[tuple[str, Reason], str] = {}
    for slices, file_exams, file_drops, series_drops in results:
        drops += file_drops
        exams |= file_exams
        for key, place in series_drops.items():
            rejected.setdefault(key, place)
        for item in slices:
            study = (normal_id(item.header.patient), item.header.study)
            studies.setdefault(study, []).append(item)
    drops += [Drop(place, reason) for (_, reason), place in rejected.items()]
    return studies, exams


def _read_files(
    root: pathlib.Path, keep_doubtful: bool, paths: Sequence[str]
) -> tuple[list[Slice], set[Exam], list[Drop], dict[tuple[str, Reason], str]]:
    """The usable slices of some files, their MR exams, the files left out, and the series.

    A series is left out as one: (its UID, reason) -> the place of its first file.
    """
    slices: list[Slice] = []
    exams: set[Exam] = set()
    drops: list[Drop] = []
    whole_series: dict[tuple[str, Reason], str] = {}
    for path in paths:
        try:
            if not (root / path).is_file():  # a pipe would be waited for
                raise Rejected(Reason.UNKNOWN_FILE)
            headers = read_headers(root / path, keep_doubtful=keep_doubtful)
        except Rejected as rejected:
            drops.append(_unreadable(root, path, rejected))
            continue
        for header in headers:
            reason = series.reason_against(header)
            if header.kind in SCANNED:
                exams.add(Exam.of(header))
            if reason is None and not header.patient:
                reason = Reason.NO_PATIENT_ID
            if reason:
                whole_series.setdefault((header.series or path, reason), path)
            else:
                slices.append(Slice(path, header))
    return slices, exams, drops, whole_series


def _unreadable(root: pathlib.Path, path: str, rejected: Rejected) -> Drop:
    if rejected.reason == Reason.UNREADABLE_DICOM and not _is_dicom(root / path):
        # Reports, pictures and programs lie among the studies of any exported disc.
        return Drop(path, Reason.UNKNOWN_FILE)
    return Drop(path, rejected.reason, rejected.detail)


def _is_dicom(path: pathlib.Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:  # a link to nowhere, or a file that nobody may read
        return False


def _images(
    root: pathlib.Path,
    patient: str,
    study: tuple[str, str],
    slices: Sequence[Slice],
    level_of_image: Mapping[str, str] | None,
    drops: list[Drop],
) -> list:
    """The images of one study: the three discs of each sequence."""
    by_series: dict[str, list[Slice]] = {}
    for item in slices:
        # Headers that name no series are told apart by sequence, at least.
        by_series.setdefault(item.header.series or item.header.known_sequence, []).append(item)
    found = [Series(items[0].path, items) for items in by_series.values()]
    if level_of_image is not None:
        candidates = _named(found, level_of_image, drops)
    else:
        candidates = []
        for _, comparable in series.by_frame(found):
            candidates += levels.by_blocks(comparable, drops)
    chosen, not_chosen = series.best_of_each_sequence(candidates)
    drops += not_chosen
    return [
        image
        for candidate in chosen
        for image in series.image_refs(candidate, root, patient=patient, study=study[1])
    ]


def _named(
    found: Sequence[Series], level_of_image: Mapping[str, str], drops: list[Drop]
) -> list[Candidate]:
    """One candidate a sequence from all series with slices in the level column."""
    candidates = []
    for one in found:
        named: dict[str, dict[str, Slice]] = {}
        for item in one.slices:
            level = _level(item, level_of_image, drops)
            of_sequence = named.setdefault(item.header.known_sequence, {})
            if level and of_sequence.setdefault(level, item) is not item:
                drops.append(Drop(item.path, Reason.REPEATED_IMAGE))
        candidates += [Candidate.of(one.place, slices) for slices in named.values() if slices]
        if not any(named.values()):
            detail = "no slice of it in the level column"
            drops.append(Drop(one.place, Reason.NO_DISC_BLOCK, detail))
    whole, not_chosen = series.joined(candidates)
    drops += not_chosen
    return whole


def _level(item: Slice, level_of_image: Mapping[str, str], drops: list[Drop]) -> str | None:
    """What the level column says of a slice, by its path or its UID."""
    name = pathlib.PurePath(item.path).as_posix()
    said = {level_of_image.get(name), level_of_image.get(item.header.image)} - {None}
    if len(said) > 1:
        drops.append(Drop(item.path, Reason.BAD_LEVEL, "another level by its path than by UID"))
    return said.pop() if len(said) == 1 else None
