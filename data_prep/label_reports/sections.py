"""The parts of a report: clean text, sections by title and region of the body, sentences.

A report without titles is one section of findings. Titles, regions and the rest are data:
``rules/sections.toml``.
"""

import dataclasses
import html
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

from data_prep.label_reports.phrases import PhraseBook, longest
from data_prep.label_reports.rules import FOLDER, read_file

# A longer run without a full stop is cut, so that no step looks at more words at once.
MAX_SENTENCE_WORDS = 150
MAX_HEADING_LETTERS = 80
# Lines of this length that go on in lower case were broken by the width of a page.
WRAPPED_LINE_LENGTH = 60
_TAG = re.compile(
    r"</?(?:p|br|div|span|li|ul|ol|b|i|u|strong|em|font|table|tr|td|h[1-6])\b[^<>]{0,200}>", re.I
)
# Line breaks as spreadsheets write them into their files.
_CELL_BREAK = re.compile("_x000[ABCDabcd]_")
_STOP = re.compile(r"[.;!]+")
_LIST_MARK = re.compile(
    r"^{0}(?:\d{{1,2}}[.)]\s+|\(?[a-z]\)\s+)?{0}".format(r"(?:[\s.,–—*•]|-(?!ve\b))*"), re.I
)
_WORD = re.compile(r"[^\W_]+")
_TABLE_HEAD = re.compile(r"levels?\s*\|", re.I)
_ENUMERATOR = re.compile(r"(?<=\s)(?:[a-h]|\d{1,2})\)\s", re.I)


@dataclasses.dataclass(frozen=True)
class Section:
    """Sentences under one heading. `kind` is a title of sections.toml, or "findings"."""

    kind: str
    is_lumbar: bool
    sentences: tuple[str, ...]


