"""Takes identities out of free text and says how many it took.

Two rules of different strength. What the study's own headers know of a person is removed from the
report of that patient wherever it stands. Beyond that, `scrub_rules.toml` describes how names,
dates, numbers and places look in typical contexts; a name in no context and in no header stays.
"""

import collections
import contextlib
import functools
import pathlib
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Mapping

import pydicom
from pydicom.multival import MultiValue

from data_prep.text import letters, names

RULES_FILE = pathlib.Path(__file__).with_name("scrub_rules.toml")
KNOWN = "known"
# Fields of a DICOM header that say who was examined, by whom and under which numbers.
IDENTITY_FIELDS = (
    "AccessionNumber",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientID",
    "PatientMotherBirthName",
    "PatientName",
    "PatientTelephoneNumbers",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "ReferringPhysicianName",
    "RequestingPhysician",
    "ResponsiblePerson",
)
KOREAN_ESCAPE = b"\x1b$)C"
# What a header may mean that names no character set, or a wrong one.
ENCODINGS = (
    *("iso2022_jp", "gb18030", "euc_kr", "shift_jis", "big5", "iso8859_5", "iso8859_6"),
    *(f"cp125{number}" for number in range(7)),
)


def scrub(text: str, known: Collection[str] = ()) -> tuple[str, dict[str, int]]:
    """Replaces identities by placeholders such as ``[date]``.

    Args:
      text: of one report.
      known: what the headers of the same patient say: names (`FAMILY^GIVEN` or plain), ids. They
        are removed in any case and spelling, as `names` describes; an id of at least 4 characters
        as a whole.

    Returns:
      (the text in Unicode NFC, how many were replaced by category).
    """
    text = unicodedata.normalize("NFC", text)
    counts: collections.Counter[str] = collections.Counter()
    plain, places = letters.fold(text)
    found = names.spans(plain, known, _common_word())
    text, counts[KNOWN] = _replaced(text, [(places[i], places[j], "[name]") for i, j in found])
    even = letters.even(text)
    for category, rule in rules():
        matches = list(rule.finditer(even))
        text, number = _replaced(text, [_change(text, category, match) for match in matches])
        counts[category] += number
        even = letters.even(text) if number else even
    return text, dict(sorted((+counts).items()))


def identities(dataset: pydicom.Dataset) -> frozenset[str]:
    """The names and numbers in a header, for `scrub` alone: never store, print or log them."""
    found = set()
    for field in IDENTITY_FIELDS:
        # The bytes are there until the value is asked for.
        raw = dataset.get_item(field).value if field in dataset else None
        value = dataset.get(field)
        said = {str(v) for v in (value if isinstance(value, MultiValue) else [value]) if v}
        found |= said | (_other_readings(raw, said) if isinstance(raw, bytes) else set())
    return frozenset(found)


@functools.cache
def rules() -> tuple[tuple[str, re.Pattern], ...]:
    """(category, pattern) of every rule, in order."""
    data = read_rules()
    capitals = (chr(code) for code in range(0x2000) if unicodedata.category(chr(code)) == "Lu")
    parts = {"upper": "".join(capitals)}

    def filled(pattern: str) -> str:
        return re.sub(r"\{([a-z_]+)\}", lambda match: parts[match[1]], pattern)

    for name, part in data["parts"].items():
        parts[name] = filled(part)
    return tuple(
        (rule["category"], re.compile(filled(rule["pattern"]), re.VERBOSE | re.MULTILINE))
        for rule in data["rules"]
    )


def read_rules() -> Mapping:
    """The rules as they stand in the file."""
    return tomllib.loads(RULES_FILE.read_text(encoding="utf-8"))


def _other_readings(raw: bytes, said: Iterable[str]) -> set[str]:
    """What a value says if its character set is not the declared one.

    Only the right reading is a name that stands in a report; the others find nothing.
    """
    if raw.isascii() and b"\x1b" not in raw:
        return set()
    raw = raw.replace(KOREAN_ESCAPE, b"")
    # Hardly any other text is valid UTF-8. Without a character set a header is read as Latin 1.
    with contextlib.suppress(UnicodeDecodeError):
        if not raw.isascii():
            return {raw.decode("utf-8")}
    readings = set()
    if all(max(value) <= "\xff" or "\ufffd" in value for value in said):
        for encoding in ENCODINGS:
            with contextlib.suppress(UnicodeDecodeError):
                readings.add(raw.decode(encoding))
    return readings


def _replaced(text: str, changes: Iterable[tuple[int, int, str]]) -> tuple[str, int]:
    """The text with other words from place to place, and the number of changes."""
    pieces, end = [], 0
    changes = list(changes)
    for start, stop, words in changes:
        pieces += [text[end:start], words]
        end = stop
    return "".join([*pieces, text[end:]]), len(changes)


def _change(text: str, category: str, match: re.Match) -> tuple[int, int, str]:
    groups = match.groupdict()
    kept = next((name for name in ("keep", "keep2") if groups.get(name)), None)
    start, stop = match.span(kept) if kept else (0, 0)
    return *match.span(), f"{text[start:stop]}[{category}]"


@functools.cache
def _common_word() -> re.Pattern:
    return re.compile(read_rules()["parts"]["common"], re.VERBOSE)
