"""What a sentence does with its words: states, denies or hedges them.

NegEx in spirit: a cue reaches over its statement, forwards or backwards, and a statement ends at a
full stop, at a breaking word, and at a comma behind which something new is said.
"""

import dataclasses
from collections.abc import Sequence

from data_prep.label_reports.phrases import LEVEL, Match, longest
from data_prep.label_reports.rules import Assertions, Cue

_STOPS = frozenset(".;:!|")
# Between a finding and what answers for it: "Canal stenosis: no", "Fracture (none)".
_ANSWER_MARKS = frozenset(":=?-–—(|")
_MAX_LIST_WORDS = 25


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is said of a word; `cue` is the phrase that says so."""

    status: str
    cue: str


class Reach:
    """The verdict on every word of one sentence.

    Args:
      words: the sentence.
      places: for each word, whether it names a level.
      rules: the cues and what ends their reach.
    """

    def __init__(self, words: Sequence[str], places: Sequence[bool], rules: Assertions):
        self._words, self._places, self._rules = words, places, rules
        self.cues = self._cues()
        self._in_cue = {at for cue in self.cues for at in range(cue.start, cue.end)}
        self._cue_starts = {cue.start for cue in self.cues if cue.payload.status != "neutral"}
        self._openers = {match.start for match in rules.openers.find(words)}
        # The cues that govern what follows them, by where they end.
        self.forward = {cue.end: cue for cue in self.cues if self._governs_forwards(cue)}
        self.starts = self._statement_starts()
        self.verdicts: list[Verdict | None] = [None] * len(words)
        self._forwards()
        self._backwards()
        self._next_words()

    def of(self, *spans: tuple[int, int]) -> Verdict | None:
        """The verdict on words taken together: one that is denied or past decides for all."""
        found = [v for start, end in spans for v in self.verdicts[start:end] if v]
        for status in ("aside", "past", "absent", "uncertain"):
            for verdict in found:
                if verdict.status == status:
                    return verdict
        return None

    def _cues(self) -> list[Match[Cue]]:
        found = [cue for cue in self._rules.cues.find(self._words) if self._counts(cue)]
        answers = {(cue.start, cue.end) for cue in found if cue.payload.side == "answers"}
        return longest(
            cue
            for cue in found
            if cue.payload.side == "answers" or (cue.start, cue.end) not in answers
        )

    def _counts(self, cue: Match[Cue]) -> bool:
        """ "Canal stenosis: no." is an answer, and "L4-5: no canal stenosis" is none."""
        if cue.payload.side != "answers":
            return True
        is_behind = cue.start > 0 and self._words[cue.start - 1] in _ANSWER_MARKS
        return is_behind and not self._word(cue.end).isalnum()

    def _governs_forwards(self, cue: Match[Cue]) -> bool:
        if cue.payload.status == "neutral":
            return False
        return cue.payload.side in ("before", "around") or self._has_noun_ahead(cue)

    def _has_noun_ahead(self, cue: Match[Cue]) -> bool:
        """ "Resolved protrusion", where "the protrusion resolved" has none."""
        following = self._word(cue.end)
        is_noun = following.isalpha() or following == LEVEL
        is_noun &= following not in self._rules.continues | self._rules.verbs
        is_title = following == ":" and cue.start == 0
        return cue.payload.side == "either" and (is_noun or is_title)

    def _statement_starts(self) -> set[int]:
        words, rules = self._words, self._rules
        starts = {match.start for match in rules.breaks.find(words)} - self._in_cue
        for at, word in enumerate(words):
            following = self._word(at + 1)
            if at in self._in_cue and word not in rules.closers:
                continue
            if word in _STOPS:
                # "Negative for: fracture", "protrusion vs. extrusion"
                if word not in ":." or at not in self.forward:
                    starts.add(at + 1)
            elif word in rules.closers and following.isalnum():
                if following not in rules.continues:
                    starts.add(at + 1)
            elif word in (",", "and", "with") and self._something_new(at + 1, word):
                starts.add(at + 1)
        return starts

    def _something_new(self, at: int, joint: str) -> bool:
        """Whether a statement of its own, and no further item of a list, starts at a word."""
        words, rules = self._words, self._rules
        if at in self._cue_starts:
            return True
        if joint == "," and self._word(at) in rules.certain:
            return True
        has_article = self._word(at) in ("the", "a", "an", "with", "and")
        is_single = joint == "and" and self._word(at) in ("a", "an")
        opens = at in self._openers or (has_article and at + 1 in self._openers)
        if joint != "," and not opens and not (joint == "and" and has_article):
            return False
        if joint == "," and self._word(at) == "with":
            return at + 1 not in self._in_cue
        has_verb = has_place = False
        for index in range(at, min(at + _MAX_LIST_WORDS, len(words))):
            word = words[index]
            if word in ("or", "nor"):
                return False
            if word == "," or word in _STOPS:
                break
            has_verb |= word in rules.verbs
            has_place |= self._places[index]
        return opens or has_verb or (has_place and (joint == "," or is_single))

    def _forwards(self) -> None:
        verdict, outside = None, []
        for at, word in enumerate(self._words):
            if at in self.starts:
                verdict = None
            if at in self.forward:
                verdict = _verdict(self.forward[at])
            if verdict and self._is_certain(at, verdict):
                verdict = None
            if word == "(":
                outside.append(verdict)
            elif word == ")" and outside:
                verdict = outside.pop()
            self.verdicts[at] = verdict

    def _is_certain(self, at: int, verdict: Verdict) -> bool:
        is_governed = any(cue.end == at for cue in self.cues)
        return (
            verdict.status == "uncertain"
            and self._words[at] in self._rules.certain
            and not is_governed
        )

    def _backwards(self) -> None:
        for cue in self.cues:
            # A question mark at the very end doubts what stands before it.
            doubt = cue.phrase == "?" and cue.end == len(self._words)
            is_behind = cue.payload.side in ("after", "around", "answers")
            is_last = cue.payload.side == "either" and cue.end not in self.forward
            if not (is_behind or is_last or doubt):
                continue
            verdict = _verdict(cue)
            is_first_item, depth = True, 0
            for at in range(self._governed_end(cue) - 1, -1, -1):
                word = self._words[at]
                depth += (word == ")") - (word == "(")
                if depth < 0:
                    break
                if word == ",":
                    is_first_item = False
                if self._yields(self.verdicts[at], verdict, is_first_item):
                    self.verdicts[at] = verdict
                if at in self.starts:
                    break

    def _yields(self, old: Verdict | None, new: Verdict, is_first_item: bool) -> bool:
        """Whether a cue behind a word overrules what was said before it."""
        if old is None:
            return True
        is_firm = old.status == "aside" or (new.status == "present" and old.status != "past")
        return is_first_item and not is_firm

    def _governed_end(self, cue: Match[Cue]) -> int:
        """Where the words end that a cue behind them governs: at the mark before an answer, and
        at the comma before "which has" and the like."""
        at = cue.start
        if cue.payload.side == "answers":
            return at - 1
        while self._word(at - 1) in self._rules.verbs:
            at -= 1
        if self._word(at - 1) not in self._rules.relatives:
            return cue.start
        at -= 1
        return at - 1 if self._word(at - 1) == "," else at

    def _next_words(self) -> None:
        """ "Non-compressive bulge" denies the compression alone."""
        for cue in self.cues:
            if cue.payload.side == "next" and cue.end < len(self._words):
                self.verdicts[cue.end] = _verdict(cue)

    def _word(self, at: int) -> str:
        return self._words[at] if 0 <= at < len(self._words) else ""


def _verdict(cue: Match[Cue]) -> Verdict:
    return Verdict(cue.payload.status, cue.phrase)
