"""One finding denied, or one denial turned into a statement."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from data_prep.label_reports.statements import Evidence
from data_prep.variants.candidates import Candidate, Refusal
from data_prep.variants.clauses import Clauses, opens_with_effect
from data_prep.variants.statements import Fact, Statement
from data_prep.variants.wordings import capital, standard

CALLED_NORMAL = "[called normal]"
_DENIED = re.compile(r"(?i)(no)\s+(?=\w)")
# "L4 over L5" names a disc by its slip.
_IN_WORDS = re.compile(r"(?i)\b(?:over|on|upon|onto|between)\b")
_DENIABLE_START = re.compile(r"(?i)(?:features?|signs?|evidence) of\b")


def negations(found: Sequence[Statement]) -> Iterator[Candidate | Refusal]:
    """A candidate a finding that a statement makes, the first statements first."""
    for at, statement in enumerate(found):
        goes_on = at + 1 < len(found) and opens_with_effect(found[at + 1])
        for finding in dict.fromkeys(e.finding for e in statement.evidence):
            statuses = {e.status for e in statement.evidence if e.finding == finding}
            if statuses == {"present"}:
                yield _denied(statement, finding, goes_on)
            elif statuses == {"absent"}:
                yield _stated(statement, finding)
            else:
                yield Refusal("negated", "doubted in the report")


def _denied(statement: Statement, finding: str, goes_on: bool) -> Candidate | Refusal:
    clauses = Clauses(statement)
    own = [e for e in statement.evidence if e.finding == finding]
    if not clauses.is_known:
        return Refusal("negated", "named in another statement")
    if not clauses.is_clear:
        return Refusal("negated", "a sentence of several lesions")
    if not clauses.is_of_head(finding):
        rest = clauses.without(finding)
        if rest is None:
            return Refusal("negated", "not apart from others")
        core = rest.rstrip(" ,.;")
        text = core + standard().clause([finding]) + rest[len(core) :]
        return Candidate(
            "negated", finding, [(statement, text)], *_turned(statement, own, "absent")
        )
    if goes_on:
        return Refusal("negated", "goes on in the next statement")
    tied = clauses.of_head()
    if any(e.status != "present" for e in tied):
        return Refusal("negated", "denied in part")
    text = _denying_sentence(statement, clauses, tied)
    if text is None:
        return Refusal("negated", "not apart from others")
    gone, new = _turned(statement, tied, "absent")
    if _is_everywhere(statement):
        new = frozenset(dataclasses.replace(fact, level="") for fact in new)
    return Candidate("negated", finding, [(statement, text)], gone, new)


def _denying_sentence(
    statement: Statement, clauses: Clauses, tied: Sequence[Evidence]
) -> str | None:
    """ "No disc bulge or thecal sac compression noted at L4/L5 level": the lesion of a statement
    denied with what it does; what comes with it is stated by itself."""
    heading, rest = statement.text[: clauses.heading], statement.core[clauses.heading :]
    stop = statement.text[len(statement.core) :] or "."
    is_lower = rest[:1].islower()
    if len(tied) == 1 == len(clauses.all) and _DENIABLE_START.match(rest):
        return f"{heading}{'no' if is_lower else 'No'} {rest[0].lower()}{rest[1:]}{stop}"
    if len({e.levels for e in statement.evidence}) > 1:
        return None
    place = "" if _is_everywhere(statement) else _place(statement, clauses)
    companions = clauses.companions()
    if place is None or companions is None or (_is_everywhere(statement) and companions):
        return None
    verb = standard().verb(statement.words)
    names = list(dict.fromkeys(e.finding for e in tied))
    said = standard().denial(names, verb=verb, place=place, is_lower=is_lower)
    if any(standard().verb(re.findall(r"\w+", text)) for text in companions):
        return None
    others = [f"{capital(text)} noted{place}." for text in dict.fromkeys(companions)]
    if not others:
        return f"{heading}{said}{stop}"
    return " ".join([f"{heading}{said}.", *others])


def _is_everywhere(statement: Statement) -> bool:
    """ "Multilevel bulges, mainly at L4-5": to deny them at L4-5 would leave the others open."""
    return any(standard().is_part("unnamed", word) for word in statement.words)


def _place(statement: Statement, clauses: Clauses) -> str | None:
    """ " at L4/L5 level", as the statement has it; None where it names several in turn."""
    levels = [(t, t.place) for t in statement.tokens if t.place and t.start >= clauses.heading]
    if not levels:
        return ""
    if len(levels) > 1:
        return None
    token, place = levels[0]
    behind = re.match(r"\s*levels?\b", statement.text[token.end :])
    word = behind[0].strip() if behind else ""
    written = statement.text[token.start : token.end]
    if _IN_WORDS.search(written):
        return f" at {', '.join(place.levels)}" if place.levels else None
    return f" at {written}" + (f" {word}" if word else "")


def _stated(statement: Statement, finding: str) -> Candidate | Refusal:
    """A denial that is turned into a statement; what it denies besides stays denied."""
    own = [e for e in statement.evidence if e.finding == finding]
    others = [e for e in statement.evidence if e.finding != finding]
    if any(e.status != "absent" for e in statement.evidence):
        return Refusal("negated", "stated in part")
    clauses = Clauses(statement)
    place = _place(statement, clauses) if clauses.is_known else None
    if place is None:
        return Refusal("negated", "not apart from others")
    heading, rest = statement.text[: clauses.heading], statement.core[clauses.heading :]
    stop = statement.text[len(statement.core) :]
    turned = _turned(statement, own, "present")
    denied = _DENIED.match(rest)
    if denied and not others and len(clauses.all) == 1:
        new = rest[denied.end() :]
        text = f"{heading}{new if rest[0].islower() else capital(new)}{stop}"
        return Candidate("negated", finding, [(statement, text)], *turned)
    if len(clauses.all) > 1:
        return Refusal("negated", "not apart from others")
    opposite = standard().opposites.get(finding)
    if opposite and not others and len(own) == 1 and own[0].rule.endswith(CALLED_NORMAL):
        start, end = _normal_word(statement, own[0])
        word = capital(opposite) if statement.text[start].isupper() else opposite
        text = statement.text[:start] + word + statement.text[end:]
        return Candidate("negated", finding, [(statement, text)], *turned)
    verb = standard().verb(statement.words)
    said = standard().statement(finding, verb=verb, place=place, is_lower=rest[:1].islower())
    if others:
        said += standard().clause(list(dict.fromkeys(e.finding for e in others)))
    return Candidate("negated", finding, [(statement, f"{heading}{said}{stop}")], *turned)


def _normal_word(statement: Statement, evidence: Evidence) -> tuple[int, int]:
    """The characters of the word that calls a site normal: the last one of its span, which is
    the second."""
    start, end = evidence.spans[1]
    return max((t.start, t.end) for t in statement.tokens if start <= t.start < end)


def _turned(
    statement: Statement, evidence: Sequence[Evidence], status: str
) -> tuple[frozenset[Fact], frozenset[Fact]]:
    before = {fact for e in evidence for fact in statement.facts_of(e)}
    after = {fact for e in evidence for fact in statement.facts_of(e, status)}
    return frozenset(before), frozenset(after)
