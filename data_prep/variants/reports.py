"""The variants of a report, each read back by the labeller."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

from data_prep.variants.candidates import Candidate, Refusal
from data_prep.variants.negation import negations
from data_prep.variants.omission import omissions
from data_prep.variants.statements import Fact, Statement, facts, replaced, statements
from data_prep.variants.swaps import level_swaps, side_swaps
from data_prep.variants.variant import Variant, contradiction, status_changes

KINDS = ("negated", "omitted", "level", "side")


def variants_of(report: str) -> list[Variant]:
    """The variants of a report, by kind and in the order of its statements.

    Of each the labeller reads all that it reads in the report and `changed`, and no more. Of a
    report in which it finds nothing there are none.
    """
    return [v for v in attempts(report) if isinstance(v, Variant)]


def attempts(report: str) -> Iterator[Variant | Refusal]:
    """The variants of a report, and why others were not made."""
    said = facts(report)
    found = statements(report)
    rules = (negations, omissions, level_swaps, side_swaps)
    texts = {report}
    for proposal in itertools.chain.from_iterable(rule(found) for rule in rules):
        made = (
            _checked(report, said, found, proposal) if isinstance(proposal, Candidate) else proposal
        )
        if isinstance(made, Variant):
            if made.text in texts:
                continue
            texts.add(made.text)
        yield made


def _checked(
    report: str, said: frozenset[Fact], found: Sequence[Statement], candidate: Candidate
) -> Variant | Refusal:
    kind = candidate.kind
    edited = {statement.start for statement, _ in candidate.edits}
    kept = {fact for s in found if s.start not in edited for fact in s.facts}
    if kind in ("negated", "omitted") and candidate.gone & kept:
        return Refusal(kind, "said elsewhere, too")
    expected = (said - candidate.gone) | candidate.new
    if kind == "negated" and contradiction(expected, [f.finding for f in candidate.new]):
        return Refusal(kind, "would contradict itself")
    if kind == "omitted" and candidate.finding in {fact.finding for fact in expected}:
        return Refusal(kind, "said where it cannot be cut out")
    text = replaced(report, candidate.edits)
    if not any(map(str.isalpha, text)):
        return Refusal(kind, "nothing would be left")
    if facts(text) != expected:
        return Refusal(kind, "read otherwise by the labeller")
    changed = candidate.changed or status_changes(candidate.gone, candidate.new)
    level = ", ".join(sorted({c.level for c in changed if c.finding == candidate.finding} - {""}))
    return Variant(kind, candidate.finding, level, text, changed)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How many variants reports have.

    Attributes:
      reports: how many there are.
      covered: by kind, how many of them have a variant.
      variants: by kind, how many variants.
      findings: by kind and finding, how many variants.
      refused: by kind and reason, how many were not made.
    """

    reports: int = 0
    covered: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    variants: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    findings: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    refused: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )


def coverage(reports: Iterable[str]) -> Coverage:
    """Counts the variants of reports."""
    counts = Coverage()
    number = 0
    for report in reports:
        number += 1
        kinds = set()
        for made in attempts(report):
            if isinstance(made, Variant):
                kinds.add(made.kind)
                counts.variants[made.kind] += 1
                counts.findings[made.kind, made.finding] += 1
            else:
                counts.refused[made.kind, made.reason] += 1
        counts.covered.update(kinds)
    return dataclasses.replace(counts, reports=number)
