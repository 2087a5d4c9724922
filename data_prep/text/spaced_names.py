"""Names in scripts that part words, and ids.

A word of three letters goes anywhere; one of two letters only as names are written ("Ng", where
"an" is no name); a word that reports use as well (a patient called Small) only beside another part
of the name or behind a title.
"""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from data_prep.text import letters
from data_prep.text.letters import WORD_ENDS, WORD_STARTS, is_unspaced
from data_prep.text.name_words import Words, any_of, written

MIN_ID = 4
# A shorter word with an ending, or with a vowel written as two letters, would meet other words.
MIN_SPELLED = 4
MAX_PIECES = 6
GAP = " ,،^-"
TOKEN = re.compile(rf"[^{GAP}]+")
MAX_TITLE, MAX_SYLLABLES = 20, 40
SYLLABLES_AFTER = re.compile(r"[ ,-]{1,2}([^\W\d_]+[ -][^\W\d_]+)([ -][^\W\d_]+)?")
SYLLABLES_BEFORE = re.compile(r"([^\W\d_]+[ -])?([^\W\d_]+[ -][^\W\d_]+)[ ,-]{1,2}$")
NOTHING = "(?!)"
# Beginnings of names that are written with and without a joint: McDonald, O'Brien, Al-Rashid.
PREFIX = re.compile(r"(mac|mc|abdul|abd|abu|van|von|de|di|la|le|al|el|st|o|d)([a-zäöü]{3,})")
# Of each script with cases: its letters, and the ending in a header that others stand in place of.
CASES = {
    "latin": (r"[a-zäöü]", r"(?<=\w{3})a$"),
    "cyrillic": (r"[\u0400-\u052f]", r"(?<=\w{5})(?:[иыо]и|ая|яя)$|(?<=\w{3})[аяоеиьыую]$"),
    "greek": (r"[\u0370-\u03ff]", r"(?<=\w{3})(?:οσ|ησ|ασ|ουσ|ου|η|α|ο|ω)$"),
}
# And, so, with, for and the article are written onto the word.
ARABIC, ARABIC_PREFIX = r"[\u0620-\u06ff]", "(?:[وفبل]{0,2}(?:ال)?|و?لل)"
HEBREW, HEBREW_PREFIX = r"[\u0590-\u05ff]", "[והבלמשכ]{0,2}"


@dataclasses.dataclass(frozen=True, eq=False)
class Names:
    """The words of names in lower case, by how much they tell, and a pattern of runs of them.

    `own` are the short words that mean nothing else.
    """

    run: re.Pattern
    telling: Collection[str]
    weak: Collection[str]
    short: frozenset[str]
    own: frozenset[str]
    initials: Collection[str]


def spans(text: str, groups: Iterable[str], words: Words) -> Iterator[tuple[int, int]]:
    """Where the names and ids stand in a text.

    Args:
      text: in plain letters.
      groups: names and ids in plain letters, `FAMILY^GIVEN` or plain.
    """
    names = _names(groups, words)
    text = letters.part_scripts(text)
    for run in names.run.finditer(text):
        tokens = list(TOKEN.finditer(text, *run.span()))
        # "Smith, J" and "Smith J." end in an initial; "Smith M 45 years" does not.
        while tokens and tokens[-1][0] in names.initials and not _is_last_initial(tokens[-1]):
            tokens.pop()
        yield from _judged(tokens, names, words)


def _is_last_initial(token: re.Match) -> bool:
    before, after = token.string[: token.start()], token.string[token.end() :]
    return bool(re.search(r",[ ]?$", before[-2:])) and not re.match(r"[ ]?\d", after[:2])


def _judged(tokens: Sequence[re.Match], names: Names, words: Words) -> Iterator[tuple[int, int]]:
    """What of a run of known words is a name here."""
    said = [token for token in tokens if token[0].rstrip(".") not in names.initials]
    if not said:
        return
    text, start, stop = said[0].string, tokens[0].start(), tokens[-1].end()
    told = {*names.weak, *names.short}
    # An ending may make another word of a name: "кости" (bones) of Костя.
    if any(token[0].lower() not in told and not words.ordinary(token[0]) for token in said):
        yield _with_parted(text, start, stop, names.telling)
    elif words.title.search(text[max(0, start - MAX_TITLE) : start]) or _is_pair(said, names):
        yield start, stop
    else:
        for token in said:
            if token[0].lower() in names.own and _is_capital(token[0], words):
                yield _with_parted(text, *token.span(), names.telling)


def _is_pair(said: Sequence[re.Match], names: Names) -> bool:
    """Whether words that tell little are a name together: "Wu Li", "An Small", "wu li"."""
    lower = [token[0].lower() for token in said]
    are_written = all(token[0] in written(word) for token, word in zip(said, lower, strict=True))
    is_own = all(word in names.own for word in lower)
    return len(said) > 1 and bool(names.short.intersection(lower)) and (are_written or is_own)


def _is_capital(word: str, words: Words) -> bool:
    """Whether two letters are written as a name, and stand for nothing else in capitals."""
    return word != word.lower() and word not in words.abbreviations


