"""One plain spelling for what writers spell in many ways, and which scripts part their words.

A name stands in a header and in a report with and without accents, in wide or narrow forms, with
or without vowel signs. Both are compared as `fold` spells them.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

# Scripts that write no blanks between words: Thai, Lao, Myanmar, Khmer, kana, Han, Hangul.
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30fa\u30fc-\u30ff\u3400-\u9fff\uac00-\ud7a3"
    r"\uf900-\ufaff\U00020000-\U0003ffff"
)
# Where a word of other scripts starts and ends in a text that has gone through `part_scripts`.
# Vowel signs of India are no letters to `re`, and part of the word all the same.
WORD_STARTS, WORD_ENDS = r"(?<!\w)(?<![\u0900-\u0dff])", r"(?!\w)(?![\u0900-\u0dff])"
HAN, HANGUL, KANA = r"\u3005\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff", "가-힣", "ァ-ヺー"

# What no decomposition takes apart; hiragana become katakana.
_PLAIN = str.maketrans(
    {
        **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "ö", "Ø": "Ö"},
        **{"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH"},
        **{
            "ħ": "h",
            "Ħ": "H",
            "ı": "i",
            "ə": "a",
            "Ə": "A",
            "ς": "σ",
            "’": "'",
            "ʼ": "'",
            "‘": "'",
        },
        **{"ٱ": "ا", "ة": "ه", "ی": "ي", "ک": "ك", "ہ": "ه", "ھ": "ه", "ـ": ""},
        **{"\u2010": "-", "\u2011": "-", "\u2013": "-"},
        **{chr(code): chr(code + 0x60) for code in range(0x3041, 0x3097)},
    }
)
# The marks that make another letter: a ring counts as two points; the voice marks of kana.
_MARKS = {"\u0308": "\u0308", "\u030a": "\u0308", "\u3099": "\u3099", "\u309a": "\u309a"}


def fold(text: str) -> tuple[str, Sequence[int]]:
    """The text in plain letters of the same case; of accents only ä, ö and ü stay (å is ä, ø is ö).

    Returns:
      (the plain text, the place in `text` that each of its characters comes from and, last, the
      length of `text`).
    """
    if text.isascii():
        return text, range(len(text) + 1)
    plain: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for piece in _pieces(char):
            if piece in _MARKS:
                joined = unicodedata.normalize("NFC", "".join(plain[-1:]) + _MARKS[piece])
                if len(joined) == 1 and (joined in "äöüÄÖÜ" or joined > "\u3000"):
                    plain[-1] = joined
            else:
                plain.append(piece)
                places.append(place)
    return "".join(plain), [*places, len(text)]


def count(word: str) -> int:
    """The number of letters in a word, and of signs that are part of them."""
    return sum(unicodedata.category(char)[0] in "LM" for char in word)


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script that writes without blanks."""
    return bool(re.match(f"[{UNSPACED}]", word))


def part_scripts(text: str) -> str:
    """The text with a line break for each letter of a script that writes without blanks.

    To compile this set of letters anew into the pattern of each patient would take longer.
    """
    return re.sub(f"[{UNSPACED}]", "\n", text)


def even(text: str) -> str:
    """The text with every digit and wide sign as ASCII has it, in the same places."""
    if text.isascii():
        return text
    return re.sub(r"(\d)|[！-～]", lambda found: _ascii(found[0], found[1]), text)


def _ascii(char: str, digit: str | None) -> str:
    return str(int(digit)) if digit else chr(ord(char) - 0xFEE0)


@functools.cache
def _pieces(char: str) -> str:
    if "가" <= char <= "힣":
        return char
    # Twice, since what a table makes (ö of ø) has a mark of its own.
    plain = unicodedata.normalize("NFKD", char).translate(_PLAIN)
    return "".join(
        piece
        for piece in unicodedata.normalize("NFKD", plain)
        if piece in _MARKS
        or not (unicodedata.combining(piece) or unicodedata.category(piece) == "Cf")
    )
