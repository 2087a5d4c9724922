"""Reads one statement after the other: the findings of each, with status, level and reason."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from data_prep.label_reports.assertion import Reach
from data_prep.label_reports.items import EXCEPTION, Item, Items
from data_prep.label_reports.levels import Place
from data_prep.label_reports.mentions import Mention, find_mentions
from data_prep.label_reports.places import Context, Places
from data_prep.label_reports.rules import Rules
from data_prep.label_reports.tokens import Token

_COORDINATING = frozenset([",", "/", "&", "+", "and", "or", "nor", "and/or"])


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One statement of a report on a finding: what, where, in which words, by which rule.

    `spans` are the characters of `text` that name the finding, (start, end) each; empty where a
    statement before this one does ("Canal stenosis: ... none at L4-5").
    """

    finding: str
    status: str
    levels: tuple[str, ...]
    text: str
    rule: str
    spans: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Memory:
    """What statements leave to those that follow: levels, and the findings spoken of last.

    `title` is what "Canal stenosis:" would state if no item followed, `in_list` that one has.
    """

    context: Context = dataclasses.field(default_factory=Context)
    topic: tuple[Mention, ...] = ()
    title: tuple[Evidence, ...] = ()
    in_list: bool = False


@dataclasses.dataclass(frozen=True)
class _Claim:
    """A mention with what is said of it, and where; `spans` are its characters in the sentence."""

    mention: Mention
    status: str
    cue: str
    place: Place
    spans: tuple[tuple[int, int], ...] = ()


class Statements:
    """Reads statements by the rules.

    Args:
      rules: all rules but those of sections.
      region: tells which part of the body words speak of.
    """

    def __init__(self, rules: Rules, region: Callable[[Sequence[str]], str | None]):
        self._rules, self._region = rules, region
        self._places = Places(rules.levels)
        self._items = Items(rules.items, rules.assertions)
        self.of = self._places.statements

    def read(
        self, sentence: str, tokens: Sequence[Token], memory: Memory
    ) -> tuple[list[Evidence], Memory]:
        """The evidence in a statement of a sentence, and what is left to the next."""

        def evidence(claims: Iterable[_Claim]) -> list[Evidence]:
            start = tokens[0].start
            text = sentence[start : tokens[-1].end]
            return [_evidence(claim, text, start) for claim in claims]

        in_list = memory.in_list or bool(memory.title)
        whole = self._items.whole(tokens, in_list) if memory.topic else None
        if whole:
            said = [_Claim(m, whole.status, "", whole.place) for m in memory.topic]
            return evidence(said), dataclasses.replace(memory, title=(), in_list=in_list)
        parts = self._items.split(tokens)
        claims, context = self._claims(parts.tokens, memory.context)
        asides = [c for aside in parts.asides for c in self._claims(aside, Context())[0]]
        is_title = (
            bool(claims)
            and _last_word(parts.tokens) == ":"
            and all(claim.status == "present" and not claim.cue for claim in claims)
        )
        topic = tuple(claim.mention for claim in _last_group(claims, len(tokens), parts.tokens))
        said = [] if is_title and parts.items else claims
        for item in parts.items:
            said = _with_item(said, claims, item, parts.tokens, bool(asides))
        said = evidence([*said, *asides])
        if is_title and not parts.items:
            return [*memory.title], Memory(context, topic, tuple(said))
        return [*memory.title, *said], Memory(context, topic)

    def _claims(self, tokens: Sequence[Token], context: Context) -> tuple[list[_Claim], Context]:
        words = [token.word for token in tokens]
        reach = Reach(words, [token.place is not None for token in tokens], self._rules.assertions)
        mentions = find_mentions(words, reach, self._rules)
        places, next_context = self._places.locate(tokens, mentions, context)
        region = self._region(words)
        claims = []
        for mention, place in zip(mentions, places, strict=True):
            if region == "other" and not (place and place.discs):
                continue
            place = place or context.last or Place()
            verdict = self._judge(mention, words, reach, mentions)
            if verdict and not place.elsewhere:
                spans = tuple((tokens[a].start, tokens[b - 1].end) for a, b in mention.spans)
                claims.append(_Claim(mention, *verdict, place, spans))
        return claims, next_context

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
        if verdict.status == "aside":
            return None
        if verdict.status == "past":
            keeps = self._rules.assertions.past_keeps
            return ("present", "") if mention.finding in keeps else None
        return verdict.status, verdict.cue


def _with_item(
    said: list[_Claim], claims: list[_Claim], item: Item, tokens: Sequence[Token], has_aside: bool
) -> list[_Claim]:
    """The claims together with what an item says of those that it continues."""
    group = _last_group(claims, item.at, tokens)
    if item.status != EXCEPTION:
        return said + [dataclasses.replace(c, status=item.status, place=item.place) for c in group]
    # "Except at L4-5, no bulge": what is excepted from may come behind.
    group = group or _first_group(claims, tokens)
    restricted = [
        dataclasses.replace(claim, place=claim.place - item.place) if claim in group else claim
        for claim in said
    ]
    if has_aside:
        return restricted
    return restricted + [
        dataclasses.replace(claim, status="present", place=item.place)
        for claim in group
        if claim.status == "absent"
    ]


def _last_group(claims: list[_Claim], at: int, tokens: Sequence[Token]) -> list[_Claim]:
    """The last claim before a word, with those that it is coordinated with: "bulge or tear"."""
    group: list[_Claim] = []
    for claim in reversed([claim for claim in claims if claim.mention.start < at]):
        if group and not _are_coordinated(claim, group[-1], tokens):
            break
        group.append(claim)
    return group[::-1]


def _first_group(claims: list[_Claim], tokens: Sequence[Token]) -> list[_Claim]:
    group: list[_Claim] = []
    for claim in claims:
        if group and not _are_coordinated(group[-1], claim, tokens):
            break
        group.append(claim)
    return group


def _are_coordinated(first: _Claim, second: _Claim, tokens: Sequence[Token]) -> bool:
    between = tokens[first.mention.end : second.mention.start]
    return all(token.word in _COORDINATING for token in between)


def _last_word(tokens: Sequence[Token]) -> str:
    return next((t.word for t in reversed(tokens) if t.word not in ".;"), "")


def _evidence(claim: _Claim, text: str, start: int) -> Evidence:
    """The claim as evidence; `text` begins at the character `start` of its sentence."""
    rule = f"{claim.mention.rule} [{claim.cue}]" if claim.cue else claim.mention.rule
    spans = tuple((first - start, last - start) for first, last in claim.spans)
    return Evidence(claim.mention.finding, claim.status, claim.place.levels, text, rule, spans)


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