def _with_parted(text: str, start: int, stop: int, telling: Collection[str]) -> tuple[int, int]:
    """A name with the one beside it that is written in syllables: "Kim Chul Soo" of Kim^Chulsoo."""
    after = SYLLABLES_AFTER.match(text, stop)
    ends = [after.end(group) for group in (2, 1) if after[group]] if after else []
    before = SYLLABLES_BEFORE.search(text, max(0, start - MAX_SYLLABLES), start)
    starts = [before.start(group) for group in (1, 2) if before[group]] if before else []
    for first, last, new in (
        *((after.start(1), end, (start, end)) for end in ends if after),
        *((begin, before.end(2), (begin, stop)) for begin in starts if before),
    ):
        if re.sub("[ -]", "", text[first:last]).lower() in telling:
            return new
    return start, stop


def _names(groups: Iterable[str], words: Words) -> Names:
    spellings: set[tuple[str, ...]] = set()
    ids, short, initials = set(), set(), set()
    for group in groups:
        is_name = not re.search(r"\d", group)
        for position, part in enumerate(group.split("^")):
            tokens = [t for t in re.split(r"[\s,;\\]+", part) if t and not is_unspaced(t)]
            of_tokens = [_pieces(token) for token in tokens]
            pieces = tuple(piece for token in of_tokens for piece in token)
            spellings |= {*((piece,) for piece in pieces), *of_tokens, pieces[:MAX_PIECES]}
            ids |= {t.lower() for t in tokens if letters.count(t) < 3 and len(t) >= MIN_ID}
            # The fourth and fifth part are titles.
            if is_name and position < 3:
                short |= {piece for piece in pieces if letters.count(piece) == len(piece) == 2}
                initials |= {piece[0].upper() for piece in pieces if piece[0].isalpha()}
    telling = {pieces for pieces in spellings if words.telling("".join(pieces))}
    weak = {pieces[0] for pieces in spellings - telling if len(pieces) == 1}
    weak = {word for word in weak if letters.count(word) >= 3}
    own = {word for word in short if not words.ordinary(word)}
    in_any_case = [*map(re.escape, sorted(ids)), *_spelled(telling, words)]
    in_any_case += map(_letters, sorted({*weak, *own}))
    # "An" and "AN" are names where "an" is none.
    capital = sorted(form for word in short for form in written(word))
    unit = f"(?:{any_of([f'(?i:{any_of(in_any_case or [NOTHING])})', *capital])}{WORD_ENDS}"
    unit += rf"|[{''.join(sorted(initials))}](?:\.|{WORD_ENDS}))" if initials else ")"
    run = re.compile(f"{WORD_STARTS}(?:{unit}[{GAP}]{{0,3}})+")
    alone = {pieces[0] for pieces in telling if len(pieces) == 1}
    return Names(run, alone, weak, frozenset(short), frozenset(own), initials)


def _pieces(token: str) -> tuple[str, ...]:
    """The words in a word: those of "McDonald", "O'Brien" and "Al-Rashid"."""
    parted = re.split(r"[-'._/]+|(?<=[a-zäöü])(?=[A-ZÄÖÜ])", token)
    return tuple(piece.lower() for piece in parted if piece)


def _spelled(telling: Collection[tuple[str, ...]], words: Words) -> Iterator[str]:
    """Patterns of names: with and without the joints between their pieces, and in all cases."""
    stems: dict[str, list[str]] = {script: [] for script in CASES}
    for pieces in sorted(telling, key=lambda pieces: (-len("".join(pieces)), pieces)):
        prefix = PREFIX.fullmatch(pieces[0]) if len(pieces) == 1 else None
        if prefix and words.telling(prefix[2]):
            pieces = prefix.groups()
        joint = "[-'. ]?" if any(map(words.telling, pieces)) else "[-'.]?"
        *first, last = pieces
        yield joint.join([*map(_letters, first), _with_prefix(last)])
        for script, (letter, nominative) in CASES.items():
            if len(last) >= MIN_SPELLED and re.fullmatch(f"{letter}+", last):
                stem = _letters(re.sub(nominative, "", last, count=1))
                stems[script].append(joint.join([*map(_letters, first), stem]))
    for script, of_script in stems.items():
        if of_script:
            # Latin letters serve many languages: there only a capital tells a name.
            capital = "(?-i:(?=[A-ZÄÖÜ]))" if script == "latin" else ""
            yield f"{capital}{any_of(of_script)}{words.endings[script]}"


def _with_prefix(word: str) -> str:
    """A word and what Arabic and Hebrew write onto it."""
    if letters.count(word) < 3:
        return _letters(word)
    if re.match(ARABIC, word):
        stem = re.sub(r"^ال(?=\w{3})", "", word)
        return ARABIC_PREFIX + re.sub("[يى]$", "[يى]", stem)
    return (HEBREW_PREFIX if re.match(HEBREW, word) else "") + _letters(word)


def _letters(word: str) -> str:
    """The letters of a word; ä stands for ae and å for aa, and a header may lack the points."""

    def spelled(match: re.Match) -> str:
        vowel, second, other = match.groups()
        if other:
            return re.escape(other)
        plain = {"ä": "a", "ö": "o", "ü": "u"}.get(vowel, vowel)
        pointed = {"a": "ä", "o": "ö", "u": "ü"}[plain]
        if second and len(word) <= MIN_SPELLED:
            return f"(?:{pointed}|{plain}{second})"
        if vowel == plain and len(word) < MIN_SPELLED:
            return f"[{plain}{pointed}]"
        return f"(?:{pointed}|{plain}{'[ae]' if plain == 'a' else 'e'}?)"

    return re.sub(r"([aouäöü])((?<=[aou])e|(?<=a)a)?|(.)", spelled, word)
