"""Reads a report: the findings it states, denies or doubts, and the discs they are at."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

from data_prep.label_reports import rules as rule_files
from data_prep.label_reports.languages import Languages
from data_prep.label_reports.sections import Section, Splitter
from data_prep.label_reports.statements import Evidence, Memory, Statements
from data_prep.label_reports.tokens import Tokenizer
from data_prep.records.findings import FINDINGS, LOCATED_FINDINGS, STRENGTH
from data_prep.records.labels import Findings


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a report says, by its statements in the order of the text.

    `read` and `unread` count its sentences: those in English, and those in another language.
    """

    evidence: tuple[Evidence, ...]
    read: int = 0
    unread: int = 0

    @property
    def is_english(self) -> bool:
        """Whether the report could be read; of one with parts in English those count."""
        return bool(self.evidence) or self.read >= self.unread

    @functools.cached_property
    def findings(self) -> dict[str, str]:
        """Status by finding, of those the report speaks of, in the order of FINDINGS."""
        said = {name: [e.status for e in self.evidence if e.finding == name] for name in FINDINGS}
        return {name: max(s, key=STRENGTH.index) for name, s in said.items() if s}

    @functools.cached_property
    def levels(self) -> dict[str, list[str]]:
        """The findings of discs and their joints present at each level, upper levels first."""
        found = {
            (level, e.finding)
            for e in self.evidence
            if e.status == "present" and e.finding in LOCATED_FINDINGS
            for level in e.levels
        }
        return {
            level: [name for name in LOCATED_FINDINGS if (level, name) in found]
            for level in sorted({level for level, _ in found})
        }


class Reader:
    """Reads reports by the rule files of a folder.

    Raises:
      FileNotFoundError: a rule file is missing.
      ValueError: a rule is not of the form that its file explains.
    """

    def __init__(self, folder: pathlib.Path = rule_files.FOLDER):
        rules = rule_files.load(folder)
        self._splitter = Splitter(folder)
        self._languages = Languages(folder, rules.speller.knows)
        self._tokens = Tokenizer(rules)
        self._statements = Statements(rules, self._splitter.region)

    def read(self, text: str) -> Reading:
        """The findings of one report of a lumbar study, from its sentences in English."""
        sections = [s for s in self._splitter.sections(text) if s.is_lumbar and self._wants(s)]
        sentences = [sentence for section in sections for sentence in section.sentences]
        is_english = self._languages.english(sentences)
        evidence, at = [], 0
        for section in sections:
            end = at + len(section.sentences)
            pairs = zip(section.sentences, is_english[at:end], strict=True)
            evidence += self._section(section.kind, [sentence for sentence, said in pairs if said])
            at = end
        return Reading(tuple(evidence), sum(is_english), len(is_english) - sum(is_english))

    def _wants(self, section: Section) -> bool:
        return bool(self._splitter.reads.get(section.kind, FINDINGS))

    def _section(self, kind: str, sentences: Sequence[str]) -> list[Evidence]:
        evidence, memory = [], Memory()
        for sentence in sentences:
            for tokens in self._statements.of(self._tokens(sentence)):
                said, memory = self._statements.read(sentence, tokens, memory)
                evidence += said
        wanted = self._splitter.reads.get(kind, FINDINGS)
        return [e for e in (*evidence, *memory.title) if e.finding in wanted]


def findings_of_reports(reports: Mapping[str, str]) -> dict[str, Findings]:
    """What our rules read in each report; one that is not in English has no entry."""
    reader = Reader()
    readings = {patient: reader.read(text) for patient, text in reports.items()}
    return {
        patient: Findings.of_report(said.findings, said.levels)
        for patient, said in readings.items()
        if said.is_english
    }
