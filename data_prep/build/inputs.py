"""The front half of a build: everything that it reads, before anything is planned."""

import contextlib
import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_prep.label_reports.reader import findings_of_reports
from data_prep.records import labels
from data_prep.records.drops import Drop, Reason
from data_prep.records.grades import read_grades
from data_prep.records.label_table import LabelTable, read_label_table
from data_prep.records.labels import Findings
from data_prep.records.pairing import Record, pair
from data_prep.records.scan import ImageRef, Inputs
from data_prep.records.tasks import TaskLabels
from data_prep.records.texts import NO_TEXTS, FurtherTexts
from data_prep.sources import SOURCES
from data_prep.tables.table import read_table
from data_prep.text.further import read_texts, scrubbed_texts
from data_prep.text.reports import read_reports, report_group, scrub_reports

READ = "read from the reports"


@dataclasses.dataclass(frozen=True)
class Material:
    """What a data set is made of, each by patient; labels of tasks also by image.

    `templated` holds the patients whose report was made from grades. `splits` are those that the
    source prescribes, if it does. `provenance` has entries of the manifest that say where all this
    is from.
    """

    images: list[ImageRef]
    reports: Mapping[str, str]
    findings: Mapping[str, Findings]
    grades: Mapping[str, Mapping[str, int]]
    tasks: TaskLabels
    texts: FurtherTexts
    templated: frozenset[str]
    splits: Mapping[str, str] | None
    pictures: str
    drops: list[Drop]
    provenance: dict[str, object]


def read_inputs(
    source: str,
    inputs: Inputs,
    *,
    grades_file: pathlib.Path | None = None,
    findings_file: pathlib.Path | None = None,
    label_table: pathlib.Path | None = None,
    texts_file: pathlib.Path | None = None,
    label_reports: bool = True,
) -> Material:
    """Reads tables first, since they are quick to be wrong, then images.

    Args:
      label_reports: read the findings from reports that were written by a doctor, where there are
        none from elsewhere.

    Raises:
      FileNotFoundError: an input is missing.
      ValueError: an input is wrong.
    """
    origin = SOURCES[source]
    reports, drops = {}, []
    if origin.REPORT_COLUMN:
        reports, drops = read_reports(
            inputs.reports,
            patient_column=origin.PATIENT_COLUMN,
            report_column=origin.REPORT_COLUMN,
            patient_key=origin.patient_key,
        )
    grade_lines, finding_lines = [], []
    if grades_file:
        grade_lines, grade_drops = read_grades(
            grades_file, patient_key=origin.patient_key, columns=inputs.columns
        )
        drops += grade_drops
    if findings_file:
        finding_lines = labels.read_findings(findings_file, patient_key=origin.patient_key)
    ids: dict[str, Any] = {
        "patient_key": origin.patient_key,
        "patient_column": origin.PATIENT_COLUMN,
        "columns": inputs.columns,
    }
    given = None
    if label_table:
        given, more = read_label_table(label_table, report_column=origin.REPORT_COLUMN, **ids)
        drops += more
    text_table = read_table(texts_file, option="--texts") if texts_file else None
    with _without_names_below(inputs.images_dir):
        scan = origin.scan(inputs)
    written = reports if scan.reports is None else scan.reports
    records = {
        patient: scan.records.get(patient) or Record(report_group(text))
        for patient, text in written.items()
    }
    grades, more = pair(grade_lines, records, what="grades", unpaired=Reason.GRADES_WITHOUT_IMAGE)
    drops += more
    findings, more = pair(
        finding_lines, records, what="findings", unpaired=Reason.FINDINGS_WITHOUT_IMAGE
    )
    drops += more
    if finding_lines and not findings:
        raise ValueError(
            f"{findings_file} labels none of the reports: make it from this table of reports with "
            "data_prep.label_reports, or correct its ids"
        )
    patients = {image.patient for image in scan.images} & written.keys()
    tasks = scan.tasks
    if given:
        labels_given, more = _labelled(given, scan.images, records)
        tasks = tasks.joined(labels_given)
        drops += more
    by_doctors = patients - set(scan.templated)
    is_read = bool(label_reports and by_doctors and not (findings_file or scan.findings))
    if is_read:
        findings = findings_of_reports({patient: written[patient] for patient in by_doctors})
    reports, removed = scrub_reports(written, scan.identities)
    texts, rows = NO_TEXTS, list(scan.texts)
    if text_table:
        here = {patient: records[patient] for patient in patients}
        more_rows, more = read_texts(text_table, tasks.tasks, here, scan.images, **ids)
        rows += more_rows
        drops += more
    if rows:
        texts, removed_too, more = scrubbed_texts(rows, len(tasks.tasks), reports, scan.identities)
        drops += more
        removed = dict(sorted((Counter(removed) + Counter(removed_too)).items()))
    return Material(
        images=scan.images,
        reports=reports,
        findings=findings or scan.findings,
        grades=grades or scan.grades,
        tasks=tasks,
        texts=texts,
        templated=frozenset(scan.templated),
        splits=scan.splits,
        pictures=scan.pictures,
        drops=[*scan.drops, *drops],
        provenance={
            "source": f"{source}: {scan.form}",
            "findings_source": _label_source(
                READ if is_read else "given with --findings",
                findings,
                scan.findings,
                by_doctors if is_read else patients,
            ),
            "grades_source": _label_source("given with --grades", grades, scan.grades, patients),
            "removed_from_reports": removed,
            "kept_what_is_doubtful": inputs.keep_doubtful,
            **tasks.in_manifest(),
            **texts.in_manifest(),
        },
    )


def _labelled(
    table: LabelTable, images: Sequence[ImageRef], records: Mapping[str, Record]
) -> tuple[TaskLabels, list[Drop]]:
    """The labels of a table that are of the patients and images here, and what is left out."""
    of_patient, drops = pair(
        table.lines, records, what="labels", unpaired=Reason.LABELS_WITHOUT_IMAGE
    )
    of_image = {i.place: table.images[i.path] for i in images if i.path in table.images}
    drops += [
        Drop(f"labels {path}", Reason.LABELS_WITHOUT_IMAGE)
        for path in table.images.keys() - {image.path for image in images}
    ]
    if not of_patient and not of_image:
        raise ValueError(
            f"{table.path} labels none of the records: correct its ids of patients, or its paths "
            "of images, which begin below --images"
        )
    return TaskLabels(table.tasks, of_patient, of_image), drops


@contextlib.contextmanager
def _without_names_below(images_dir: pathlib.Path) -> Iterator[None]:
    """Hides the name of a file that cannot be read: it may be a patient's."""
    try:
        yield
    except OSError as error:
        if not error.filename or images_dir not in pathlib.Path(error.filename).parents:
            raise
        raise OSError(
            f"a file or folder below {images_dir} cannot be read ({error.strerror}): "
            "look for one that is not yours to read, or a damaged disk"
        ) from None


def _label_source(how_given: str, given: Mapping, found: Mapping, patients: set[str]) -> str:
    labelled = given or found
    if not labelled:
        return "none"
    how = how_given if given else "from the source's grades"
    count = len(labelled.keys() & patients)
    unread = "; the other reports are not in English" * (how == READ and count < len(patients))
    return f"{how} for {count} of {len(patients)} patients{unread}"
