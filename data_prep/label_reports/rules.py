"""The rule files, read and checked."""

import contextlib
import dataclasses
import pathlib
import tomllib
from collections.abc import Iterator, Mapping

from data_prep.label_reports.phrases import PhraseBook, parse
from data_prep.label_reports.spelling import Speller
from data_prep.records.findings import FINDINGS

MIN_STEM_LETTERS = 4
# The tables of cues in assertions.toml, and the lists of each.
STATUSES = ("absent", "uncertain", "neutral", "past", "aside", "present")
SIDES = ("before", "after", "next", "either", "around", "answers")
FOLDER = pathlib.Path(__file__).with_name("rules")


@dataclasses.dataclass(frozen=True)
class Term:
    """What a phrase of concepts.toml does: its part in a finding.

    `kind` is "phrase", "except", "site", "change", "normal_site" or "unclaimed"; `pair` tells the
    site-and-change tables of one finding apart.
    """

    finding: str
    kind: str
    pair: int = 0


@dataclasses.dataclass(frozen=True)
class Cue:
    """A phrase of assertions.toml: its table is `status`, its list `side`."""

    status: str
    side: str


@dataclasses.dataclass(frozen=True)
class Assertions:
    """How statements are denied and hedged, and where a cue's reach ends."""

    cues: PhraseBook[Cue]
    breaks: PhraseBook[str]
    openers: PhraseBook[str]
    verbs: frozenset[str]
    closers: frozenset[str]
    certain: frozenset[str]
    continues: frozenset[str]
    relatives: frozenset[str]
    past_keeps: frozenset[str]
    prefixes: frozenset[str]
    signs: Mapping[str, Mapping[str, str]]


@dataclasses.dataclass(frozen=True)
class LevelRules:
    """The words around level names; `phrases` holds the names in words."""

    pair_words: frozenset[str]
    between: frozenset[str]
    range_words: frozenset[str]
    list_words: frozenset[str]
    prepositions: frozenset[str]
    relative_words: frozenset[str]
    level_words: PhraseBook[str]
    emphasis: PhraseBook[str]
    phrases: PhraseBook[tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class ItemRules:
    """What an item of a list is made of that names a level and no finding, and its exceptions."""

    fillers: frozenset[str]
    sides: frozenset[str]
    degrees: PhraseBook[str]
    denials: frozenset[str]
    contrasts: PhraseBook[str]
    exceptions: PhraseBook[str]
    after_all: frozenset[str]
    all_words: frozenset[str]
    behind: frozenset[str]
    followers: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Rules:
    """All rules but those of sections."""

    terms: PhraseBook[Term]
    normal: PhraseBook[bool]
    barriers: PhraseBook[str]
    assertions: Assertions
    levels: LevelRules
    items: ItemRules
    speller: Speller


def load(folder: pathlib.Path = FOLDER) -> Rules:
    """Reads the rule files of a folder.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: a file is not TOML, or a rule is not of the form that its file explains.
    """
    concepts, assertions, levels, spelling, sections = (
        read_file(folder / f"{name}.toml")
        for name in ("concepts", "assertions", "levels", "spelling", "sections")
    )
    with _named(folder / "concepts.toml"):
        terms = _terms(concepts)
    with _named(folder / "assertions.toml"):
        cues = _cues(assertions)
        normal = assertions["normal"]
    with _named(folder / "levels.toml"):
        level_rules = _level_rules(levels)
        item_rules = _item_rules(levels)
    with _named(folder / "spelling.toml"):
        others = [{**assertions, "signs": {}}, levels, sections["regions"]]
        speller = _speller(spelling, concepts, others)
    return Rules(
        terms=PhraseBook(terms),
        normal=PhraseBook(
            [(phrase, True) for phrase in normal["words"]]
            + [(phrase, False) for phrase in normal["except"]]
        ),
        barriers=_book(normal["barriers"]),
        assertions=cues,
        levels=level_rules,
        items=item_rules,
        speller=speller,
    )


def read_file(path: pathlib.Path) -> dict:
    """One rule file as a table.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not TOML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no rule file {path}: correct --rules")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file ({error}): correct it") from error


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    """Turns whatever is wrong with the rules of a file into a sentence that names the file."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path} has no entry {error}: add it") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}: correct it") from error


