"""Any images and a table of one row an image: for whoever has no DICOM archive.

The table is given with --reports. Its columns are those of `table_rows.COLUMNS`, texts in columns
called ``report_...``, and labels: every other column is a task of the data set.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from data_prep.images import nifti, pixels, volume
from data_prep.images.dicom import Rejected
from data_prep.images.headers import Header, read_headers
from data_prep.process.parallel import ordered_map
from data_prep.records import schema
from data_prep.records.drops import Drop, NothingLeft, Reason
from data_prep.records.pairing import normal_id
from data_prep.records.scan import ImageRef, Inputs, Scan
from data_prep.records.tasks import IMAGE, PATIENT, Task, TaskLabels, read_tasks
from data_prep.records.texts import Text, TextRow
from data_prep.slices.series import file_sha256
from data_prep.sources.table_rows import Entry, TableRows
from data_prep.sources.table_texts import templated_text
from data_prep.tables.table import is_blank, read_table

PATIENT_COLUMN = REPORT_COLUMN = ""


def patient_key(cell: str) -> str | None:
    """A patient id without blanks, leading zeros and case, or None."""
    return None if is_blank(cell) else normal_id(cell)


def scan(inputs: Inputs) -> Scan:
    """Takes the image of every row; a patient's text is the report or made from the labels.

    Pictures whose pixel size the table does not say are scaled, so that the longer side fits.
    DICOM files are judged by their headers as everywhere, and what these know of persons is taken
    out of the texts.

    Raises:
      FileNotFoundError: there is no such folder or table.
      ValueError: the table lacks a column, or a row says what it may not.
    """
    root = inputs.images_dir
    if inputs.levels != "auto":
        raise ValueError("--levels is not for --source=table, whose column level says it: leave it")
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: correct --images")
    rows = TableRows(read_table(inputs.reports, option="--reports"))
    entries, drops = rows.entries()
    if not nifti.is_installed() and any(e.path.lower().endswith(nifti.SUFFIXES) for e in entries):
        raise ValueError(f"{inputs.reports} names NIfTI files, which need nibabel: {nifti.INSTALL}")
    reports, splits = rows.reports(entries), rows.splits(entries)
    tasks, labels_of = _tasks(rows, entries)
    results = ordered_map(
        functools.partial(_read, root, inputs.keep_doubtful),
        entries,
        workers=inputs.workers,
        label="reading images",
    )
    images: dict[int, ImageRef] = {}  # by the number of the row
    identities: dict[str, frozenset[str]] = {}
    first_of: dict[str, Entry] = {}
    for entry, (image, persons, drop) in zip(entries, results, strict=True):
        identities[entry.patient] = identities.get(entry.patient, frozenset()) | persons
        drops += [drop] if drop else []
        if image is None:
            continue
        first = first_of.setdefault(image.place, entry)
        if first is entry:
            images[entry.number] = image
        elif (
            dataclasses.replace(first, number=entry.number) == entry
            and labels_of[first.number] == labels_of[entry.number]
        ):
            drops.append(Drop(f"reports row {entry.number}", Reason.REPEATED_IMAGE))
        else:
            raise ValueError(
                f"{inputs.reports} row {entry.number} says other things of an image than row "
                f"{first.number}: keep one of them"
            )
    if not images:
        raise NothingLeft(f"no image of {inputs.reports} can be used", drops)
    labels = _labels(tasks, images, labels_of)
    made = _made(images.values(), labels, reports)
    return Scan(
        f"images of a table of {len(rows.table.rows)} rows",
        list(images.values()),
        drops,
        reports=reports | made,
        templated=frozenset(made),
        tasks=labels,
        texts=_texts(rows, entries, images),
        splits=splits,
        pictures=pixels.FITTED,
        identities=identities,
    )


def _read(
    root: pathlib.Path, keep_doubtful: bool, entry: Entry
) -> tuple[ImageRef | None, frozenset[str], Drop | None]:
    """(the image of a row, what its header says of persons, why it is left out)."""
    path = root / entry.path
    below = pathlib.PurePosixPath(entry.path)
    if below.is_absolute() or ".." in below.parts:
        return None, frozenset(), Drop(entry.path, Reason.MISSING_IMAGE, "not below --images")
    if not os.path.isfile(path):  # it answers for names that no file can have, too
        return None, frozenset(), Drop(entry.path, Reason.MISSING_IMAGE)
    header = None
    try:
        if not pixels.is_picture(path) and not volume.is_volume(path):
            header = _header(path, entry.slice, keep_doubtful)
        image = _image_ref(root, entry, header)
    except Rejected as rejected:
        persons = header.identities if header else frozenset()
        return None, persons, Drop(entry.path, rejected.reason, rejected.detail)
    return image, header.identities if header else frozenset(), None


def _header(path: pathlib.Path, index: int | None, keep_doubtful: bool) -> Header:
    headers = read_headers(path, keep_doubtful=keep_doubtful)
    if index is not None and index >= len(headers):
        raise Rejected(Reason.MISSING_IMAGE, "no such slice")
    return headers[len(headers) // 2 if index is None else index]


def _image_ref(root: pathlib.Path, entry: Entry, header: Header | None) -> ImageRef:
    """The image of a row; what the row leaves open the header says, and else what is usual.

    Raises:
      Rejected: it cannot be used.
    """
    path = root / entry.path
    plane = entry.plane or ("sagittal" if entry.level == schema.WHOLE_SPINE else "axial")
    sequence = entry.sequence
    frame, data_file = entry.slice or 0, path
    series = ""
    if header:
        if header.kind:
            raise Rejected(header.kind)
        seen = header.plane.view if header.plane else ""
        plane = entry.plane or (seen if seen in schema.PLANES else plane)
        sequence = header.sequence if sequence is None else sequence
        frame, series = header.frame, header.series
    elif volume.is_volume(path):
        grid = volume.read_volume(path)
        if frame >= grid.slices(plane):
            raise Rejected(Reason.MISSING_IMAGE, "no such slice")
        frame = grid.slices(plane) // 2 if entry.slice is None else frame
        data_file, series = grid.data_file, entry.path
    if not sequence:
        raise Rejected(Reason.UNKNOWN_SEQUENCE, "" if sequence is None else "by the table")
    study = entry.study or (header.study if header else "") or entry.patient
    try:
        sha256 = file_sha256(data_file)
    except OSError:
        raise Rejected(Reason.UNREADABLE_IMAGE, "its data are not there") from None
    return ImageRef(
        patient=entry.patient,
        study=study,
        level=entry.level,
        plane=plane,
        sequence=sequence,
        path=entry.path,
        sha256=sha256,
        series=series or f"{study} {plane} {sequence}",
        frame=frame,
        picture_mm=entry.picture_mm if pixels.is_picture(path) else 0.0,
    )


def _tasks(
    rows: TableRows, entries: Sequence[Entry]
) -> tuple[list[Task], dict[int, dict[str, int]]]:
    """(the tasks; row -> its labels). A task is of images if those of one patient ever differ."""
    tasks, labels = read_tasks(rows.table, rows.labels, PATIENT)
    numbers = [number for number, _ in rows.table.rows]
    labels_of = dict(zip(numbers, labels, strict=True))
    of_patient: dict[tuple[str, str], int] = {}
    of_images = set()
    for entry in entries:
        for name, label in labels_of[entry.number].items():
            if of_patient.setdefault((entry.patient, name), label) != label:
                of_images.add(name)
    units = [IMAGE if task.name in of_images else PATIENT for task in tasks]
    named = [dataclasses.replace(task, unit=unit) for task, unit in zip(tasks, units, strict=True)]
    return named, labels_of


def _labels(
    tasks: Sequence[Task],
    images: Mapping[int, ImageRef],
    labels_of: Mapping[int, Mapping[str, int]],
) -> TaskLabels:
    of_images = {task.name for task in tasks if task.unit == IMAGE}
    of_patient: dict[str, dict[str, int]] = {}
    of_image: dict[str, dict[str, int]] = {}
    for number, image in images.items():
        for name, label in labels_of[number].items():
            if name in of_images:
                of_image.setdefault(image.place, {})[name] = label
            else:
                of_patient.setdefault(image.patient, {})[name] = label
    return TaskLabels(tuple(tasks), of_patient, of_image)


def _made(
    images: Iterable[ImageRef], labels: TaskLabels, reports: Mapping[str, str]
) -> dict[str, str]:
    """patient -> text made from the labels, of those who have labels and no report."""
    by_level: dict[str, dict[str, list[Mapping[str, int]]]] = {}
    for image in images:
        of_patient = by_level.setdefault(image.patient, {})
        of_patient.setdefault(image.level, []).append(labels.of_image.get(image.place, {}))
    made = {
        patient: templated_text(labels.tasks, labels.of_patient.get(patient, {}), of_images)
        for patient, of_images in by_level.items()
        if patient not in reports
    }
    return {patient: text for patient, text in made.items() if text}


def _texts(
    rows: TableRows, entries: Sequence[Entry], images: Mapping[int, ImageRef]
) -> list[TextRow]:
    return [
        TextRow(
            f"reports row {entry.number} column {column}",
            entry.patient,
            (images[entry.number].place,),
            Text(text, kind, ()),
        )
        for entry, column, kind, text in rows.texts(entries)
        if entry.number in images
    ]
