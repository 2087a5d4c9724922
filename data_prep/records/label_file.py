"""Files of findings, as JSON lines: one labelled report a line, read strictly.

A line is ``{"id": patient, "findings": {name: status}, "levels": {level: [name]}}``, where the
levels list the findings that are present there. ``"report"`` (the `report_group` of the text),
``"study"`` and ``"accession"`` may say which of a patient's reports the labels are of.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

from data_prep.records.findings import FINDINGS, NOT_MENTIONED, STATUS
from data_prep.records.levels import disc_named
from data_prep.records.pairing import Subject, normal_id
from data_prep.tables.table import is_blank

IDS = ("report", "study", "accession")
FIELDS = ("id", *IDS, "findings", "levels")
# As people write them, in any case; numbers mean one thing here and another elsewhere.
STATUS_WORDS = {name: name for name in STATUS} | {"positive": "present", "negative": "absent"}


@dataclasses.dataclass(frozen=True)
class LabelLine:
    """A line: its number, what it is of, finding -> status, and disc -> findings present there."""

    number: int
    subject: Subject
    findings: Mapping[str, str]
    levels: Mapping[str, Sequence[str]]


def read_label_lines(
    path: pathlib.Path, *, patient_key: Callable[[str], str | None], option: str
) -> list[LabelLine]:
    """Reads a file of findings; statuses and levels come back as we write them.

    Args:
      path: the .jsonl file.
      patient_key: maps the id, as text, to the id that the images use, or to None.
      option: the option that names the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a line is not of the form above, contradicts itself, or is of the same as an
        earlier one; the sentence names the line and the field.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: correct {option}")
    try:
        # JSON lines end in \n alone: other line ends may stand in its texts.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: save it again as such") from error
    found: dict[Subject, LabelLine] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = _parse(number, text, patient_key)
        except ValueError as error:
            raise ValueError(
                f"{path} line {number} is not a findings object: correct it ({error})"
            ) from None
        if not line.subject.patient or line.subject in found:
            raise ValueError(f"{path} line {number} has no id or one seen before: correct it")
        found[line.subject] = line
    return list(found.values())


def _parse(number: int, text: str, patient_key: Callable[[str], str | None]) -> LabelLine:
    try:
        row = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError:
        raise ValueError("no JSON") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if not isinstance(row, dict) or not {"id", "findings"} <= row.keys():
        raise ValueError('no object with "id" and "findings"')
    for field in row.keys() - set(FIELDS):
        if field.strip().casefold().rstrip("s") in ("id", "finding", "level"):
            raise ValueError("a field called almost like id, findings or levels")
    findings = {name: _status(name, status) for name, status in _object(row, "findings").items()}
    levels: dict[str, list[str]] = {}
    for written, names in _object(row, "levels").items():
        level = disc_named(written)
        if level is None:
            raise ValueError("levels: a level that is no disc")
        if not isinstance(names, list):
            raise ValueError(f"levels: {level} has no list of findings")
        for name in names:
            _check_finding("levels", name)
            if findings.setdefault(name, "present") != "present":
                raise ValueError(f"{name} is {findings[name]} in findings, yet listed at {level}")
        levels.setdefault(level, []).extend(names)
    said = {name: status for name, status in findings.items() if STATUS[status] != NOT_MENTIONED}
    patient, report, study, accession = (
        _id(field, row[field]) if field in row else "" for field in ("id", *IDS)
    )
    subject = Subject(patient_key(patient) or "", report, normal_id(study), normal_id(accession))
    return LabelLine(number, subject, said, levels)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a name twice in one object")
    return row


def _object(row: Mapping[str, object], field: str) -> dict[str, object]:
    value = row.get(field, {})
    if not isinstance(value, dict):
        raise ValueError(f"{field} is no object")
    return value


def _check_finding(field: str, name: object) -> None:
    if name not in FINDINGS:
        raise ValueError(f"{field}: a finding that is none of {', '.join(FINDINGS)}")


def _status(name: str, status: object) -> str:
    _check_finding("findings", name)
    word = status.strip().casefold().replace(" ", "_") if isinstance(status, str) else None
    if word not in STATUS_WORDS:
        raise ValueError(f"findings: {name} is none of {', '.join(STATUS)}")
    return STATUS_WORDS[word]


def _id(field: str, value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or is_blank(str(value)):
        raise ValueError(f"{field}: neither a text nor a whole number")
    return str(value)
