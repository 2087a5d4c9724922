"""What a report says of one finding, left out."""

import re
from collections.abc import Iterator, Sequence

from data_prep.variants.candidates import Candidate, Refusal
from data_prep.variants.clauses import Clauses, opens_with_effect
from data_prep.variants.statements import Statement
from data_prep.variants.wordings import standard

_DENIAL = re.compile(r"(?i)(?:no|without)\b[a-z ]*")


def omissions(found: Sequence[Statement]) -> Iterator[Candidate | Refusal]:
    """A candidate a finding, in the order of the report."""
    for finding in dict.fromkeys(e.finding for s in found for e in s.evidence):
        yield _omitted(found, finding)


def _omitted(found: Sequence[Statement], finding: str) -> Candidate | Refusal:
    edits: list[tuple[Statement, str | None]] = []
    gone = set()
    for at, statement in enumerate(found):
        own = [e for e in statement.evidence if e.finding == finding]
        if not own:
            continue
        clauses = Clauses(statement)
        if not clauses.is_known:
            return Refusal("omitted", "named in another statement")
        is_whole = len(own) == len(statement.evidence) or clauses.is_of_head(finding)
        if is_whole and at + 1 < len(found) and opens_with_effect(found[at + 1]):
            return Refusal("omitted", "goes on in the next statement")
        if len(own) == len(statement.evidence):
            text = None
        elif all(e.status == "absent" for e in statement.evidence):
            text = _denials_without(statement, clauses, finding)
            if text is None:
                return Refusal("omitted", "not apart from others")
        elif clauses.is_of_head(finding):
            text, own = None, list(statement.evidence)
        elif not clauses.is_clear:
            return Refusal("omitted", "a sentence of several lesions")
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
    others = {e.finding for e in statement.evidence if e.finding != finding}
    first = min(start for e in statement.evidence for start, _ in e.spans)
    stop = statement.text[len(statement.core) :]
    verb = standard().verb(statement.words)
    # "No significant ..." stays.
    if _DENIAL.fullmatch(statement.text[:first]):
        nouns = standard().nouns(others)
        denial = statement.text[:first].removesuffix(f"{nouns.split()[0]} ")
        return f"{denial}{nouns}{verb}{stop}"
    is_lower = statement.text[:1].islower()
    return standard().denial(others, verb=verb, place="", is_lower=is_lower) + stop
