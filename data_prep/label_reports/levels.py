"""Disc levels in a row of words: "L4-5", "L4/L5", "L45", "L3-4-5", lists and ranges.

A spine is a row of vertebrae, C1 to S5; the disc below vertebra k has the index k. Every level
expression is thereby a set of numbers, whatever its notation.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from data_prep.label_reports.rules import LevelRules
from data_prep.records.levels import LUMBAR

_COUNTS = {"c": 7, "t": 12, "l": 5, "s": 5}
_FIRST = {"c": 0, "t": 7, "l": 19, "s": 24}
_NAMES = dict(enumerate(LUMBAR, start=_FIRST["l"]))
# D11-D12 and D12-L1 are on every lumbar study; what is higher belongs to another one.
_FIRST_LUMBAR_STUDY = _FIRST["t"] + 10
_SEPARATORS = frozenset("-–—−‐‑/\\_.")
_LIST_MARKS = frozenset(",&+/-–—<>")
_MAX_LIST_WORDS = 5
_MAX_SEPARATORS = 3


@dataclasses.dataclass(frozen=True)
class Place:
    """The discs that an expression names; none for "multilevel" and the like.

    `order` holds them as they were named, which "respectively" refers to.
    """

    discs: frozenset[int] = frozenset()
    order: tuple[int, ...] = dataclasses.field(default=(), compare=False)

    @property
    def levels(self) -> tuple[str, ...]:
        return tuple(_NAMES[disc] for disc in sorted(self.discs) if disc in _NAMES)

    @property
    def elsewhere(self) -> bool:
        """Whether it lies outside what a lumbar study shows."""
        return bool(self.discs) and max(self.discs) < _FIRST_LUMBAR_STUDY

    def __or__(self, other: "Place") -> "Place":
        return Place(self.discs | other.discs, (*self.order, *other.order))

    def __sub__(self, other: "Place") -> "Place":
        return Place(self.discs - other.discs)


def place_of(names: Iterable[str]) -> Place:
    """The place of levels by name, "L4-L5"."""
    index = {name: disc for disc, name in _NAMES.items()}
    return Place(frozenset(index[name] for name in names))


class LevelReader:
    """Reads level expressions from words in which letters and digits stand apart."""

    def __init__(self, rules: LevelRules):
        self._between = rules.between
        self._joining_words = rules.pair_words | rules.range_words
        self._range_words = rules.range_words
        self._list_words = rules.list_words

    def read(self, words: Sequence[str], at: int) -> tuple[Place, int] | None:
        """The expression that starts at a word, and where it ends; None where none does."""
        first = self._discs(words, at)
        if first is None:
            return None
        discs, end = first
        order = sorted(discs)
        while True:
            after = self._skip(words, end, self._range_words, _SEPARATORS)
            last = self._discs(words, after) if self._has_range_word(words, end, after) else None
            if last:
                low, high = min(discs | last[0]), max(discs | last[0])
                discs, end = frozenset(range(low, high + 1)), last[1]
                order = sorted(discs)
                continue
            after = self._skip(words, end, self._list_words, _LIST_MARKS)
            more = self._discs(words, after) or self._bare_pair(words, after, end)
            if more is None:
                return Place(discs, tuple(order)), end
            discs, end = discs | more[0], more[1]
            order += sorted(more[0])

    def vertebra(self, words: Sequence[str], at: int) -> tuple[int, int] | None:
        """The index of the vertebra named at a word ("L" "4"), and where its name ends."""
        if at + 1 >= len(words) or not words[at + 1].isdecimal() or len(words[at + 1]) > 2:
            return None
        letter = "t" if words[at] == "d" else words[at]
        number = int(words[at + 1])
        if letter not in _COUNTS or not 1 <= number <= _COUNTS[letter]:
            return None
        return _FIRST[letter] + number - 1, at + 2

    def _discs(self, words: Sequence[str], at: int) -> tuple[frozenset[int], int] | None:
        """One disc, or a chain such as L3-4-5 or L3-S1; the discs from end to end."""
        start = self.vertebra(words, at)
        if start is None:
            return self._run_together(words, at)
        top, end = start
        bottom = top
        while True:
            after = self._skip(words, end, frozenset(), _SEPARATORS)
            is_joined = self._word(words, end) in self._joining_words or (
                at > 0 and words[at - 1] in self._between and self._word(words, end) == "and"
            )
            if bottom == top and after == end and is_joined:
                after += 1
            found = self.vertebra(words, after) or self._number(words, after, end, bottom)
            if found is None or found[0] == bottom:
                if bottom > top and found and self._discs(words, after) is None:
                    end = found[1]
                break
            if bottom > top and (
                found[0] < bottom or self._starts_a_disc(words, found[1], found[0])
            ):
                break
            top, bottom = min(top, found[0]), max(bottom, found[0])
            end = found[1]
        if bottom > top:
            return frozenset(range(top, bottom)), end
        if self._word(words, end) == "/" and self._word(words, end + 1).isalpha():
            return frozenset({top}), end + 1
        return None

    def _run_together(self, words: Sequence[str], at: int) -> tuple[frozenset[int], int] | None:
        """L45, L51 and L4.5."""
        if self._word(words, at) != "l":
            return None
        digits = self._word(words, at + 1).replace(".", "")
        if len(digits) != 2 or not digits.isdecimal():
            return None
        top, bottom = int(digits[0]), int(digits[1])
        if not 1 <= top <= 5 or bottom != top % 5 + 1:
            return None
        disc, end = _FIRST["l"] + top - 1, at + 2
        after = self._skip(words, end, frozenset(), _SEPARATORS)
        repeated = self.vertebra(words, after)
        if repeated and after > end and repeated[0] == disc + 1 and not self._discs(words, after):
            end = repeated[1]
        return frozenset({disc}), end

    def _number(
        self, words: Sequence[str], at: int, end: int, bottom: int
    ) -> tuple[int, int] | None:
        """The second half of L4-5 or L5-1: a number without its letter."""
        number = self._word(words, at)
        if at == end or len(number) != 1 or not number.isdecimal():
            return None
        for letter in ("c", "t", "l"):
            index = _FIRST[letter] + int(number) - 1
            if _FIRST[letter] <= bottom < _FIRST[letter] + _COUNTS[letter] and index > bottom:
                in_region = int(number) <= _COUNTS[letter]
                return (index, at + 1) if in_region else None
        is_s1 = number == "1" and bottom == _FIRST["s"] - 1
        return (_FIRST["s"], at + 1) if is_s1 else None

    def _bare_pair(self, words: Sequence[str], at: int, end: int):
        """The 4-5 of "L3-4, 4-5": only behind a level, for alone it may be a grade or a date."""
        number = self._word(words, at)
        if at == end or number not in ("1", "2", "3", "4", "5"):
            return None
        top = _FIRST["l"] + int(number) - 1
        after = self._skip(words, at + 1, frozenset(), _SEPARATORS)
        found = self.vertebra(words, after) or self._number(words, after, at + 1, top)
        if after == at + 1 or found is None or found[0] != top + 1:
            return None
        return frozenset({top}), found[1]

    def _starts_a_disc(self, words: Sequence[str], end: int, bottom: int) -> bool:
        """Whether the vertebra that ends here is the upper one of a disc of its own."""
        after = self._skip(words, end, frozenset(), _SEPARATORS)
        found = self.vertebra(words, after) or self._number(words, after, end, bottom)
        return found is not None and found[0] == bottom + 1

    def _has_range_word(self, words: Sequence[str], start: int, end: int) -> bool:
        return any(word in self._range_words for word in words[start:end])

    def _skip(self, words: Sequence[str], at: int, skipped: frozenset, marks: frozenset) -> int:
        limit = at + (_MAX_LIST_WORDS if skipped else _MAX_SEPARATORS)
        while at < min(limit, len(words)) and (words[at] in skipped or words[at] in marks):
            at += 1
        return at

    def _word(self, words: Sequence[str], at: int) -> str:
        return words[at] if at < len(words) else ""
