"""Labels that join the records by patient: findings of the report, grades of the discs."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Mapping

from data_prep.records import schema
from data_prep.records.findings import (
    ABSENT,
    FINDINGS,
    LEVEL_FINDINGS,
    NOT_MENTIONED,
    PRESENT,
    STATUS,
    STRENGTH,
    UNCERTAIN,
)
from data_prep.records.label_file import read_label_lines
from data_prep.records.pairing import Line


@dataclasses.dataclass(frozen=True)
class Findings:
    """Status codes of one report: `patient` [17], and `levels` [8] for each of `schema.LEVELS`."""

    patient: tuple[int, ...] = (NOT_MENTIONED,) * len(FINDINGS)
    levels: Mapping[str, tuple[int, ...]] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(schema.LEVELS, (NOT_MENTIONED,) * len(LEVEL_FINDINGS))
    )

    @classmethod
    def of_levels(cls, statuses: Mapping[str, Mapping[str, int]]) -> "Findings":
        """From the codes of findings, by name, at any levels of the spine.

        A finding of the patient is present if it is at any level, and absent if it was denied at
        one and is at none.
        """

        def of_patient(name: str) -> int:
            codes = {codes.get(name, NOT_MENTIONED) for codes in statuses.values()}
            stated = (STATUS[status] for status in reversed(STRENGTH))
            return next((code for code in stated if code in codes), NOT_MENTIONED)

        def at_level(level: str) -> tuple[int, ...]:
            codes = statuses.get(level, {})
            return tuple(codes.get(name, NOT_MENTIONED) for name in LEVEL_FINDINGS)

        return cls(
            patient=tuple(map(of_patient, FINDINGS)),
            levels={level: at_level(level) for level in schema.LEVELS},
        )

    @classmethod
    def of_report(
        cls, findings: Mapping[str, str], levels: Mapping[str, Collection[str]]
    ) -> "Findings":
        """From the statuses of a report's findings, and the findings present at each level."""
        patient = {name: STATUS[status] for name, status in findings.items()}
        located = {name for names in levels.values() for name in names}
        return cls(
            patient=tuple(patient.get(name, NOT_MENTIONED) for name in FINDINGS),
            levels={
                level: tuple(
                    PRESENT
                    if name in levels.get(level, ())
                    else _status_elsewhere(patient.get(name, NOT_MENTIONED), name in located)
                    for name in LEVEL_FINDINGS
                )
                for level in schema.LEVELS
            },
        )

    def at(self, level: str) -> tuple[int, ...]:
        """The codes [8] of what a view of `level` shows; a view of the whole spine shows all."""
        if level == schema.WHOLE_SPINE:
            return self.patient[: len(LEVEL_FINDINGS)]
        return self.levels[level]


def read_findings(
    path: pathlib.Path, *, patient_key: Callable[[str], str | None]
) -> list[Line[Findings]]:
    """Reads a file of findings, see `label_file`.

    Args:
      path: the .jsonl file.
      patient_key: maps the id, as text, to the id that the images use, or to None.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a line is not of this form, or its patient has another; the sentence names it.
    """
    return [
        Line(
            f"{path} line {line.number}",
            line.subject,
            Findings.of_report(line.findings, line.levels),
        )
        for line in read_label_lines(path, patient_key=patient_key, option="--findings")
    ]


def _status_elsewhere(patient_status: int, located: bool) -> int:
    """The status at a level for which the finding is not listed as present.

    A denial holds at every level. A finding that is hedged, or stated without naming any level, may
    be at this one: uncertain. One that is located elsewhere is not spoken of here.
    """
    if patient_status == ABSENT:
        return ABSENT
    if patient_status == UNCERTAIN or (patient_status == PRESENT and not located):
        return UNCERTAIN
    return NOT_MENTIONED
