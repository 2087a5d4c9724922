"""Items of a list that name a level and leave the finding to what stands before them.

"Canal stenosis: mild at L3-4, none at L4-5"; "bulges at all levels except L5-S1". They are taken
out of their statement, so that its denials and levels are its own.
"""

import dataclasses
from collections.abc import Sequence

from data_prep.label_reports.levels import Place
from data_prep.label_reports.phrases import LEVEL, longest
from data_prep.label_reports.rules import Assertions, ItemRules
from data_prep.label_reports.tokens import Token

EXCEPTION = "exception"
_JOINTS = frozenset([",", ";", ":", "(", "and", "but"])
_ENDS = frozenset([",", ";", ".", ")", "|", "and", "but", ""])
_MARKS = frozenset("():-–—;.,|")
_ALL_WORDS_BEFORE = 4


@dataclasses.dataclass(frozen=True)
class Item:
    """What an item says: `status` is absent, present, or `EXCEPTION`, the reverse of the rest.

    It stood before the word `at` of what is left of the statement.
    """

    status: str
    place: Place
    at: int = 0


@dataclasses.dataclass(frozen=True)
class Parts:
    """A statement without its items; `asides` speak of excepted levels: "..., where it bulges"."""

    tokens: list[Token]
    items: list[Item]
    asides: list[list[Token]]


class Items:
    """Takes items out of statements by the rules of levels.toml."""

    def __init__(self, rules: ItemRules, assertions: Assertions):
        self._rules = rules
        self._fillers = rules.fillers | rules.sides | rules.denials | {LEVEL, "(", ")"}
        self._relatives = assertions.relatives | {"where"}
        self._followers = (
            _ENDS | assertions.verbs | assertions.continues | self._relatives | rules.followers
        )

    def whole(self, tokens: Sequence[Token], has_title: bool) -> Item | None:
        """The item that a whole statement is; below a title a bare level is one, too."""
        words = [token.word for token in tokens if token.word not in _MARKS]
        places = [token.place for token in tokens if token.place]
        if len(places) != 1 or self._run_end(words, 0, self._degrees(words)) < len(words):
            return None
        is_denied = not self._rules.denials.isdisjoint(words)
        if is_denied or has_title or self._rules.degrees.find(words):
            return Item("absent" if is_denied else "present", places[0])
        return None

    def split(self, tokens: Sequence[Token]) -> Parts:
        """The parts of a statement."""
        words = [token.word for token in tokens]
        leads = {m.start: m.end for m in longest(self._rules.contrasts.find(words))}
        exceptions, degrees = self._exceptions(words), self._degrees(words)
        kept: list[Token] = []
        parts = Parts(kept, [], [])
        at = 0
        while at < len(tokens):
            end = self._run_end(words, exceptions.get(at, leads.get(at, at)), degrees)
            places = [token.place for token in tokens[at:end] if token.place]
            following = _word(words, end)
            if at in exceptions and len(places) == 1 and following in self._followers:
                at = self._except(parts, tokens, end, places[0])
            elif len(places) == 1 and self._is_excepted_behind(words, end):
                at = self._except(
                    parts, tokens, end + 2 - (following in self._rules.behind), places[0]
                )
            elif at in leads and len(places) == 1 and following in _ENDS:
                parts.items.append(Item("absent", places[0], len(kept)))
                at = end
            elif (
                at
                and words[at - 1] in _JOINTS
                and following in _ENDS
                and self._take(parts, tokens[at:end], places)
            ):
                at = end
            else:
                kept.append(tokens[at])
                at += 1
        return parts

    def _exceptions(self, words: Sequence[str]) -> dict[int, int]:
        """Where wordings such as "except at" begin and end; "but" is one behind "all" alone."""
        found = {m.start: m.end for m in longest(self._rules.exceptions.find(words))}
        for at, word in enumerate(words):
            before = words[max(0, at - _ALL_WORDS_BEFORE) : at]
            if word in self._rules.after_all and not self._rules.all_words.isdisjoint(before):
                found[at] = at + 1
        return found

    def _degrees(self, words: Sequence[str]) -> set[int]:
        return {match.start for match in self._rules.degrees.find(words)}

    def _run_end(self, words: Sequence[str], at: int, degrees: set[int]) -> int:
        """Where the words end, from `at` on, that an item may be made of."""
        end, depth = at, 0
        while end < len(words) and (words[end] in self._fillers or end in degrees):
            depth += (words[end] == "(") - (words[end] == ")")
            if depth < 0:
                break
            end += 1
        return end

    def _is_excepted_behind(self, words: Sequence[str], end: int) -> bool:
        """ "L2-3 excepted", "L5-S1 is spared" """
        return _word(words, end) in self._rules.behind or (
            _word(words, end) in ("is", "are") and _word(words, end + 1) in self._rules.behind
        )

    def _except(self, parts: Parts, tokens: Sequence[Token], end: int, place: Place) -> int:
        """Takes an exception out, and what is said of its level behind it; where to go on."""
        words = [token.word for token in tokens]
        is_apart = not parts.tokens or parts.tokens[-1].word in (",", "(")
        if parts.tokens and is_apart:
            parts.tokens.pop()
        parts.items.append(Item(EXCEPTION, place, len(parts.tokens)))
        after = end + (_word(words, end) == ",")
        if _word(words, after) in self._relatives:
            level = next(token for token in reversed(tokens[:end]) if token.place)
            parts.asides.append([level, *tokens[after + 1 :]])
            return len(tokens)
        return end + (is_apart and _word(words, end) in (",", ")"))

    def _take(self, parts: Parts, tokens: Sequence[Token], places: Sequence[Place]) -> bool:
        """Takes an item out of its statement, or joins its level to the one before; if it can."""
        words, kept = [token.word for token in tokens], parts.tokens
        has_side = not self._rules.sides.isdisjoint(words)
        is_denied = not self._rules.denials.isdisjoint(words)
        has_degree = bool(self._rules.degrees.find(words))
        if len(places) > 1 or not (places or (is_denied and has_side)):
            return False
        place = places[0] if places else Place()
        if is_denied or (has_degree and self._has_denial(kept)):
            if kept[-1].word in _JOINTS - {":"}:
                kept.pop()
            parts.items.append(Item("absent" if is_denied else "present", place, len(kept)))
            return True
        if not (has_degree or has_side):
            return False
        for at in reversed(range(len(kept))):
            if before := kept[at].place:
                kept[at] = dataclasses.replace(kept[at], place=before | place)
                return True
        return False

    def _has_denial(self, tokens: Sequence[Token]) -> bool:
        return any(token.word in self._rules.denials for token in tokens)


def _word(words: Sequence[str], at: int) -> str:
    return words[at] if at < len(words) else ""
