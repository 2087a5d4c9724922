"""The statements of a report: what is read in each, and where it stands in the text."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence

from data_prep.label_reports import rules
from data_prep.label_reports.reader import Reader, Reading
from data_prep.label_reports.statements import Evidence
from data_prep.label_reports.tokens import Token, Tokenizer
from data_prep.records.findings import LOCATED_FINDINGS

_STOP = re.compile(r"[\s.;]*\Z")
_BULLET = re.compile(r"(?:[ \t\-–—*•.,/]|\d{1,2}[.)](?=\s))*")
_REST_OF_LINE = re.compile(r"[ \t/\-]*(?=\n|\Z)")
_SEPARATOR = re.compile(r"\A[ \t]*(?:/{2,}[ \t]*)?")


@dataclasses.dataclass(frozen=True, order=True)
class Fact:
    """A finding at a level, "" where it is at none that is told, and its status.

    A denial is at a level that its own statement names: one that is silent has none, although the
    labeller lets it inherit the level named last.
    """

    finding: str
    level: str
    status: str


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement on findings; `start` is its first character in the report.

    `tokens` are the labeller's, their characters those of `text`.
    """

    text: str
    start: int
    evidence: tuple[Evidence, ...]
    tokens: tuple[Token, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def core(self) -> str:
        """The text without its full stop."""
        return _STOP.sub("", self.text)

    @property
    def names_level(self) -> bool:
        return any(token.place is not None for token in self.tokens)

    @property
    def words(self) -> list[str]:
        return [token.word for token in self.tokens]

    @property
    def facts(self) -> frozenset[Fact]:
        return frozenset(fact for item in self.evidence for fact in self.facts_of(item))

    def facts_of(self, evidence: Evidence, status: str = "") -> list[Fact]:
        """What evidence of this statement says, with its status or another."""
        status = status or evidence.status
        is_told = status == "present" or self.names_level
        levels = evidence.levels if evidence.finding in LOCATED_FINDINGS and is_told else ()
        return [Fact(evidence.finding, level, status) for level in levels or ("",)]


@functools.cache
def _machinery() -> tuple[Reader, Tokenizer]:
    return Reader(), Tokenizer(rules.load())


def read(text: str) -> Reading:
    """What the labeller reads in a report, by the rules of this repository."""
    return _machinery()[0].read(text)


def facts(text: str) -> frozenset[Fact]:
    """What a report says by the labeller."""
    tokenize = _machinery()[1]
    return frozenset(
        fact
        for words, group in _groups(read(text).evidence)
        for item in group
        for fact in Statement(words, 0, tuple(group), tuple(tokenize(words))).facts_of(item)
    )


def statements(text: str) -> list[Statement]:
    """The statements on findings, in the order of the text.

    One that is not found as it was read, such as one that a page has broken in two with surplus
    blanks, is left out.
    """
    tokenize = _machinery()[1]
    found, at = [], 0
    for words, group in _groups(read(text).evidence):
        pattern = r"\s".join(map(re.escape, words.split(" ")))
        match = re.compile(pattern).search(text, at)
        if match:
            at = match.end()
            # Of line breaks within it the labeller makes blanks.
            found.append(Statement(match[0], match.start(), tuple(group), tuple(tokenize(words))))
    return found


def _groups(evidence: Sequence[Evidence]) -> Iterator[tuple[str, list[Evidence]]]:
    """The evidence by statement: two that are alike word by word stay two."""
    group: list[Evidence] = []
    for item in evidence:
        is_next = group and (item.text != group[0].text or _first(item) < _first(group[-1]))
        if is_next:
            yield group[0].text, group
            group = []
        group.append(item)
    if group:
        yield group[0].text, group


def _first(evidence: Evidence) -> int:
    return min((start for start, _ in evidence.spans), default=0)


def replaced(text: str, edits: Sequence[tuple[Statement, str | None]]) -> str:
    """The report with statements replaced; one without a replacement is left out with its line,
    bullet and separator."""
    for statement, new in sorted(edits, key=lambda edit: -edit[0].start):
        if new is not None:
            text = text[: statement.start] + new + text[statement.end :]
            continue
        before, behind = text[: statement.start], text[statement.end :]
        line = before.rfind("\n") + 1
        is_last = _REST_OF_LINE.match(behind)
        if _BULLET.fullmatch(before, line):
            before = before[:line]
            behind = behind[is_last.end() + 1 :] if is_last else _SEPARATOR.sub("", behind, count=1)
        elif is_last:
            before, behind = before.rstrip(" \t/-"), behind[is_last.end() :]
        else:
            behind = _SEPARATOR.sub("", behind, count=1)
        text = before + behind
    return text.strip()
