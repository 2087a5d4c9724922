"""Which labels belong to which record: those of the very study and report that it holds.

A patient may have several studies and reports, and a record has one of each. Labels that name a
study, an accession or a report belong to that alone; those that name the patient only belong to
a patient of whom nothing else is known.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from data_prep.records.drops import Drop, Reason

Codes = TypeVar("Codes")


@dataclasses.dataclass(frozen=True)
class Record:
    """What the records of a patient are made of.

    `report` is the `report_group` of the text as written; `alone` says that the source holds no
    other study and no other report of the patient.
    """

    report: str
    study: str = ""
    accession: str = ""
    alone: bool = True


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a line of labels says that it is of; what it does not say is empty."""

    patient: str
    report: str = ""
    study: str = ""
    accession: str = ""


@dataclasses.dataclass(frozen=True)
class Line(Generic[Codes]):
    """Labels as one line of a file has them; `place` says where, for messages."""

    place: str
    subject: Subject
    codes: Codes


def normal_id(text: str) -> str:
    """An id without blanks around it, leading zeros, case and the ".0" of a number with gaps."""
    text = re.sub(r"^([0-9]+)\.0+$", r"\1", text.strip())
    return text.lstrip("0").casefold() or text


def pair(
    lines: Iterable[Line[Codes]], records: Mapping[str, Record], *, what: str, unpaired: Reason
) -> tuple[dict[str, Codes], list[Drop]]:
    """Finds the labels of each patient's records.

    Args:
      lines: of one file.
      records: patient -> what the records are made of.
      what: the labels are, for the list of what was left out.
      unpaired: the reason to leave out labels of a patient without a record.

    Returns:
      (patient -> labels, what was left out).

    Raises:
      ValueError: two lines that belong to one record differ.
    """
    with_report: dict[str, list[str]] = {}
    for patient, record in records.items():
        with_report.setdefault(record.report, []).append(patient)
    found: dict[str, Line[Codes]] = {}
    drops = []
    for line in lines:
        subject = line.subject
        if subject.patient in records:
            reason = reason_against(subject, records[subject.patient])
            patients = [] if reason else [subject.patient]
        else:
            # Labels made under another id of the table are still those of the same text.
            patients = with_report.get(subject.report, [])
            reason = None if patients else unpaired
        if reason:
            drops.append(Drop(f"{what} patient {subject.patient}", reason))
        for patient in patients:
            earlier = found.setdefault(patient, line)
            if earlier.codes != line.codes:
                raise ValueError(
                    f"{earlier.place} and {line.place} hold different labels of one report: "
                    "delete one of them"
                )
    return {patient: line.codes for patient, line in found.items()}, drops


def reason_against(subject: Subject, record: Record) -> Reason | None:
    """Why what is said of a subject is not of its patient's record, or None where it is."""
    named = {kind: value for kind, value in dataclasses.asdict(subject).items() if value}
    del named["patient"]
    if not named and not record.alone:
        return Reason.LABELS_AMBIGUOUS
    if any(getattr(record, kind) != value for kind, value in named.items()):
        return Reason.LABELS_OF_ANOTHER
    return None