class Splitter:
    """Splits reports by the rules of a folder.

    Raises:
      FileNotFoundError: there is no sections.toml.
      ValueError: it is not of the form that it explains.
    """

    def __init__(self, folder: pathlib.Path = FOLDER):
        table = read_file(folder / "sections.toml")
        try:
            self._titles = {
                tuple(title.split()): kind
                for kind, titles in table["titles"].items()
                for title in titles
            }
            self._regions = PhraseBook(
                (phrase, region)
                for region, phrases in table["regions"].items()
                if region != "heading_words"
                for phrase in phrases
            )
            self._heading_words = frozenset(table["regions"]["heading_words"])
            cleaning = table["cleaning"]
            self._separators = tuple(cleaning["separators"])
            self._abbreviations = frozenset(cleaning["abbreviations"])
            no_escapes = "|".join(map(re.escape, cleaning["no_escapes"]))
            escapes = "|".join(map(re.escape, cleaning["escapes"]))
            self._escape = re.compile(f"(?!{no_escapes})(?:{escapes})")
            self._open_ends = frozenset(cleaning["open_ends"])
            self._continuations = frozenset(cleaning["continuations"])
            self.reads = {kind: frozenset(names) for kind, names in table["reads"].items()}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{folder / 'sections.toml'}: {error}: correct it") from error
        titles = "|".join(re.escape(" ".join(words).upper()) for words in self._titles)
        # Within a line only capitals open a section: "... at L4-5 IMPRESSION: ...".
        self._inner_title = re.compile(rf"(?<=[^A-Z]\s)(?=(?:{titles})\s?:)")

    def sections(self, text: str) -> list[Section]:
        """The sections of a report, in its order; empty ones are left out."""
        sections = []
        kind, is_lumbar, sentences = "findings", True, []

        def close() -> None:
            if sentences:
                sections.append(Section(kind, is_lumbar, tuple(sentences)))
                sentences.clear()

        for sentence in self.sentences(text):
            title, rest = self._title(sentence)
            if kind == "header":
                # "Name: ..." speaks of itself alone: what follows without a title is the report.
                close()
                kind = "findings"
            if title:
                close()
                # An impression sums up all the regions of a report.
                kind, is_lumbar = title, is_lumbar or title == "impression"
                sentence = _without_mark(rest)
            region, rest = self._heading(sentence)
            if region:
                close()
                is_lumbar = region == "lumbar"
                sentence = _without_mark(rest)
            if sentence:
                sentences.append(sentence)
        close()
        return sections

    def sentences(self, text: str) -> list[str]:
        """Sentences and lines of a text, without bullets and numbering."""
        found = []
        for line in self._lines(clean_up(self._escape.sub("\n", text))):
            if _TABLE_HEAD.match(line):
                continue
            for sentence in self._statements(line):
                found += _pieces(_without_mark(sentence))
        return found

    def region(self, words: Sequence[str]) -> str | None:
        """What a sentence says it speaks of, "lumbar" or "other"; None where it is silent."""
        regions = {match.payload for match in longest(self._regions.find(words))}
        if regions & {"lumbar", "vertebrae"}:
            return "lumbar"
        return "other" if regions else None

    def _lines(self, text: str) -> list[str]:
        for separator in self._separators:
            text = text.replace(separator, "\n")
        lines: list[str] = []
        for line in text.split("\n"):
            line = line.strip(" /|")
            if lines and line and self._continues(lines[-1], line):
                lines[-1] += f" {line}"
            elif line:
                lines.append(line)
        return lines

    def _continues(self, line: str, following: str) -> bool:
        if line[-1] in ".:;?" or len(line) > 5000:
            return False
        # Only the edge words matter: a long line must not be read again for each it takes on.
        last, first = _WORD.findall(line[-30:].lower()), _WORD.findall(following[:30].lower())
        if not last or not first:
            return False
        is_wrapped = len(line) >= WRAPPED_LINE_LENGTH and following[0].islower()
        return (
            is_wrapped
            or last[-1] in self._open_ends
            or (first[0] in self._continuations and following[0].islower())
        )

    def _statements(self, line: str) -> Iterator[str]:
        for part in self._parts(line):
            start = 0
            for stop in _STOP.finditer(part):
                if self._ends_sentence(part, stop):
                    yield part[start : stop.end()]
                    start = stop.end()
            yield part[start:]

    def _parts(self, line: str) -> Iterator[str]:
        """A line cut at titles in capitals and before "b)" where no bracket is open."""
        for part in self._inner_title.split(line):
            start = 0
            for mark in _ENUMERATOR.finditer(part):
                before = part[start : mark.start()]
                if before.count("(") <= before.count(")"):
                    yield before
                    start = mark.end()
            yield part[start:]

    def _ends_sentence(self, text: str, stop: re.Match) -> bool:
        if stop[0] != ".":
            return True
        # A window, for to copy all that came before at every stop would be quadratic.
        before = text[max(0, stop.start() - 24) : stop.start()]
        word = (_WORD.findall(before) or [""])[-1].lower()
        following = text[stop.end() : stop.end() + 1]
        if word in self._abbreviations or (len(word) == 1 and word.isalpha()):
            return False
        if not following or following.isspace():
            # "2. Canal": the number of an item, not the end of one.
            mark = before[: len(before) - len(word)].rstrip()[-1:]
            return not (word.isdecimal() and len(word) <= 2 and mark in ("", ".", ":"))
        return following.isalpha() and len(word) > 2

    def _title(self, sentence: str) -> tuple[str | None, str]:
        head, _, rest = sentence.partition(":")
        words = tuple(_WORD.findall(head.lower())) if len(head) <= MAX_HEADING_LETTERS else ()
        if words in self._titles:
            return self._titles[words], rest
        return None, sentence

    def _heading(self, sentence: str) -> tuple[str | None, str]:
        """The region that a sentence of heading words sets, and what follows its colon."""
        head, _, rest = sentence.partition(":")
        words = _WORD.findall(head.lower()) if len(head) <= MAX_HEADING_LETTERS else []
        regions = [m for m in longest(self._regions.find(words)) if m.payload != "vertebrae"]
        covered = {at for match in regions for at in range(match.start, match.end)}
        others = {word for at, word in enumerate(words) if at not in covered}
        if not regions or not others <= self._heading_words:
            return None, sentence
        return self.region(words), rest


def clean_up(text: str) -> str:
    """The text in Unicode NFKC, without mark-up, control characters and surplus white space.

    Words are left as written.
    """
    text = html.unescape(_TAG.sub("\n", _CELL_BREAK.sub("\n", text)))
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"\r\n?|[\u2028\u2029\x85\v\f\x1c-\x1e]", "\n", text)
    text = "".join(
        " " if char.isspace() and char != "\n" else char
        for char in text
        if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    return re.sub(r" {2,}", " ", text).strip()


def _without_mark(sentence: str) -> str:
    """The sentence without its bullet or number."""
    return _LIST_MARK.sub("", sentence, count=1).strip()


def _pieces(sentence: str) -> list[str]:
    words = sentence.split(" ")
    return [
        piece
        for start in range(0, len(words), MAX_SENTENCE_WORDS)
        if (piece := " ".join(words[start : start + MAX_SENTENCE_WORDS]))
    ]
