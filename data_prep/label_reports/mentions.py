"""Which findings the words of a sentence name, before asking whether they are stated or denied."""

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Container, Iterable, Sequence

from data_prep.label_reports.assertion import Reach
from data_prep.label_reports.phrases import GAP, Match, longest
from data_prep.label_reports.rules import Rules, Term

Span = tuple[int, int]

_LIST_WORDS, _FAR_WORDS = 8, 30
_PARTING = frozenset([".", ";", "!"])
_TAKES_OBJECT = frozenset(["of", "on", "upon", "to"])
_ARTICLES = frozenset(["the", "of", "on", "upon", "both", "left", "right", "lt", "rt", "anterior"])


@dataclasses.dataclass(frozen=True)
class Mention:
    """A finding named by one phrase, or by a site and what befalls it.

    `is_normal` marks a site that is called normal: a denial of the finding. `rule` says in the
    words of the rule files what was found.
    """

    finding: str
    spans: tuple[Span, ...]
    rule: str
    is_normal: bool = False

    @property
    def start(self) -> int:
        return min(start for start, _ in self.spans)

    @property
    def end(self) -> int:
        return max(end for _, end in self.spans)


def find_mentions(words: Sequence[str], reach: Reach, rules: Rules) -> list[Mention]:
    """The findings named in a sentence, in the order of its words."""
    found = _without_exceptions(rules.terms.find(words))
    phrases = longest_of_each(m for m in found if m.payload.kind == "phrase")
    mentions = [Mention(m.payload.finding, ((m.start, m.end),), m.phrase) for m in phrases]
    pairs = _Pairs(words, reach, rules, found, mentions)
    mentions += pairs.changed + pairs.normal
    used = {at for mention in mentions for start, end in mention.spans for at in range(start, end)}
    mentions += [
        Mention(match.payload.finding, ((match.start, match.end),), match.phrase)
        for match in found
        if match.payload.kind == "unclaimed" and used.isdisjoint(range(match.start, match.end))
    ]
    return sorted(mentions, key=lambda mention: (mention.start, mention.finding))


def longest_of_each(matches: Iterable[Match[Term]]) -> list[Match[Term]]:
    """The longest matches of every finding by itself."""
    by_finding: dict[str, list[Match]] = {}
    for match in matches:
        by_finding.setdefault(match.payload.finding, []).append(match)
    return [match for group in by_finding.values() for match in longest(group)]


def _without_exceptions(matches: list[Match[Term]]) -> list[Match[Term]]:
    exceptions: dict[str, set[int]] = {}
    for match in matches:
        if match.payload.kind == "except":
            exceptions.setdefault(match.payload.finding, set()).update(
                range(match.start, match.end)
            )
    return [
        match
        for match in matches
        if match.payload.kind != "except"
        and exceptions.get(match.payload.finding, set()).isdisjoint(range(match.start, match.end))
    ]


