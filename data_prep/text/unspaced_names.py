"""Names in Han, kana, Hangul and the scripts of Thailand and its neighbours.

Family and given name together, in either order, go anywhere; one of them alone where it has two
letters and cannot be part of another word; a single letter only before an honorific.
"""

import re
from collections.abc import Iterable, Iterator

from data_prep.text.letters import HAN, HANGUL, KANA, UNSPACED, is_unspaced
from data_prep.text.name_words import Words, any_of

GAP = "[ ・·,^=]{0,2}"


def spans(text: str, groups: Iterable[str], words: Words) -> Iterator[tuple[int, int]]:
    """Where the names stand in a text.

    Args:
      text: in plain letters.
      groups: names in plain letters, `FAMILY^GIVEN` or plain.
    """
    names = _spelled(groups)
    if not names:
        return
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    bounded = [
        _bounded(name, names[name], words.particles)
        for name in longest_first
        if len(name) > 1 and not words.ordinary(name)
    ]
    addressed = any_of(names[name] for name in longest_first)
    addressed = f"(?<![{HANGUL}]){addressed}(?={words.honorific.pattern})"
    for match in re.finditer("|".join([*bounded, addressed]), text):
        yield match.span()


def _spelled(groups: Iterable[str]) -> dict[str, str]:
    """Name -> its pattern, for every name in the groups and for every word of it."""
    names: dict[str, str] = {}
    for group in groups:
        parts = re.split(r"[\^\s,;・·\\]+", group)
        tokens = tuple(part for part in parts if is_unspaced(part))
        # Family first or last; a name alone may have a blank behind every letter.
        for order in {tokens, tokens[::-1], (*tokens[1:], *tokens[:1])} - {()}:
            spaced = ("[ ]?".join(map(re.escape, token)) for token in order)
            names["".join(order)] = GAP.join(spaced)
        names |= {token: re.escape(token) for token in tokens if len(tokens) > 1}
    return names


def _bounded(name: str, spelled: str, particles: str) -> str:
    """A name where it is one: the shorter it is, the more it needs a border of another script."""
    if re.search(f"[{HAN}]", name):
        return spelled
    border = next((script for script in (HANGUL, KANA) if re.match(f"[{script}]", name)), UNSPACED)
    if len(name) >= (3 if border == HANGUL else 4):
        return spelled
    return f"(?<![{border}]){spelled}(?={particles}?(?![{border}]))"
