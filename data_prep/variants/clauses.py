"""The clauses of a statement: a lesion, what it does, what comes with it; and one cut out."""

import dataclasses
import itertools
import re
from collections.abc import Collection

from data_prep.label_reports.statements import Evidence
from data_prep.label_reports.tokens import Token
from data_prep.variants.statements import Statement
from data_prep.variants.wordings import standard

# "compressing the sac.- L3-L4 & L4-L5": nothing can be added at the end.
_SECOND_SENTENCE = re.compile(r"\.\s*-")


@dataclasses.dataclass(frozen=True)
class Clause:
    """Characters ``[start, end)`` of a statement, the first `body - start` of which join it.

    `kind` is "head", the lesion; "effect"; "companion" ("with ..."); "modifier" or "item", what
    stands behind a comma.
    """

    kind: str
    start: int
    body: int
    end: int


class Clauses:
    """The clauses of a statement, and the evidence in each."""

    def __init__(self, statement: Statement):
        self.statement = statement
        self.heading = _heading(statement)
        self.all = _clauses(statement, self.heading)
        self._homes = {id(e): self._clause_at(e.spans[0][0]) for e in statement.evidence if e.spans}

    @property
    def is_known(self) -> bool:
        """Whether every finding stands in a clause."""
        return len(self._homes) == len(self.statement.evidence)

    def home(self, evidence: Evidence) -> Clause:
        """The clause that names what evidence is about; of a site and its change, the site."""
        return self._homes[id(evidence)]

    def of_head(self) -> list[Evidence]:
        """The evidence on the lesion, on what it does and on what is said of it."""
        return [e for e in self.statement.evidence if self._is_tied(e)]

    def _is_tied(self, evidence: Evidence) -> bool:
        if self.home(evidence).kind in ("head", "effect") or self._touches_head(evidence):
            return True
        starts = {start for start, _ in evidence.spans}
        words = [t.word for t in self.statement.tokens if t.start in starts]
        return any(standard().is_part("dependents", word) for word in words)

    @property
    def is_clear(self) -> bool:
        """Whether it can be told what does what: the statement is no sentence within a sentence,
        its lesion presses on others if any does, and its effects are on those alone."""
        words = standard()
        if any(words.is_part("relatives", word) for word in self.statement.words):
            return False
        pressing = {self._is_of_first(e) for e in self.statement.evidence if _presses(e)}
        effects = {e.finding for e in self.statement.evidence if self.home(e).kind == "effect"} - {
            e.finding for e in self.statement.evidence if self._is_of_first(e)
        }
        return pressing != {False} and (not effects or effects <= words.compressed)

    def _is_of_first(self, evidence: Evidence) -> bool:
        return self.home(evidence).kind == "head" or self._touches_head(evidence)

    def is_of_head(self, finding: str) -> bool:
        """Whether the lesion itself is the finding, so that it cannot be cut out alone."""
        return any(e.finding == finding and self._is_of_first(e) for e in self.statement.evidence)

    def companions(self) -> list[str] | None:
        """The texts of the clauses that speak of findings of their own; None where one of these
        may be what presses, or is pressed upon."""
        words, tied = standard(), self.of_head()
        others = [e for e in self.statement.evidence if e not in tied]
        has_effects = any(self.home(e).kind == "effect" for e in tied)
        if any(e.finding in words.compressed or (has_effects and _presses(e)) for e in others):
            return None
        own, text = {self.home(e) for e in others}, self.statement.text
        return [text[c.body : c.end].strip(" ,.;") for c in self.all if c in own]

    def without(self, finding: str) -> str | None:
        """The statement without the clauses and objects on a finding that is not of the head, its
        full stop included; None where they cannot be told apart."""
        cuts: dict[int, tuple[int, int]] = {}
        own = [e for e in self.statement.evidence if e.finding == finding]
        dropped: set[Clause] = set()
        for clause in {self.home(e) for e in own}:
            others = [
                e
                for e in self.statement.evidence
                if e.finding != finding and any(clause.start <= s < clause.end for s, _ in e.spans)
            ]
            if not others:
                dropped.add(clause)
                continue
            ranges = self._objects_of(clause, own, others)
            if not ranges:
                return None
            cuts.update({start: (start, end) for start, end in ranges})
        text = self.statement.text
        if _SECOND_SENTENCE.search(text) or any(
            ":" in text[clause.body : clause.end] for clause in dropped
        ):
            return None
        for before, clause in itertools.pairwise(self.all):
            is_stray = clause.kind == "modifier" and before in dropped and before != self.all[1]
            # "with modic changes noted & narrowed space": the verb belongs to what is cut.
            if is_stray and not text[clause.start : clause.body].strip():
                return None
        return self._assembled(dropped, list(cuts.values()))

    def _assembled(self, dropped: Collection[Clause], cuts: Collection[tuple[int, int]]) -> str:
        """The statement without clauses and ranges; a clause behind one that is dropped is joined
        as that was: ", compressing A and encroaching B" becomes ", encroaching B"."""
        text, parts = self.statement.text, []
        lead, is_dropped, kept = None, False, ""
        for clause in self.all:
            # "compressing the sac, more to the left"
            goes_along = is_dropped and clause.kind == "item" and self._is_bare(clause)
            is_dropped = clause in dropped or goes_along
            joint = text[clause.start : clause.body]
            if is_dropped:
                if lead is None and kept != "effect":
                    lead = ", " if clause.kind == "companion" else joint
                continue
            is_joined_by_and = "&" in joint or "and" in joint.split()
            is_alike = clause.kind in ("effect", "item") and lead != ", "
            if lead is not None and (is_joined_by_and or is_alike):
                joint = lead
            lead, kept = None, clause.kind
            body, at = "", clause.body
            for start, end in sorted(cuts):
                if clause.body <= start < clause.end:
                    body += text[at:start]
                    at = end
            parts.append(joint + body + text[at : clause.end])
        core = re.sub(r"(?<=\S) {2,}", " ", "".join(parts)).rstrip(" ,.;")
        return text[: self.heading] + core + text[len(self.statement.core) :]

    def _objects_of(
        self, clause: Clause, own: list[Evidence], others: list[Evidence]
    ) -> list[tuple[int, int]]:
        """The ranges of the objects on a finding among those of a clause."""
        tokens = [t for t in self.statement.tokens if clause.body <= t.start < clause.end]
        lead = 0
        while lead < len(tokens) and (
            standard().is_part("adverbs", tokens[lead].word)
            or standard().opens_effect(tokens[lead].word)
            or tokens[lead].word in ("upon", "on")
        ):
            lead += 1
        objects: list[list[int]] = []  # start, end, and where its joint starts
        joint = None
        for token in tokens[lead:]:
            if token.word in (",", "and", "&", "or"):
                joint = token.start if joint is None else joint
                continue
            if joint is not None or not objects:
                objects.append(
                    [token.start, token.end, joint if joint is not None else token.start]
                )
                joint = None
            objects[-1][1] = token.end

        def names(found: list[Evidence], item: list[int]) -> bool:
            return any(item[0] <= start < item[1] for e in found for start, _ in e.spans[:1])

        starts = {item[0] for item in objects}
        if any(t.start in starts and standard().is_part("effects", t.word) for t in tokens):
            return []
        mine = [item for item in objects if names(own, item)]
        if not mine or len(mine) == len(objects) or any(names(others, item) for item in mine):
            return []
        ranges = []
        for item in mine:
            at = objects.index(item)
            if at == 0:
                ranges.append((item[0], objects[1][0]))
            else:
                before = self.statement.text[: item[2]].rstrip()
                ranges.append((len(before), item[1]))
        return ranges

    def _touches_head(self, evidence: Evidence) -> bool:
        head = self.all[0]
        return any(head.start <= start < head.end for start, _ in evidence.spans)

    def _is_bare(self, clause: Clause) -> bool:
        return clause not in self._homes.values()

    def _clause_at(self, at: int) -> Clause:
        return next(c for c in reversed(self.all) if c.start <= at)


