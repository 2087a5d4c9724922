"""Which report belongs to which study: ids of a user's table against ids of DICOM headers.

No message here shows an id, since an id may be a record number.
"""

import collections
import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence

from data_prep.images.headers import Header
from data_prep.images.persons import Person
from data_prep.records.drops import Drop, Reason
from data_prep.records.pairing import normal_id
from data_prep.records.scan import Columns
from data_prep.slices.series import Slice
from data_prep.tables.table import Table

KINDS = {"patient": "patient id", "study": "study UID", "accession": "accession number"}

Study = tuple[str, str]  # patient id and study UID, as the headers have them


@dataclasses.dataclass(frozen=True)
class Exam:
    """An MR examination that an archive holds, whether or not its images can be used.

    `number` tells the exams of a patient apart: one may have been filed as two studies.
    """

    patient: str
    number: str
    person: Person

    @classmethod
    def of(cls, header: Header) -> "Exam":
        number = normal_id(header.accession) or header.study
        return cls(normal_id(header.patient), number, header.person)


class IdClash(ValueError):
    """Two ids that a spreadsheet could have made from each other."""


class ReportIds:
    """Keys that are equal for a table's row and the headers of its study.

    Spreadsheets turn 0042 into 42 and add blanks, and pandas writes 42.0 where a column has gaps;
    ids are compared without leading zeros, blanks around them, case and ".0". Should two ids of the
    archive differ in nothing else, that is refused.
    """

    def __init__(self, columns: Columns):
        self.columns = {kind: getattr(columns, kind) for kind in KINDS if getattr(columns, kind)}
        self._all = columns
        self._written: dict[tuple[str, str], str] = {}
        self.seen = {kind: set() for kind in self.columns}

    def check(self, table: Table) -> None:
        """Raises ValueError where a needed column is not named or not there."""
        if not self.columns or not self._all.report:
            raise ValueError(
                "--source=folder needs --report_column and at least one of --patient_column, "
                f"--study_column and --accession_column; {table.path} has the columns "
                f"{table.shown_columns()}"
            )
        for kind in (*KINDS, "report", "image", "level"):
            if getattr(self._all, kind):
                table.column(getattr(self._all, kind), option=f"--{kind}_column")

    def levels_by_column(self, method: str) -> bool:
        """Whether levels are read from the table.

        Raises:
          ValueError: they should be, but the columns are not named, or the way is another source's.
        """
        named = bool(self._all.level and self._all.image)
        if method == "table":
            raise ValueError("--levels=table is for the published set: choose auto or column")
        if bool(self._all.level) != bool(self._all.image) or (method == "column" and not named):
            raise ValueError(
                "levels by column need both --level_column and --image_column (the path of an "
                "image below --images, or its SOP instance UID): give both or neither"
            )
        return named and method != "blocks"

    def of_row(self, *cells: str) -> str | None:
        """The key of a table's row, None when one of its ids is empty."""
        parts = [
            self._normal(f"{kind} of the table", cell)
            for kind, cell in zip(self.columns, cells, strict=True)
        ]
        for kind, part in zip(self.columns, parts, strict=True):
            if part:
                self.seen[kind].add(part)
        return "\0".join(parts) if all(parts) else None

    def of_study(self, slices: Sequence[Slice]) -> str | None:
        """The key of a study, None when its headers lack one of the ids."""
        header = slices[0].header
        # Also where studies are joined by another id: equal patients end in one split.
        self._normal("patient of the headers", header.patient)
        parts = [
            self._normal(f"{kind} of the headers", getattr(header, kind)) for kind in self.columns
        ]
        return "\0".join(parts) if all(parts) else None

    def with_several(self, keys: Collection[str]) -> frozenset[str]:
        """The patients who have several of the rows with these keys, where rows name patients."""
        if "patient" not in self.columns:
            return frozenset()
        rows = collections.Counter(key.split("\0")[0] for key in keys)
        return frozenset(patient for patient, number in rows.items() if number > 1)

    def _normal(self, kind: str, text: str) -> str:
        text = text.strip()
        normal = normal_id(text)
        if self._written.setdefault((kind, normal), text) != text:
            raise IdClash(
                f"two {KINDS[kind.split()[0]]}s of the {kind.split()[-1]} differ in leading zeros, "
                "case or .0 alone, which a spreadsheet does not keep apart: write each in one way, "
                "or join on another column"
            )
        return normal


