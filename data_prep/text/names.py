"""Where a report writes the names that a header knows.

Both are compared in plain letters (`letters.fold`). How much of a name has to stand in the report
before it goes depends on what else its letters could mean. Scripts that part words and scripts that
write without blanks have rules of their own.
"""

import re
import unicodedata
from collections.abc import Collection

from data_prep.text import letters, name_words, spaced_names, unspaced_names


def spans(text: str, known: Collection[str], common: re.Pattern) -> list[tuple[int, int]]:
    """Where names and numbers of a patient stand, from first to last.

    Args:
      text: in plain letters.
      known: what the headers say: names (`FAMILY^GIVEN`, "=" between scripts, or plain) and ids.
      common: matches words that are no names where a name could stand.
    """
    words = name_words.read(common)
    groups = [
        letters.fold(unicodedata.normalize("NFC", group))[0]
        for value in sorted(known)
        for group in value.split("=")
    ]
    spaced = spaced_names.spans(text, groups, words)
    found: list[tuple[int, int]] = []
    for start, stop in sorted([*spaced, *unspaced_names.spans(text, groups, words)]):
        # A name in syllables may hold another word of it: "Li Wu Li" of Li^Wuli.
        if not found or start >= found[-1][1]:
            found.append((start, stop))
    return found