def _heading(statement: Statement) -> int:
    """Where the statement proper begins, behind "L4-L5:"."""
    tokens = statement.tokens
    if tokens and tokens[0].place:
        for token in tokens[1:4]:
            if token.word == ":":
                rest = [t.start for t in tokens if t.start > token.start]
                return rest[0] if rest else 0
    return 0


def _clauses(statement: Statement, start: int) -> list[Clause]:
    words = standard()
    tokens = [t for t in statement.tokens if t.start >= start]
    bounds = [("head", start, start)]
    depth, at = 0, 0
    while at < len(tokens):
        word = tokens[at].word
        depth += (word == "(") - (word == ")")
        joint = at
        while joint < len(tokens) and words.is_part("joints", tokens[joint].word):
            joint += 1
        core = joint
        while core < len(tokens) and words.is_part("adverbs", tokens[core].word):
            core += 1
        kind = ""
        body = joint
        following = tokens[core].word if core < len(tokens) else ""
        if words.opens_effect(following) and _has_object(tokens, core):
            kind = "effect"
        elif words.is_part("companions", following):
            kind, body = "companion", core + 1
            # "with encroaching the canals" is no companion.
            if body < len(tokens) and _goes_on(tokens[body].word):
                verb = next(
                    (i for i in range(body, len(tokens)) if not _goes_on(tokens[i].word)), body
                )
                if words.opens_effect(tokens[verb - 1].word):
                    kind = "effect"
        elif words.is_part("modifiers", following) and (joint > at or bounds[-1][0] == "companion"):
            kind = "modifier"
        elif word == "," and joint < len(tokens):
            kind = "item"
        if kind and depth == 0 and (at or kind == "head") and body < len(tokens):
            begin = tokens[at - 1].end
            bounds.append((kind, begin, tokens[body].start))
            at = max(core + 1, body) if kind != "item" else joint
            # "causing mild compressing the sac" is one clause.
            while kind == "effect" and at < len(tokens) and _goes_on(tokens[at].word):
                at += 1
        else:
            at += 1
    ends = [begin for _, begin, _ in bounds[1:]] + [len(statement.core)]
    return [Clause(k, s, b, e) for (k, s, b), e in zip(bounds, ends, strict=True)]


def _has_object(tokens: list[Token], at: int) -> bool:
    """Not the noun of "canal narrowing noted", "narrowing at L4-L5"."""
    following = tokens[at + 1].word if at + 1 < len(tokens) else ""
    return following.isalnum() and following not in ("at", "of", "is", "noted", "seen")


def _goes_on(word: str) -> bool:
    return standard().is_part("adverbs", word) or standard().opens_effect(word)


def _presses(evidence: Evidence) -> bool:
    return evidence.finding in standard().displacing


def opens_with_effect(statement: Statement) -> bool:
    """Whether a statement goes on about the lesion of the one before: "Compressing the sac"."""
    words = iter(statement.words)
    first = next((w for w in words if not standard().is_part("adverbs", w)), "")
    return standard().opens_effect(first)
