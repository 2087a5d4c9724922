"""What a sentence does with its words: states, denies or hedges them.

NegEx in spirit: a cue reaches over its statement, forwards or backwards, and a statement ends at a
full stop, at a breaking word, and at a comma behind which something new is said.
"""

import dataclasses
from collections.abc import Sequence

from data_prep.labeling.phrases import Match, longest
from data_prep.labeling.rules import Assertions, Cue

_STOPS = frozenset(".;:!")
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
        self.cues: list[Match[Cue]] = longest(filter(self._counts, rules.cues.find(words)))
        self._in_cue = {at for cue in self.cues for at in range(cue.start, cue.end)}
        self._cue_starts = {cue.start for cue in self.cues if cue.payload.status != "neutral"}
        self._openers = {match.start for match in rules.openers.find(words)}
        self.starts = self._statement_starts()
        self.verdicts: list[Verdict | None] = [None] * len(words)
        self._forwards()
        self._backwards()

    def _counts(self, cue: Match[Cue]) -> bool:
        """ "Canal stenosis: no." is an answer, and "L4-5: no canal stenosis" is none."""
        is_answer = not self._words[cue.end : cue.end + 1] or not self._words[cue.end].isalnum()
        return is_answer or not cue.phrase.startswith(":")

    def of(self, *spans: tuple[int, int]) -> Verdict | None:
        """The verdict on words taken together: one that is denied or past decides for all."""
        found = [v for start, end in spans for v in self.verdicts[start:end] if v]
        for status in ("past", "absent", "uncertain"):
            for verdict in found:
                if verdict.status == status:
                    return verdict
        return None

    def _statement_starts(self) -> set[int]:
        words, rules = self._words, self._rules
        starts = {match.start for match in rules.breaks.find(words)} - self._in_cue
        for at, word in enumerate(words):
            following = words[at + 1] if at + 1 < len(words) else ""
            if at in self._in_cue and word not in rules.closers:
                continue
            if word in _STOPS:
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
        has_article = at < len(words) and words[at] in ("the", "a", "an", "with", "and")
        opens = at in self._openers or (has_article and at + 1 in self._openers)
        if joint != "," and not opens and not (joint == "and" and has_article):
            return False
        if joint == "," and at < len(words) and words[at] == "with":
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
        return opens or has_verb or (has_place and joint == ",")

    def _forwards(self) -> None:
        ends = {cue.end: cue for cue in self.cues if cue.payload.side == "before"}
        verdict, outside = None, []
        for at, word in enumerate(self._words):
            if at in self.starts:
                verdict = None
            if at in ends and ends[at].payload.status != "neutral":
                verdict = Verdict(ends[at].payload.status, ends[at].phrase)
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
            if cue.payload.side != "after" and not doubt:
                continue
            verdict = Verdict(cue.payload.status, cue.phrase)
            is_first_item, depth = True, 0
            for at in range(cue.start - 1, -1, -1):
                word = self._words[at]
                depth += (word == ")") - (word == "(")
                if depth < 0:
                    break
                if word == ",":
                    is_first_item = False
                if is_first_item or self.verdicts[at] is None:
                    self.verdicts[at] = verdict
                if at in self.starts:
                    break
