"""How well findings agree with labels that people gave, and where they do not."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from data_prep.records.findings import FINDINGS, LEVEL_FINDINGS

# A statistic of fewer cases says little; the mean over findings leaves them out.
MIN_CASES = 10


@dataclasses.dataclass
class Score:
    """Counts of one kind of label; precision and recall are 1 where nothing was to be found."""

    right: int = 0
    found: int = 0
    true: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.found + self.true) if self.found + self.true else 1.0

    def add(self, found: set, true: set) -> None:
        self.right += len(found & true)
        self.found += len(found)
        self.true += len(true)


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A label that differs. `level` is None for the patient; "" stands for not mentioned."""

    patient: str
    finding: str
    level: str | None
    found: str
    true: str

    @property
    def is_flip(self) -> bool:
        return {self.found, self.true} == {"present", "absent"}


@dataclasses.dataclass
class Agreement:
    """Scores of (patient, finding, status) and of (patient, level, finding)."""

    patients: int
    findings: Score
    levels: Score
    by_finding: dict[str, Score]
    levels_by_finding: dict[str, Score]
    disagreements: list[Disagreement]

    @property
    def flips(self) -> int:
        """Findings called present where they are denied, or denied where they are present."""
        return sum(d.is_flip for d in self.disagreements if d.level is None)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the findings with at least `MIN_CASES` cases."""
        scores = [score.f1 for score in self.by_finding.values() if score.true >= MIN_CASES]
        return sum(scores) / len(scores) if scores else 1.0


def compare(
    found: Mapping[str, Mapping[str, Any]], true: Mapping[str, Mapping[str, Any]]
) -> Agreement:
    """Compares the patients of `true`, each {"findings": ..., "levels": ...}, with `found`."""
    result = Agreement(len(true), Score(), Score(), _scores(), _scores(), [])
    for patient, truth in true.items():
        labels = found.get(patient, {"findings": {}, "levels": {}})
        pairs = _statuses(labels), _statuses(truth)
        places = _places(labels), _places(truth)
        result.findings.add(*pairs)
        result.levels.add(*places)
        for name in FINDINGS:
            result.by_finding[name].add(*(_of(name, items) for items in pairs))
            result.levels_by_finding[name].add(*(_of(name, items) for items in places))
            statuses = [labels["findings"].get(name, ""), truth["findings"].get(name, "")]
            if statuses[0] != statuses[1]:
                result.disagreements.append(Disagreement(patient, name, None, *statuses))
        for name, level in sorted(places[0] ^ places[1]):
            words = ("present", "") if (name, level) in places[0] else ("", "present")
            result.disagreements.append(Disagreement(patient, name, level, *words))
    return result


def table(agreement: Agreement) -> str:
    """The scores as lines of text."""
    lines = [f"{'':30}{'precision':>10}{'recall':>8}{'cases':>7}{'by level:':>12}"]
    lines[0] += f"{'precision':>10}{'recall':>8}{'cases':>7}"
    rows = [("all", agreement.findings, agreement.levels)]
    rows += [
        (name, agreement.by_finding[name], agreement.levels_by_finding[name])
        for name in FINDINGS
        if agreement.by_finding[name].true or agreement.by_finding[name].found
    ]
    for name, *scores in rows:
        cells = [f"{s.precision:>10.3f}{s.recall:>8.3f}{s.true:>7}" for s in scores]
        has_levels = bool(scores[1].true or scores[1].found)
        lines.append(f"{name:30}{cells[0]}" + (f"{'':12}{cells[1]}" if has_levels else ""))
    lines.append(
        f"{agreement.patients} patients; mean F1 of findings with {MIN_CASES} cases or more "
        f"{agreement.macro_f1:.3f}; present taken for absent or the reverse: {agreement.flips}"
    )
    return "\n".join(lines)


def _scores() -> dict[str, Score]:
    return {name: Score() for name in FINDINGS}


def _statuses(labels: Mapping[str, Any]) -> set[tuple[str, str]]:
    return set(labels["findings"].items())


def _places(labels: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Where the findings of discs are, which alone have a place in a data set."""
    return {
        (name, level)
        for level, names in labels["levels"].items()
        for name in names
        if name in LEVEL_FINDINGS
    }


def _of(name: str, items: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return {item for item in items if item[0] == name}
