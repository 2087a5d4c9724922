"""A variant of a report, and the check that it says what it is meant to say."""

import dataclasses
from collections.abc import Iterable

from data_prep.records.findings import FINDINGS
from data_prep.variants.statements import Fact
from data_prep.variants.wordings import standard

NOT_MENTIONED = "not_mentioned"


@dataclasses.dataclass(frozen=True)
class Change:
    """What is read of a finding in the report and in its variant.

    Of "negated" and "omitted" `before` and `after` are "present", "absent", "uncertain" or
    "not_mentioned", at `level` ("" where none is told); of "level" they are levels, of "side"
    "left" and "right".
    """

    finding: str
    level: str
    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class Variant:
    """A report that says one thing else.

    Attributes:
      kind: "negated", "omitted", "level" or "side".
      finding: what the change is about; the first named of a statement that changes as a whole.
      level: where, as the labeller writes levels; several with ", ", "" where none is told.
      text: the report with the change.
      changed: all that is read otherwise, in the order of FINDINGS. A lesion takes with it what it
        does ("disc bulge compressing the thecal sac"), so that a denied or omitted one can be
        several changes; `len(changed) == 1` picks those of one finding at one level.
    """

    kind: str
    finding: str
    level: str
    text: str
    changed: tuple[Change, ...]


def status_changes(gone: Iterable[Fact], new: Iterable[Fact]) -> tuple[Change, ...]:
    """The changes from facts to others of the same findings, level by level where both tell one."""
    new = set(new)
    changes = set()
    for fact in gone:
        others = [f for f in new if f.finding == fact.finding]
        exact = [f for f in others if f.level == fact.level] or others
        changes |= {
            Change(fact.finding, fact.level or other.level, fact.status, other.status)
            for other in exact
        } or {Change(fact.finding, fact.level, fact.status, NOT_MENTIONED)}
    return tuple(sorted(changes, key=lambda c: (FINDINGS.index(c.finding), c.level)))


def contradiction(said: Iterable[Fact], subject: Iterable[str]) -> bool:
    """Whether one of the findings is both stated and denied at a level, or is denied while
    something that entails it is stated."""
    said = set(said)
    for finding in subject:
        present = {f.level for f in said if f.finding == finding and f.status == "present"}
        absent = {f.level for f in said if f.finding == finding and f.status == "absent"}
        if present and absent and (present & absent or "" in present | absent):
            return True
    stated = {f.finding for f in said if f.status == "present"}
    denied = {f.finding for f in said if f.status == "absent"}
    return any(
        name in stated and denied & of and (name in subject or of & set(subject))
        for name, of in standard().entails.items()
    )
