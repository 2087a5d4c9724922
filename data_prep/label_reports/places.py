"""Which level a finding is at: level names nearby, and what the lines before have set."""

import dataclasses
from collections.abc import Iterator, Sequence

from data_prep.label_reports.levels import Place, place_of
from data_prep.label_reports.mentions import Mention
from data_prep.label_reports.phrases import longest
from data_prep.label_reports.rules import LevelRules
from data_prep.label_reports.tokens import Token

# Tokens that one statement may have; text without any punctuation is cut.
MAX_TOKENS = 200
_EMPHASIS_WORDS = 5
_RELATIVE_WORDS = 2
_BREAKS = frozenset([",", ";", ":", ".", "with", "where", "associated", "causing", "while"])
_JOINTS = frozenset([",", ".", "-", "–", "—"])
_RESPECTIVE = "respectively"
_ARTICLES = frozenset(["the", "level", "levels", "of", "both"])


@dataclasses.dataclass(frozen=True)
class Context:
    """Levels that hold for the statements to come.

    `heading` was set by "L4-L5:" and stays until the next level; `last` was merely named last.
    """

    heading: Place | None = None
    last: Place | None = None


@dataclasses.dataclass
class _Anchor:
    """A level expression in a statement, `[start, end)` in tokens; preposition included."""

    start: int
    end: int
    place: Place
    is_attached: bool = False


