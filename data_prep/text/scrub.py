"""Takes identities out of free text and says how many it took.

Two rules of different strength. What the study's own headers know of a person is removed from the
report of that patient wherever it stands. Beyond that, `scrub_rules.toml` describes how names,
dates, numbers and places look in typical contexts; a name in no context and in no header stays.
"""

import collections
import functools
import pathlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

import pydicom
from pydicom.multival import MultiValue

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
MIN_KNOWN_LETTERS = 3
MIN_KNOWN_ID = 4


def scrub(text: str, known: Iterable[str] = ()) -> tuple[str, dict[str, int]]:
    """Replaces identities by placeholders such as ``[date]``.

    Args:
      text: of one report.
      known: what the headers of the same patient say: names (`FAMILY^GIVEN` or plain), ids. Each
        word of a name with at least 3 letters is removed as a whole word, in any case, with or
        without its accents; an id of at least 4 characters as a whole.

    Returns:
      (the text, how many were replaced by category).
    """
    counts: collections.Counter[str] = collections.Counter()
    pattern = _known_pattern(frozenset(known))
    if pattern:
        text, counts[KNOWN] = pattern.subn("[name]", text)
    for category, rule in rules():
        text, number = rule.subn(functools.partial(_replacement, category), text)
        counts[category] += number
    return text, dict(sorted((+counts).items()))


def identities(dataset: pydicom.Dataset) -> frozenset[str]:
    """The names and numbers in a header, for `scrub` alone: never store, print or log them."""
    found = set()
    for field in IDENTITY_FIELDS:
        value = dataset.get(field)
        found |= {str(v) for v in (value if isinstance(value, MultiValue) else [value]) if v}
    return frozenset(found)


@functools.cache
def rules() -> tuple[tuple[str, re.Pattern], ...]:
    """(category, pattern) of every rule, in order."""
    data = read_rules()
    parts: dict[str, str] = {}

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


def _replacement(category: str, match: re.Match) -> str:
    groups = match.groupdict()
    kept = groups.get("keep") or groups.get("keep2") or ""
    return f"{kept}[{category}]"


def _known_pattern(known: frozenset[str]) -> re.Pattern | None:
    words = {part for value in known for part in _parts(value)}
    words |= {_without_accents(word) for word in words}
    # A patient called Small must not cost every small disc: such a word goes with its neighbour.
    common = _common_word()
    strong = {word for word in words if not common.fullmatch(word)}
    if not strong:
        return None
    strong_part, any_part = _any_of(strong), _any_of(words)
    return re.compile(
        rf"(?<!\w)(?:{any_part}[ ,^]+)*{strong_part}(?!\w)(?:[ ,^]+{any_part}(?!\w))*",
        re.IGNORECASE,
    )


def _parts(value: str) -> Iterator[str]:
    """The words of a name and the whole of an id that are long enough to be told from others."""
    for part in re.split(r"[\^=,;\\\s]+", unicodedata.normalize("NFC", value)):
        for piece in {part, *re.split(r"[-'’._/]", part)}:
            letters = sum(char.isalpha() for char in piece)
            if letters >= MIN_KNOWN_LETTERS or (piece == part and len(part) >= MIN_KNOWN_ID):
                yield piece


def _any_of(words: Iterable[str]) -> str:
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return f"(?:{'|'.join(map(re.escape, longest_first))})"


@functools.cache
def _common_word() -> re.Pattern:
    return re.compile(read_rules()["parts"]["common"], re.VERBOSE)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char))
