"""The table of further texts: a row a text of a patient or an image."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from data_prep.records.drops import Drop, Reason
from data_prep.records.pairing import Record, reason_against
from data_prep.records.row_ids import RowIds, without
from data_prep.records.scan import NO_COLUMNS, Columns, ImageRef
from data_prep.records.tasks import NO_LABEL, Task, name_of
from data_prep.records.texts import ANY_KIND, KIND, FurtherTexts, Text, TextRow
from data_prep.tables.table import Table, is_blank
from data_prep.text.reports import clean, report_group, scrub_reports


def read_texts(
    table: Table,
    tasks: Sequence[Task],
    records: Mapping[str, Record],
    images: Iterable[ImageRef],
    *,
    patient_key: Callable[[str], str | None],
    patient_column: str = "",
    columns: Columns = NO_COLUMNS,
) -> tuple[list[TextRow], list[Drop]]:
    """Reads the columns ``patient`` or ``path``, ``text``, ``kind`` and labels of tasks.

    Args:
      table: to read.
      tasks: of the data set; a column of labels is called like one of them.
      records: patient -> what the records of those who have an image are made of.
      images: that were found.
      patient_key: maps a cell to the id that the images use, or to None.
      patient_column: what the source calls the ids of patients.
      columns: of the report table, see `RowIds`.

    Returns:
      (the rows that are of a record, what was left out).

    Raises:
      ValueError: a column is missing or unknown, a kind is no word, a label is no class, or no row
        is of a record.
    """
    ids = RowIds(table, patient_key=patient_key, patient_column=patient_column, columns=columns)
    text_index = table.column("text")
    kind_index = table.column("kind") if table.has("kind") else None
    images_at: dict[str, list[ImageRef]] = {}
    for image in images:
        images_at.setdefault(image.path, []).append(image)
    labels = _label_columns(table, without(table, (*ids.names, "text", "kind")), tasks)
    rows, drops = [], []
    for number, cells in table.rows:
        place = f"texts row {number}"
        text = clean(cells[text_index])
        shown = images_at.get(ids.path(cells), []) if ids.of_images else []
        subject = None if ids.of_images else ids.subject(cells)
        patient = subject.patient if subject else next((image.patient for image in shown), "")
        if is_blank(text):
            drops.append(Drop(place, Reason.REPORT_EMPTY))
        elif patient not in records:
            drops.append(Drop(place, Reason.TEXTS_WITHOUT_IMAGE))
        elif subject and (reason := reason_against(subject, records[patient])):
            drops.append(Drop(place, reason))
        else:
            kind = ANY_KIND if kind_index is None else _kind(table, number, cells[kind_index])
            codes = tuple(_label(table, number, cells, labels.get(t.name), t) for t in tasks)
            places = tuple(image.place for image in shown)
            rows.append(TextRow(place, patient, places, Text(text, kind, codes)))
    if not rows:
        raise ValueError(
            f"{table.path} has a text of none of the records: correct its ids of patients, or its "
            "paths of images, which begin below --images"
        )
    return rows, drops


def scrubbed_texts(
    rows: Sequence[TextRow],
    tasks: int,
    reports: Mapping[str, str],
    identities: Mapping[str, Collection[str]],
) -> tuple[FurtherTexts, dict[str, int], list[Drop]]:
    """Takes identities out of texts as out of reports, and leaves out what a record has already.

    Args:
      rows: in the order of the table.
      tasks: how many the data set has; a text without labels has none of each.
      reports: patient -> report, without identities.
      identities: patient -> what the headers of that patient's images say of persons.

    Returns:
      (the texts, how many identities were taken out by category, the rows that repeat the report
      or an earlier text of the same record).
    """
    known = {row.row: identities.get(row.patient, ()) for row in rows}
    scrubbed, removed = scrub_reports({row.row: row.text.text for row in rows}, known)
    of_patient: dict[str, list[Text]] = {}
    of_image: dict[str, list[Text]] = {}
    seen = {(patient, "", report_group(text)) for patient, text in reports.items()}
    drops = []
    for row in rows:
        labels = row.text.labels or (NO_LABEL,) * tasks
        text = dataclasses.replace(row.text, text=scrubbed[row.row], labels=labels)
        group = report_group(text.text)
        # A text of the patient is every image's, and has no place.
        new = [place for place in row.places or ("",) if (row.patient, place, group) not in seen]
        if not new or (row.patient, "", group) in seen:
            drops.append(Drop(row.row, Reason.TEXT_REPEATED))
            continue
        seen |= {(row.patient, place, group) for place in new}
        for place in new:
            texts, key = (of_image, place) if place else (of_patient, row.patient)
            texts.setdefault(key, []).append(text)
    return FurtherTexts(of_patient, of_image, labelled=tasks > 0), removed, drops


def _label_columns(table: Table, named: Sequence[str], tasks: Sequence[Task]) -> dict[str, int]:
    """Task -> the index of its column."""
    index_of: dict[str, int] = {}
    for column in named:
        name = name_of(column)
        if name not in {task.name for task in tasks} or name in index_of:
            known = ", ".join(["text", "kind", *(task.name for task in tasks)])
            raise ValueError(
                f"{table.path} has a column {column!r}, unknown or twice: rename it to one of "
                f"{known}, or delete it"
            )
        index_of[name] = table.column(column)
    return index_of


def _kind(table: Table, number: int, cell: str) -> str:
    kind = ANY_KIND if is_blank(cell) else cell.strip().lower().replace(" ", "_")
    if not KIND.fullmatch(kind):
        raise ValueError(
            f"{table.path} row {number} has a kind of more than letters a-z and _: correct it"
        )
    return kind


def _label(table: Table, number: int, cells: Sequence[str], index: int | None, task: Task) -> int:
    if index is None:
        return NO_LABEL
    try:
        return task.index_of(cells[index])
    except ValueError as error:
        raise ValueError(
            f"{table.path} row {number} has a label of {task.name} that is no class of it: {error}"
        ) from None
