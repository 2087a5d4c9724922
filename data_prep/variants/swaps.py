"""One statement moved to another disc or to the other side."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from data_prep.label_reports.statements import Evidence
from data_prep.records import schema
from data_prep.records.findings import LOCATED_FINDINGS
from data_prep.variants.candidates import Candidate, Refusal
from data_prep.variants.clauses import Clauses
from data_prep.variants.statements import Statement
from data_prep.variants.variant import Change

# Of the three discs of a data set those that each is taken for: the two lowest for each other
# first, the next one first for the third.
_UPPER, _MIDDLE, _LOWER = schema.LEVELS
_NEIGHBOURS = {
    _MIDDLE: (_LOWER, _UPPER),
    _LOWER: (_MIDDLE, _UPPER),
    _UPPER: (_MIDDLE, _LOWER),
}
_ROOT = re.compile(r"\b([LS][1-5])(?=\s+(?:(?:exit|exiting|traversing)\s+)?(?:nerve|root))", re.I)
_VERTEBRA = re.compile(r"\b[DTLS]\d{1,2}\b", re.I)
_SPINE = ("L1", "L2", "L3", "L4", "L5", "S1", "S2")
_SIDE = re.compile(r"(?i)(?<![\w-])(left|right|lt|rt)(?!\w)")
_OTHER_SIDE = {"left": "right", "right": "left", "lt": "rt", "rt": "lt"}
_BOTH_SIDES = re.compile(
    r"(?i)(?<!\w)(?:left|right|lt|rt)\.?\s*(?:side[sd]?)?\s*(?:and|&|/|\+|or|,|>|<)\s*(?:to\s+)?(?:the\s+)?(?:left|right|lt|rt)(?!\w)"
)


def level_swaps(found: Sequence[Statement]) -> Iterator[Candidate | Refusal]:
    """A candidate a statement that names one of the three lowest discs."""
    named = {level for s in found for e in s.evidence for level in e.levels}
    for at, statement in enumerate(found):
        if statement.names_level and any(e.status == "present" for e in statement.evidence):
            yield from _moved(found, at, named)


def _moved(found: Sequence[Statement], at: int, named: set[str]) -> Iterator[Candidate | Refusal]:
    statement = found[at]
    own = [
        (token, level)
        for token in statement.tokens
        if token.place is not None
        for level in token.place.levels
    ]
    for level in dict.fromkeys(level for _, level in own):
        if level not in _NEIGHBOURS:
            continue
        others = [
            other
            for other in _NEIGHBOURS[level]
            if other not in named and _keeps_order(statement, level, other)
        ]
        if not others:
            yield Refusal("level", "its neighbours are spoken of")
            continue
        text = _renamed(statement, level, others[0])
        if text is None:
            yield Refusal("level", "written in a way that is not rewritten")
            continue
        group = _followers(found, at)
        gone, new = set(), set()
        for member in group:
            for fact in member.facts:
                if fact.level == level:
                    gone.add(fact)
                    new.add(dataclasses.replace(fact, level=others[0]))
        own_findings = [
            e.finding
            for e in statement.evidence
            if level in e.levels and e.finding in LOCATED_FINDINGS
        ]
        if not own_findings:
            yield Refusal("level", "of no finding of a disc")
            continue
        changed = tuple(
            Change(name, level, level, others[0])
            for name in LOCATED_FINDINGS
            if any(fact.finding == name for fact in gone)
        )
        yield Candidate(
            "level", own_findings[0], [(statement, text)], frozenset(gone), frozenset(new), changed
        )


def _keeps_order(statement: Statement, level: str, other: str) -> bool:
    """Whether lists of levels from above downwards stay so."""
    for token in statement.tokens:
        names = list(token.place.levels) if token.place else []
        moved = [other if name == level else name for name in names]
        if moved != sorted(moved):
            return False
    return True


def _renamed(statement: Statement, level: str, other: str) -> str | None:
    """The statement with a disc named as another, as it is written, and its nerve roots moved
    along."""
    upper, lower = level.split("-")
    new_upper, new_lower = other.split("-")
    # The letter of the second vertebra may be left out where both have the same.
    letter = rf"({lower[0]}?)" if lower[0] == upper[0] else f"({lower[0]})"
    pattern = re.compile(
        rf"(?<![\w/-])({upper[0]}){upper[1:]}(\s*[-/]\s*){letter}{lower[1:]}"
        r"(?!\w*\d)(?!\s*[-/]\s*[LS]?\d)",
        re.I,
    )

    def as_written(match: re.Match) -> str:
        first, joint, letter = match.groups()
        first_letter = new_upper[0] if first.isupper() else new_upper[0].lower()
        # "L4-5" becomes "L5-S1": the letter of the sacrum is always written.
        other_letter = new_lower[0] if letter or new_lower[0] != new_upper[0] else ""
        other_letter = other_letter.lower() if letter.islower() else other_letter
        return f"{first_letter}{new_upper[1:]}{joint}{other_letter}{new_lower[1:]}"

    shift = _SPINE.index(new_upper) - _SPINE.index(upper)
    marked, count = pattern.subn(lambda m: f"\0{as_written(m)}\0", statement.text)
    if not count:
        return None
    parts = marked.split("\0")
    for index in range(0, len(parts), 2):
        moved = _ROOT.sub(lambda m: _SPINE[_SPINE.index(m[1].upper()) + shift], parts[index])
        rest = _ROOT.sub("", parts[index])
        levels_left = re.sub(r"(?i)[DTLS]\d{1,2}\s*[-/]\s*[LS]?\d{1,2}", "", rest)
        if _VERTEBRA.search(levels_left):
            return None
        parts[index] = moved
    return "".join(parts)


def _followers(found: Sequence[Statement], at: int) -> list[Statement]:
    """A statement and those behind it that are at its level for they name none."""
    group = [found[at]]
    for following in found[at + 1 :]:
        if following.names_level:
            break
        group.append(following)
    return group


def side_swaps(found: Sequence[Statement]) -> Iterator[Candidate | Refusal]:
    """A candidate a statement that names a side, "bilateral" and "both" apart.

    All sides of the statement change, and those of statements behind it that go on about it.
    """
    for at, statement in enumerate(found):
        first = _SIDE.search(statement.text)
        if not first:
            continue
        group = [member for member in _followers(found, at) if _SIDE.search(member.text)]
        if any(_BOTH_SIDES.search(member.text) for member in group):
            yield Refusal("side", "both sides in one")
            continue
        if at and not statement.names_level and _SIDE.search(found[at - 1].text):
            yield Refusal("side", "goes on about the statement before")
            continue
        present = [e for e in statement.evidence if e.status == "present"]
        if not present:
            yield Refusal("side", "of no finding that is present")
            continue
        before = "left" if first[0].lower() in ("left", "lt") else "right"
        finding = _nearest(statement, first.start(), present)
        level = ", ".join(next(e.levels for e in present if e.finding == finding))
        change = Change(finding, level, before, _OTHER_SIDE[before])
        yield Candidate(
            "side",
            finding,
            [(member, _mirrored(member.text)) for member in group],
            frozenset(),
            frozenset(),
            (change,),
        )


def _nearest(statement: Statement, at: int, present: Sequence[Evidence]) -> str:
    """The finding that a character stands closest to, in its clause if it has one."""
    clauses = Clauses(statement)
    placed = [e for e in present if e.spans]
    own = [e for e in placed if (home := clauses.home(e)).start <= at < home.end]

    def distance(evidence: Evidence) -> int:
        return min(abs(start - at) for start, _ in evidence.spans)

    return min(own or placed, key=distance, default=present[0]).finding


def _mirrored(text: str) -> str:
    def other(match: re.Match) -> str:
        word = _OTHER_SIDE[match[0].lower()]
        if match[0].isupper():
            return word.upper()
        return word.capitalize() if match[0][0].isupper() else word

    return _SIDE.sub(other, text)
