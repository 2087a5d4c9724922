"""Which sentences are English: by function words, letters and script.

The findings share their Latin names with other languages, whose denials the rules do not know:
"keine Protrusion" would be read as a protrusion.
"""

import pathlib
import re
import unicodedata
from collections.abc import Callable, Iterable

from data_prep.label_reports.rules import read_file

# A denial that is missed turns a finding round, so it outweighs two English words; words of another
# script, of which any may deny, three.
_DENIAL_WEIGHT, _OTHER_SCRIPT_WEIGHT = 3, 4
# A sentence of this many words, short ones aside, of which fewer than a third are known, is in no
# listed language.
_MIN_WORDS, _MIN_LETTERS, _KNOWN_SHARE = 4, 3, 1 / 3
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


class Languages:
    """Tells English sentences from others by languages.toml.

    Args:
      folder: of the rule files.
      knows: whether the other rules know a word.

    Raises:
      FileNotFoundError: there is no languages.toml.
      ValueError: it is not of the form that it explains.
    """

    def __init__(self, folder: pathlib.Path, knows: Callable[[str], bool]):
        table = read_file(folder / "languages.toml")
        try:
            self._english = frozenset(table["english"]["words"])
            foreign = [table["foreign"][name] for name in table["foreign"]]
            self._foreign = {word for language in foreign for word in language["words"]}
            self._denials = {word for language in foreign for word in language["denials"]}
            self._borrowed = frozenset(table["english"]["borrowed"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / 'languages.toml'} has no entry {error}: add it") from error
        self._knows = knows

    def english(self, sentences: Iterable[str]) -> list[bool]:
        """Whether each of the sentences of one report is English.

        One that does not tell, such as "Protrusion L4/5", is as the rest of its report.
        """
        balances = [self._balance(sentence) for sentence in sentences]
        is_english_report = sum(balances) >= 0
        return [balance > 0 or (balance == 0 and is_english_report) for balance in balances]

    def _balance(self, sentence: str) -> int:
        """English words less the words of other languages."""
        text = unicodedata.normalize("NFKC", sentence).lower().replace("’", "'")
        words = [word for word in _WORD.findall(text) if len(word) > 1 or not word.isascii()]
        english = sum(word in self._english for word in words)
        foreign = sum(map(self._foreign_weight, words))
        whole = [word for word in words if len(word) >= _MIN_LETTERS]
        if not english and not foreign and len(whole) >= _MIN_WORDS:
            known = sum(map(self._knows, whole))
            return -1 if known < _KNOWN_SHARE * len(whole) else 0
        return english - foreign

    def _foreign_weight(self, word: str) -> int:
        if word in self._borrowed or word in self._english:
            return 0
        if word in self._denials:
            return _DENIAL_WEIGHT
        if not unicodedata.name(word[0], "").startswith("LATIN"):
            is_symbol = len(word) == 1 and unicodedata.name(word).startswith("GREEK")
            return 0 if is_symbol else _OTHER_SCRIPT_WEIGHT
        return int(word in self._foreign or not word.isascii())