class _Pairs:
    """Sites with the change, or the word "normal", that belongs to each."""

    def __init__(self, words, reach: Reach, rules: Rules, found, phrases: list[Mention]):
        self._words = words
        cues = [cue for cue in reach.forward.values() if cue.payload.status != "present"]
        change_starts = {match.start for match in found if match.payload.kind == "change"}
        # "abuts but does not compress the root": of two changes one is denied.
        self._denied_changes = {cue.start: cue.end for cue in cues if cue.end in change_starts}
        self._cue_starts = sorted(cue.start for cue in cues)
        self._reach = reach
        self._phrases = {at for p in phrases for start, end in p.spans for at in range(start, end)}
        blocked = {at for m in rules.barriers.find(words) for at in range(m.start, m.end)}
        parts = (at in blocked or self._is_parting(at) for at in range(len(words)))
        # Sums, so that to ask what lies between two words costs the same however far they are.
        self._parts_before = list(itertools.accumulate(parts, initial=0))
        normal = longest(rules.normal.find(words))
        self._normal_words = [match for match in normal if match.payload]

        sites = [m for m in found if m.payload.kind == "site"]
        self._sites = _outermost(sites, sites)
        self._site_starts = {site.start for site in self._sites}
        self._site_ends = {(site.payload.finding, site.end) for site in self._sites}
        self._changes = collections.defaultdict(list)
        for match in found:
            if match.payload.kind == "change":
                self._changes[match.payload.finding, match.payload.pair].append(match)
        self.changed = [m for site in self._sites for m in self._changed(site)]
        claimed = {(m.finding, m.spans[0][0]) for m in self.changed}

        normal_sites = [m for m in found if m.payload.kind == "normal_site"]
        self.normal = [
            mention
            for site in _outermost(normal_sites, normal_sites + sites)
            if (site.payload.finding, site.start) not in claimed
            for mention in self._called_normal(site)
        ]

    def _changed(self, site: Match[Term]) -> list[Mention]:
        """The site with its change, if there is one: the likeliest construction first."""
        owner = (site.payload.finding, site.payload.pair)
        changes = [change for change in self._changes[owner] if not change.overlaps(site)]
        before = [c for c in reversed(changes) if c.end <= site.start and self._governs(c, site)]
        behind = [c for c in changes if c.start >= site.end and self._befalls(c, site)]
        chosen = [c for c in before if self._is_object_of(c, site)] or behind or before
        spans = [(site.start, site.end)]
        if chosen and self._is_denied(chosen[0]):
            others = [c for c in before if self._is_coordinate(c, chosen[0])]
            # What the site is spared does not tell what is done to it.
            chosen, spans = (others, []) if others else (chosen, spans)
        return [
            Mention(
                site.payload.finding,
                (*spans, (change.start, change.end)),
                f"{site.phrase} + {change.phrase}",
            )
            for change in chosen[:1]
        ]

    def _is_denied(self, change: Match) -> bool:
        verdict = self._reach.of((change.start, change.end))
        return verdict is not None and verdict.status == "absent"

    def _is_coordinate(self, change: Match, denied: Match) -> bool:
        """ "abuts" in "abuts but does not compress": no site of its own stands between."""
        between = range(change.end, denied.start)
        return (
            change.end <= denied.start
            and len(between) <= _LIST_WORDS
            and self._site_starts.isdisjoint(between)
            and not self._is_denied(change)
        )

    def _is_object_of(self, change: Match, site: Match) -> bool:
        return all(word in _ARTICLES for word in self._words[change.end : site.start])

    def _governs(self, change: Match, site: Match) -> bool:
        """ "compressing the thecal sac, ... and nerve roots" """
        follows_a_site = (site.payload.finding, change.start) in self._site_ends
        is_noun_of_it = follows_a_site and not self._words[change.start].endswith("ing")
        return (
            site.start - change.end <= _FAR_WORDS
            and self._is_open(change.end, site.start)
            and not self._has_cue(change.end, site.start + 1, self._denied_changes)
            and not is_noun_of_it
        )

    def _befalls(self, change: Match, site: Match) -> bool:
        """ "thecal sac or nerve root compression", "the canal shows no stenosis" """
        between = range(site.end, change.start)
        if len(between) > _LIST_WORDS or not self._is_open(site.end, change.start):
            return False
        if self._word(change.end) in _TAKES_OBJECT:
            return False
        if not self._phrases.isdisjoint(between):
            return False
        cues = [cue for cue in self._cue_starts if site.end <= cue < change.start]
        if cues:
            words_before = self._words[site.end : cues[0]]
            has_site_behind = any(cues[0] <= at < change.start for at in self._site_starts)
            return "," not in words_before and not has_site_behind
        return True

    def _called_normal(self, site: Match[Term]) -> list[Mention]:
        for normal in self._normal_words:
            start, end = min(site.end, normal.end), max(site.start, normal.start)
            is_inside = site.start < normal.start and normal.end < site.end
            if site.overlaps(normal) and not is_inside:
                continue
            if end - start > _LIST_WORDS or not self._is_open(start, end):
                continue
            if self._has_cue(start, end + 1) or not self._phrases.isdisjoint(range(start, end)):
                continue
            spans = ((site.start, site.end), (normal.start, normal.end))
            rule = f"{site.phrase} + {normal.phrase}"
            return [Mention(site.payload.finding, spans, rule, is_normal=True)]
        return []

    def _is_open(self, start: int, end: int) -> bool:
        """Whether nothing between two words parts them."""
        return start >= end or self._parts_before[start] == self._parts_before[end]

    def _has_cue(self, start: int, end: int, besides: Container[int] = ()) -> bool:
        first = bisect.bisect_left(self._cue_starts, start)
        last = bisect.bisect_left(self._cue_starts, end)
        return any(cue not in besides for cue in self._cue_starts[first:last])

    def _is_parting(self, at: int) -> bool:
        if self._words[at] == "but":
            return self._denied_changes.keys().isdisjoint((at + 1, at + 2))
        return self._words[at] in _PARTING

    def _word(self, at: int) -> str:
        return self._words[at] if at < len(self._words) else ""


def _outermost(matches: Iterable[Match], others: Iterable[Match]) -> list[Match]:
    """The matches that no longer one holds: not "canal" in "neural canal"."""
    reach: dict[int, set[Span]] = {}
    # A wording with a gap holds other things: "vertebral body heights and signal".
    for other in (other for other in others if GAP not in other.phrase):
        for at in range(other.start, other.end):
            reach.setdefault(at, set()).add((other.start, other.end))
    return [
        match
        for match in matches
        if not any(
            start <= match.start and match.end <= end and end - start > match.end - match.start
            for start, end in reach.get(match.start, ())
        )
    ]