class Places:
    """Finds the levels of findings by the rules of levels.toml."""

    def __init__(self, rules: LevelRules):
        self._rules = rules

    def statements(self, tokens: list[Token]) -> Iterator[list[Token]]:
        """Cuts a sentence before each "L4-L5:", and where it grows too long."""
        start = 0
        for at, token in enumerate(tokens):
            begin = self._with_preposition(tokens, at) if token.place else at
            is_heading = token.place and self._colon_after(tokens, at) is not None
            opens = is_heading and start < begin == at
            closed = at and tokens[at - 1].word == ":" and self._ends_heading(tokens, start, at - 1)
            if opens or closed or at - start >= MAX_TOKENS:
                yield tokens[start:at]
                start = at
        if tokens[start:]:
            yield tokens[start:]

    def locate(
        self, tokens: Sequence[Token], mentions: Sequence[Mention], context: Context
    ) -> tuple[list[Place | None], Context]:
        """The place of each mention, None where its statement names none, and the next context."""
        anchors = self._anchors(tokens)
        heading = anchors[0] if anchors and self._is_heading(tokens, anchors[0]) else None
        if heading:
            context = Context(heading.place, heading.place)
        elif tokens and tokens[-1].word == ":" and anchors:
            context = Context(anchors[-1].place, anchors[-1].place)
        elif context.heading and not self._is_unnamed(anchors):
            anchors.insert(0, _Anchor(-1, -1, context.heading))
        plain = self._merge(tokens, anchors, mentions)
        located = self._respective_places(tokens, mentions) or [
            self._relative_place(tokens, anchors, mention) or self._place(tokens, plain, mention)
            for mention in mentions
        ]
        named = [anchor.place for anchor in plain if anchor.place.discs and anchor.start >= 0]
        if not heading and named and tokens[-1].word != ":":
            context = Context(None, named[-1])
        return located, context

    def _respective_places(
        self, tokens: Sequence[Token], mentions: Sequence[Mention]
    ) -> list[Place | None]:
        """One level for each finding, in turn: "bulge and tear at L4-5 and L5-S1 respectively"."""
        discs = [disc for token in tokens if token.place for disc in token.place.order]
        if len(discs) != len(mentions) or all(token.word != _RESPECTIVE for token in tokens):
            return []
        return [Place(frozenset([disc])) for disc in discs]

    def _relative_place(
        self, tokens: Sequence[Token], anchors: list[_Anchor], mention: Mention
    ) -> Place | None:
        """The L4-L5 of "..., mainly at L4-L5, where" for what is said up to the next comma."""
        for at in range(mention.start - 1, -1, -1):
            if tokens[at].word == ",":
                return None
            if tokens[at].word in self._rules.relative_words:
                before = [a for a in anchors if at - _RELATIVE_WORDS <= a.end <= at]
                return before[-1].place if before else None
        return None

    def _place(
        self, tokens: Sequence[Token], anchors: list[_Anchor], mention: Mention
    ) -> Place | None:
        before = [a for a in anchors if a.end <= mention.start]
        named = [a for a in before if a.place.discs]
        behind = [a for a in anchors if a.start >= mention.end]
        inside = [a for a in anchors if a.start < mention.end and a.end > mention.start]
        if behind and (behind[0].is_attached or not named or self._closes(tokens, mention, behind)):
            between = [token.word for token in tokens[mention.end : behind[0].start]]
            if _BREAKS.isdisjoint(between) and between[-1:] != ["and"]:
                return behind[0].place
        candidates = named[-1:] + inside + before + [a for a in behind if a.place.discs] + behind
        return candidates[0].place if candidates else None

    def _closes(self, tokens: Sequence[Token], mention: Mention, behind: list[_Anchor]) -> bool:
        """Whether a level ends its item of a list: "bulge L4-5, protrusion L5-S1"."""
        first = behind[0]
        follows = first.start == mention.end
        ends = first.end == len(tokens) or tokens[first.end].word in _BREAKS
        return follows and ends

    def _anchors(self, tokens: Sequence[Token]) -> list[_Anchor]:
        words = [token.word for token in tokens]
        found = [(at, at + 1, token.place) for at, token in enumerate(tokens) if token.place]
        found += [
            (match.start, match.end, place_of(match.payload))
            for match in longest(self._rules.phrases.find(words))
        ]
        anchors = []
        for start, end, place in sorted(found, key=lambda item: item[0]):
            begin = self._with_preposition(tokens, start)
            in_brackets = words[begin - 1 : begin] == ["("]
            anchors.append(_Anchor(begin, end, place, begin < start or in_brackets))
        return anchors

    def _is_unnamed(self, anchors: Sequence[_Anchor]) -> bool:
        """Whether a statement speaks of "other levels" and the like alone."""
        return bool(anchors) and not any(anchor.place.discs for anchor in anchors)

    def _merge(
        self, tokens: Sequence[Token], anchors: list[_Anchor], mentions: Sequence[Mention]
    ) -> list[_Anchor]:
        """Joins levels that pick from, add to or spell out those before: ", mainly at L4-5"."""
        words = [token.word for token in tokens]
        emphasis = longest(self._rules.emphasis.find(words))

        def names_finding(start: int, end: int) -> bool:
            return any(start <= mention.start < end for mention in mentions)

        merged: list[_Anchor] = []
        for anchor in anchors:
            since = merged[-1].end if merged else 0
            begin = min(
                (
                    mark.start
                    for mark in emphasis
                    if mark.start >= since
                    and 0 <= anchor.start - mark.end <= _EMPHASIS_WORDS
                    and not names_finding(mark.start, anchor.start)
                ),
                default=anchor.start,
            )
            is_emphasised = begin < anchor.start
            is_apart = begin > 0 and words[begin - 1] in _JOINTS
            follows = not names_finding(since, begin)
            spells_out = merged and not merged[-1].place.discs and (is_apart or follows)
            picks_out = is_emphasised and (is_apart or follows)
            if merged and (picks_out or spells_out):
                place = merged[-1].place | anchor.place
                merged[-1] = dataclasses.replace(merged[-1], place=place)
            else:
                merged.append(anchor)
        return merged

    def _with_preposition(self, tokens: Sequence[Token], at: int) -> int:
        """Where "at the level of" begins that belongs to the level at a token."""
        begin = at
        while begin and tokens[begin - 1].word in _ARTICLES | self._rules.prepositions:
            begin -= 1
        words = {token.word for token in tokens[begin:at]}
        return begin if words & self._rules.prepositions else at

    def _colon_after(self, tokens: Sequence[Token], at: int) -> int | None:
        at += 1
        while at < len(tokens) and tokens[at].word.isalpha() and self._is_level_word(tokens[at]):
            at += 1
        return at if at < len(tokens) and tokens[at].word == ":" else None

    def _is_level_word(self, token: Token) -> bool:
        return bool(self._rules.level_words.find([token.word]))

    def _is_heading(self, tokens: Sequence[Token], anchor: _Anchor) -> bool:
        """Whether a statement opens with a level and a colon, or is nothing but a level."""
        if anchor.start > 0 or not anchor.place.discs:
            return False
        rest = [t for t in tokens[anchor.end :] if not self._is_level_word(t)]
        return not any(t.word.isalnum() for t in rest) or rest[0].word in (":", "-", "–", "—")

    def _ends_heading(self, tokens: Sequence[Token], start: int, colon: int) -> bool:
        """Whether a colon follows a level that ends, and does not open, the words before it."""
        at = colon - 1
        while at > start and self._is_level_word(tokens[at]):
            at -= 1
        return tokens[at].place is not None and self._with_preposition(tokens, at) > start
