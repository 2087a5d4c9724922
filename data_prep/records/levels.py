"""Discs of the spine: their names, and what people write for them."""

import re
import unicodedata

LUMBAR = ("L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1")
# From the head down, as a lumbar study shows them.
THORACOLUMBAR = ("T9-T10", "T10-T11", "T11-T12", "T12-L1", *LUMBAR)
# The sixth lumbar vertebra that some people have makes two more.
DISCS = (*THORACOLUMBAR, "L5-L6", "L6-S1")


def disc_named(text: str) -> str | None:
    """The disc that "L4-L5", "L4/5", "l4 l5", "L45", "L5S1" or "4/5" means, or None."""
    return _DISC_OF.get(re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text)).casefold())


def _spellings(disc: str) -> set[str]:
    """Without punctuation. L may be left out, and so may the letter of the lower vertebra."""
    upper, lower = (
        {name, name.replace("t", "th"), name.removeprefix("l")}
        for name in disc.casefold().split("-")
    )
    digits = disc.partition("-")[2][1:]
    return {first + second for first in upper for second in lower | {digits}}


_DISC_OF = {spelling: disc for disc in DISCS for spelling in _spellings(disc)}