def join(
    studies: Mapping[Study, Sequence[Slice]],
    exams: Collection[Exam],
    reports: Mapping[str, str],
    ids: ReportIds,
) -> tuple[dict[str, Study], dict[str, str], list[Drop]]:
    """Finds the report of every study, and the latest reported study of every patient.

    What could belong to another is left out: every study of a patient who has several, where rows
    name the patient alone; studies of several patients that one row names; and all of a patient id
    that two persons have.

    Returns:
      (patient -> study, patient -> report, what was left out).

    Raises:
      ValueError: no study has a report that is surely its own.
    """
    key_of = {study: ids.of_study(slices) for study, slices in studies.items()}
    doubts = _doubts(key_of, exams, ids)
    drops = []
    reported: dict[str, dict[Study, str]] = {}
    for study, key in key_of.items():
        if key is None or key not in reports:
            drops.append(Drop(studies[study][0].path, Reason.IMAGE_WITHOUT_REPORT))
        elif study in doubts:
            drops.append(Drop(studies[study][0].path, doubts[study]))
        else:
            reported.setdefault(study[0], {})[study] = reports[key]
    if not reported:
        raise ValueError(_no_match(studies, reports, ids, drops))
    chosen, text_of = {}, {}
    for patient, candidates in reported.items():
        latest = max(candidates, key=lambda study: (studies[study][0].header.study_start, study))
        chosen[patient] = latest
        text_of[patient] = candidates[latest]
        drops += [
            Drop(studies[study][0].path, Reason.STUDY_NOT_CHOSEN)
            for study in candidates
            if study != latest
        ]
    unused = reports.keys() - set(key_of.values())
    drops += [Drop(f"report of {key!r}", Reason.REPORT_WITHOUT_IMAGE) for key in unused]
    return chosen, text_of, drops


def with_several(exams: Collection[Exam]) -> frozenset[str]:
    """The patients who were examined more than once."""
    numbers: dict[str, set[str]] = {}
    for exam in exams:
        numbers.setdefault(exam.patient, set()).add(exam.number)
    return frozenset(patient for patient, found in numbers.items() if len(found) > 1)


def _doubts(
    key_of: Mapping[Study, str | None], exams: Collection[Exam], ids: ReportIds
) -> dict[Study, Reason]:
    """The studies whose report may be another's, and why."""
    persons: dict[str, set[Person]] = {}
    for exam in exams:
        persons.setdefault(exam.patient, set()).add(exam.person)
    owners: dict[str | None, set[str]] = {}
    for (patient, _), key in key_of.items():
        owners.setdefault(key, set()).add(patient)
    several = with_several(exams) if list(ids.columns) == ["patient"] else frozenset()
    doubts = {}
    for study, key in key_of.items():
        patient = study[0]
        if any(a.differs(b) for a, b in itertools.combinations(persons[patient], 2)):
            doubts[study] = Reason.TWO_PERSONS
        elif patient in several or len(owners[key]) > 1:
            doubts[study] = Reason.STUDY_AMBIGUOUS
    return doubts


def _no_match(
    studies: Mapping[Study, Sequence[Slice]],
    reports: Mapping[str, str],
    ids: ReportIds,
    drops: Sequence[Drop],
) -> str:
    """Says what was compared with what, in counts, and which other column would have matched."""
    headers = [slices[0].header for slices in studies.values()]
    values = {kind: {normal_id(getattr(h, kind)) for h in headers} - {""} for kind in KINDS}
    tried = []
    for kind, column in ids.columns.items():
        matching = {other: len(ids.seen[kind] & values[other]) for other in KINDS}
        hints = [
            f"but {count} are {KINDS[other]}s of the headers, so try --{other}_column={column!r}"
            for other, count in matching.items()
            if count and other != kind
        ]
        tried.append(
            f"column {column!r} holds {len(ids.seen[kind])} values and the headers "
            f"{len(values[kind])} {KINDS[kind]}s, {matching[kind]} of them equal"
            + "".join(f" ({hint})" for hint in hints)
        )
    together = " and no row matches in all of them" if len(tried) > 1 else ""
    counts = {
        reason: sum(drop.reason == reason for drop in drops)
        for reason in (Reason.STUDY_AMBIGUOUS, Reason.TWO_PERSONS)
    }
    doubtful = "".join(
        f"; {number} left out, {reason.meaning}" for reason, number in counts.items() if number
    )
    return (
        f"none of {len(reports)} reports belongs to one of {len(studies)} studies: "
        + "; ".join(tried)
        + together
        + doubtful
        + ": name the columns that hold these ids"
    )
