"""Reads a report: the findings it states, denies or doubts, and the discs they are at."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Sequence

from data_prep.findings import FINDINGS, LEVEL_FINDINGS
from data_prep.labeling import rules as rule_files
from data_prep.labeling.assertion import Reach
from data_prep.labeling.levels import Place
from data_prep.labeling.mentions import Mention, find_mentions
from data_prep.labeling.places import Context, Places
from data_prep.labeling.sections import Splitter
from data_prep.labeling.tokens import Token, Tokenizer

# The strongest statement of a report counts.
_STRENGTH = ("absent", "uncertain", "present")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One statement of a report on a finding: what, where, in which words, by which rule."""

    finding: str
    status: str
    levels: tuple[str, ...]
    text: str
    rule: str


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a report says, by its statements in the order of the text."""

    evidence: tuple[Evidence, ...]

    @functools.cached_property
    def findings(self) -> dict[str, str]:
        """Status by finding, of those the report speaks of, in the order of FINDINGS."""
        said = {name: [e.status for e in self.evidence if e.finding == name] for name in FINDINGS}
        return {name: max(s, key=_STRENGTH.index) for name, s in said.items() if s}

    @functools.cached_property
    def levels(self) -> dict[str, list[str]]:
        """The findings of discs that are present at each level, upper levels first."""
        found = {
            (level, e.finding)
            for e in self.evidence
            if e.status == "present" and e.finding in LEVEL_FINDINGS
            for level in e.levels
        }
        return {
            level: [name for name in LEVEL_FINDINGS if (level, name) in found]
            for level in sorted({level for level, _ in found})
        }


class Reader:
    """Reads reports by the rule files of a folder.

    Raises:
      FileNotFoundError: a rule file is missing.
      ValueError: a rule is not of the form that its file explains.
    """

    def __init__(self, folder: pathlib.Path = rule_files.FOLDER):
        self._rules = rule_files.load(folder)
        self._splitter = Splitter(folder)
        self._tokens = Tokenizer(self._rules)
        self._places = Places(self._rules.levels)

    def read(self, text: str) -> Reading:
        """The findings of one report of a lumbar study."""
        evidence = []
        for section in self._splitter.sections(text):
            if not section.is_lumbar:
                continue
            context = Context()
            wanted = self._splitter.reads.get(section.kind)
            for sentence in section.sentences:
                for tokens in self._places.statements(self._tokens(sentence)):
                    said, context = self._statement(sentence, tokens, context)
                    evidence += [e for e in said if wanted is None or e.finding in wanted]
        return Reading(tuple(evidence))

    def _statement(
        self, sentence: str, tokens: Sequence[Token], context: Context
    ) -> tuple[list[Evidence], Context]:
        words = [token.word for token in tokens]
        reach = Reach(words, [token.place is not None for token in tokens], self._rules.assertions)
        mentions = find_mentions(words, reach, self._rules)
        places, next_context = self._places.locate(tokens, mentions, context)
        region = self._splitter.region(words)
        said = []
        for mention, place in zip(mentions, places, strict=True):
            if region == "other" and not (place and place.discs):
                continue
            place = place or context.last or Place()
            verdict = self._judge(mention, words, reach, mentions)
            if verdict is None or place.elsewhere:
                continue
            status, cue = verdict
            text = sentence[tokens[0].start : tokens[-1].end]
            rule = f"{mention.rule} [{cue}]" if cue else mention.rule
            said.append(Evidence(mention.finding, status, place.levels, text, rule))
        return said, next_context

    def _judge(
        self, mention: Mention, words: Sequence[str], reach: Reach, mentions: Iterable[Mention]
    ) -> tuple[str, str] | None:
        """(status, the cue that decided), or None for what is not stated of this study."""
        verdict = reach.of(*mention.spans)
        if mention.is_normal:
            return None if verdict else ("absent", "called normal")
        if verdict is None:
            if _is_alternative(mention, words, mentions):
                return "uncertain", "or, without a denial"
            return "present", ""
        if verdict.status == "past":
            keeps = self._rules.assertions.past_keeps
            return ("present", "") if mention.finding in keeps else None
        return verdict.status, verdict.cue


def _is_alternative(mention: Mention, words: Sequence[str], mentions: Iterable[Mention]) -> bool:
    """Whether the finding is stated as one of two: "A or B".

    Reports say so when they deny or doubt; where neither cue is found, a slip has cost it.
    """
    start, end = mention.spans[0]
    heads = [m.spans[0] for m in mentions if m.finding != mention.finding]
    return any(
        (first[1] < second[0] <= first[1] + 2 and "or" in words[first[1] : second[0]])
        for other in heads
        for first, second in ([(start, end), other], [other, (start, end)])
    )