def _terms(concepts: Mapping[str, Mapping]) -> list[tuple[str, Term]]:
    terms = []
    for finding, rules in concepts.items():
        if finding not in FINDINGS:
            raise ValueError(f"unknown finding {finding!r}")
        for key, kind in (("phrases", "phrase"), ("except", "except"), ("unclaimed", "unclaimed")):
            terms += [(phrase, Term(finding, kind)) for phrase in rules.get(key, ())]
        for number, pair in enumerate(rules.get("pairs", ())):
            for key, kind in (
                ("sites", "site"),
                ("changes", "change"),
                ("normal_sites", "normal_site"),
            ):
                terms += [(phrase, Term(finding, kind, number)) for phrase in pair.get(key, ())]
    return terms


def _cues(table: Mapping) -> Assertions:
    cues = [
        (phrase, Cue(status, side))
        for status in STATUSES
        for side in SIDES
        for phrase in table[status].get(side, ())
    ]
    reach = table["reach"]
    return Assertions(
        cues=PhraseBook(cues),
        breaks=_book(reach["breaks"]),
        openers=_book(reach["openers"]),
        verbs=frozenset(reach["verbs"]),
        closers=frozenset(reach["closers"]),
        certain=frozenset(reach["certain"]),
        continues=frozenset(reach["continues"]),
        relatives=frozenset(reach["relatives"]),
        past_keeps=frozenset(table["past"]["keeps"]),
        prefixes=frozenset(phrase for phrase, cue in cues if cue.side == "next"),
        signs={
            where: {sign: word for word, signs in table["signs"][where].items() for sign in signs}
            for where in ("anywhere", "opening", "closing")
        },
    )


def _level_rules(table: Mapping) -> LevelRules:
    named = [
        (phrase, tuple(names.split()))
        for names, list_ in table["named"].items()
        for phrase in list_
    ]
    unnamed = [(phrase, ()) for phrase in table["unnamed"]["phrases"]]
    words = ("pair_words", "between", "range_words", "list_words", "prepositions", "relative_words")
    return LevelRules(
        **{name: frozenset(table[name]) for name in words},
        level_words=_book(table["level_words"]),
        emphasis=_book(table["emphasis"]),
        phrases=PhraseBook(named + unnamed),
    )


def _item_rules(table: Mapping) -> ItemRules:
    items, exceptions = table["items"], table["exceptions"]
    words = ("after_all", "all_words", "behind", "followers")
    return ItemRules(
        **{name: frozenset(items[name]) for name in ("fillers", "sides", "denials")},
        **{name: frozenset(exceptions[name]) for name in words},
        degrees=_book(items["degrees"]),
        contrasts=_book(items["contrasts"]),
        exceptions=_book(exceptions["before"]),
    )


def _speller(spelling: Mapping, concepts: Mapping, other_rules: list[Mapping]) -> Speller:
    """Slips are undone to words that name findings; words of the other rules are left alone."""
    words = _vocabulary(concepts) | set(spelling["words"])
    keep = set(spelling["keep"]).union(*map(_vocabulary, other_rules)) - words
    return Speller(words, keep, spelling["aliases"], stems=_stems(concepts))


def _book(phrases: list[str]) -> PhraseBook[str]:
    return PhraseBook((phrase, phrase) for phrase in phrases)


def _atoms(value: str | list | Mapping) -> set[str]:
    if isinstance(value, str):
        return set().union(*parse(value))
    items = value.values() if isinstance(value, Mapping) else value
    return set().union(*map(_atoms, items))


def _vocabulary(rules: Mapping) -> set[str]:
    """The whole words of every phrase in a table."""
    return {atom for atom in _atoms(rules) if not atom.endswith("*")}


def _stems(rules: Mapping) -> set[str]:
    """The starts of words, without the star, that are long enough to tell a word."""
    stems = {atom[:-1] for atom in _atoms(rules) if atom.endswith("*")}
    return {stem for stem in stems if len(stem) >= MIN_STEM_LETTERS}
