"""What a report says of one finding, left out."""

from collections.abc import Iterator, Sequence

from data_prep.variants.candidates import Candidate, Refusal
from data_prep.variants.clauses import Clauses
from data_prep.variants.statements import Statement
from data_prep.variants.wordings import standard


def omissions(found: Sequence[Statement]) -> Iterator[Candidate | Refusal]:
    """A candidate a finding, in the order of the report."""
    for finding in dict.fromkeys(e.finding for s in found for e in s.evidence):
        yield _omitted(found, finding)


def _omitted(found: Sequence[Statement], finding: str) -> Candidate | Refusal:
    edits: list[tuple[Statement, str | None]] = []
    gone = set()
    for statement in found:
        own = [e for e in statement.evidence if e.finding == finding]
        if not own:
            continue
        clauses = Clauses(statement)
        if not clauses.is_known:
            return Refusal("omitted", "named in another statement")
        if len(own) == len(statement.evidence):
            text = None
        elif all(e.status == "absent" for e in statement.evidence):
            text = _denials_without(statement, clauses, finding)
            if text is None:
                return Refusal("omitted", "not apart from others")
        elif clauses.is_of_head(finding):
            text, own = None, list(statement.evidence)
        else:
            text = clauses.without(finding)
            if text is None:
                return Refusal("omitted", "not apart from others")
        edits.append((statement, text))
        gone |= {fact for e in own for fact in statement.facts_of(e)}
    return Candidate("omitted", finding, edits, frozenset(gone), frozenset())


def _denials_without(statement: Statement, clauses: Clauses, finding: str) -> str | None:
    if len(clauses.all) > 1 or clauses.heading or statement.names_level:
        return None
    others = list(dict.fromkeys(e.finding for e in statement.evidence if e.finding != finding))
    said = standard().denial(
        others,
        verb=standard().verb(statement.words),
        place="",
        is_lower=statement.text[:1].islower(),
    )
    return said + statement.text[len(statement.core) :]
