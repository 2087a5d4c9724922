"""The reports of a table, read: findings to a file, agreement with people, evidence in words."""

import collections
import json
import os
import pathlib
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from data_prep.label_reports import compare, rules
from data_prep.label_reports.reader import Evidence, Reader, Reading
from data_prep.records.findings import FINDINGS, NOT_MENTIONED, STATUS
from data_prep.records.label_file import read_label_lines
from data_prep.records.pairing import Subject
from data_prep.sources import mendeley
from data_prep.text.reports import read_all_reports

_SHOWN_LETTERS = 200
Key = TypeVar("Key")


def run(
    reports_file: pathlib.Path,
    *,
    out_file: pathlib.Path | None = None,
    patient_column: str = mendeley.PATIENT_COLUMN,
    report_column: str = mendeley.REPORT_COLUMN,
    rules_dir: pathlib.Path = rules.FOLDER,
    truth_file: pathlib.Path | None = None,
    explain: bool = False,
) -> list[str]:
    """Labels the reports of a table; the arguments are the flags of the command.

    Returns:
      The lines to show.

    Raises:
      FileNotFoundError: an input is missing.
      ValueError: an input or option is wrong, or the output cannot be written.
    """
    if not out_file and not truth_file:
        raise ValueError("nothing to do: give --out=FILE, --compare=FILE or both")
    truth = read_truth(truth_file) if truth_file else []
    all_reports, drops = read_all_reports(
        reports_file,
        patient_column=patient_column,
        report_column=report_column,
        patient_key=patient_key,
    )
    reports = {
        Subject(patient, group): report.text
        for patient, found in all_reports.items()
        for group, report in found.items()
    }
    readings = dict(label(reports, rules_dir))
    lines = []
    if explain:
        names = _names(readings)
        lines += [explanation(names[subject], said) for subject, said in readings.items()]
    if truth_file:
        lines += comparison(readings, truth)
    if out_file:
        write(out_file, readings)
    dropped = collections.Counter(drop.reason.meaning for drop in drops)
    return [*lines, summary(readings.values(), dropped)]


def label(
    reports: Mapping[Key, str], rules_dir: pathlib.Path = rules.FOLDER
) -> Iterator[tuple[Key, Reading]]:
    """Reads each report.

    Raises:
      FileNotFoundError: a rule file is missing.
      ValueError: a rule file is wrong.
    """
    reader = Reader(rules_dir)
    for key, text in reports.items():
        yield key, reader.read(text)


def write(path: pathlib.Path, readings: Mapping[Subject, Reading]) -> None:
    """Writes the findings of all reports, one JSON object a line; whole or not at all.

    Raises:
      ValueError: the file cannot be written.
    """
    lines = [
        json.dumps(
            {
                "id": _id(subject.patient),
                "report": subject.report,
                "findings": said.findings,
                "levels": said.levels,
            }
        )
        for subject, said in readings.items()
    ]
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ValueError(
            f"{path} cannot be written ({error.strerror}): give another --out"
        ) from error


def read_truth(path: pathlib.Path) -> list[tuple[Subject, dict]]:
    """Labels given by people: whose they are, and {"findings", "levels"}.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a line is not of the form of this module's output; the sentence names it.
    """
    return [
        (line.subject, {"findings": line.findings, "levels": line.levels})
        for line in read_label_lines(path, patient_key=patient_key, option="--compare")
    ]


def patient_key(cell: str) -> str | None:
    """The id in a cell, without surrounding space and the ".0" that some tables add."""
    return cell.strip().removesuffix(".0") or None


def explanation(name: str, reading: Reading) -> str:
    """The statements of a report, each with its words and the rule that decided."""
    lines = [f"patient {name}"]
    lines += [_shown(evidence) for evidence in reading.evidence]
    nothing = "  nothing found" if reading.is_english else "  not in English"
    return "\n".join(lines if reading.evidence else [*lines, nothing])


def comparison(
    readings: Mapping[Subject, Reading], truth: Sequence[tuple[Subject, Mapping]]
) -> Iterator[str]:
    """Each label that differs, with the statements that led to it; then the scores."""
    names = _names(readings)
    said = {names[subject]: reading for subject, reading in readings.items()}
    of_patient: dict[str, list[Subject]] = {}
    for subject in readings:
        of_patient.setdefault(subject.patient, []).append(subject)
    read = {}
    for subject, row in truth:
        reports = of_patient.get(subject.patient, [])
        own = [other for other in reports if subject.report in ("", other.report)]
        if len(own) == 1:
            read[names[own[0]]] = row
    found = {
        name: {"findings": reading.findings, "levels": reading.levels}
        for name, reading in said.items()
    }
    agreement = compare.compare(found, read)
    for item in agreement.disagreements:
        where = f" at {item.level}" if item.level else ""
        flip = ", the reverse" if item.is_flip else ""
        yield (
            f"patient {item.patient}: {item.finding}{where} is {item.found or 'not mentioned'}, "
            f"in the labels {item.true or 'not mentioned'}{flip}"
        )
        evidence = said[item.patient].evidence
        yield from (
            _shown(statement) for statement in evidence if statement.finding == item.finding
        )
    yield compare.table(agreement)
    if len(read) < len(truth):
        yield f"labels without one report that is theirs, left out: {len(truth) - len(read)}"


def _names(subjects: Collection[Subject]) -> dict[Subject, str]:
    """What to call each report: its patient, or one of a patient's several."""
    reports = collections.Counter(subject.patient for subject in subjects)
    return {
        subject: subject.patient
        if reports[subject.patient] == 1
        else f"{subject.patient} report {subject.report}"
        for subject in subjects
    }


def summary(readings: Iterable[Reading], dropped: Mapping[str, int]) -> str:
    """Counts by finding and status, of the reports in other languages, and of the rows left out."""
    readings = list(readings)
    counts = collections.Counter(pair for reading in readings for pair in reading.findings.items())
    statuses = [status for status, code in STATUS.items() if code != NOT_MENTIONED]
    lines = [f"{'':30}" + "".join(f"{status:>11}" for status in statuses)]
    lines += [
        f"{name:30}" + "".join(f"{counts[name, status]:>11}" for status in statuses)
        for name in FINDINGS
    ]
    silent = sum(not reading.evidence for reading in readings)
    lines.append(f"{len(readings)} reports read; nothing found in {silent}")
    foreign = [str(at) for at, reading in enumerate(readings, start=1) if not reading.is_english]
    if foreign:
        lines.append(
            f"{len(foreign)} reports are not in English and were left unlabelled; "
            f"of the findings, lines {', '.join(foreign)}"
        )
    mixed = sum(reading.is_english and reading.unread > 0 for reading in readings)
    if mixed:
        lines.append(f"{mixed} reports hold sentences in another language, which were not read")
    lines += [f"rows left out, {reason}: {count}" for reason, count in dropped.items()]
    return "\n".join(lines)


def _shown(evidence: Evidence) -> str:
    levels = ", ".join(evidence.levels)
    head = f"  {evidence.finding:28}{evidence.status:10}{levels:22}".rstrip()
    text = textwrap.shorten(evidence.text, _SHOWN_LETTERS, placeholder=" …")
    return f'{head}\n      "{text}"  <- {evidence.rule}'


def _id(patient: str) -> int | str:
    # Numbers stay numbers, and 007 a name.
    return int(patient) if patient.isdecimal() and str(int(patient)) == patient else patient
