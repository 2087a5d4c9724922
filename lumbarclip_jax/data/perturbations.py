"""Random changes of a text for training: synonyms, swapped words, deleted words.

EDA: Wei & Zou, Easy Data Augmentation Techniques for Boosting Performance on Text Classification
Tasks, EMNLP 2019, arXiv 1901.11196. The authors' public code of LumbarCLIP draws one of these three
for the second text of a pair; swaps and deletions there may strike any word, a "no" too.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.data.sentences import ENDS
from lumbarclip_jax.data.synonyms import Synonyms

# "L4/L5", "broad-based", "Schmorl's" and "1.3" are words.
_WORD = re.compile(r"\w+(?:['’/-]\w+|\.\d+)*")
_WORD_AND_BLANKS = re.compile(rf"{_WORD.pattern}[ \t]*")


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """What is done to a text, in this order.

    Attributes:
      synonyms: the probability that a phrase of the table is replaced by another of its group.
      swap: the probability that a word changes places with another, drawn at random, of its
        statement.
      delete: the probability that a word is deleted.
      one_of: whether only one of those that are not 0 is done to a text, each as likely.
      protect: whether swaps and deletions leave alone what the table protects, and statements that
        deny. Without it this is plain EDA, as the authors run it: it can delete a negation, or
        move a side or a level to another finding.

    Raises:
      ValueError: a probability is not one.
    """

    synonyms: float = 0.0
    swap: float = 0.0
    delete: float = 0.0
    one_of: bool = False
    protect: bool = True

    @property
    def changes(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.synonyms or self.swap or self.delete)

    def __post_init__(self):
        for name in ("synonyms", "swap", "delete"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is no probability: give 0 to 1")


def perturbed(text: str, how: Perturbation, synonyms: Synonyms, seed: int | Sequence[int]) -> str:
    """The text, changed at random; the same for the same seed, and the very text where all is 0.

    Punctuation and line breaks stay, which EDA's own code drops, and so do statements: words move
    within theirs (`sentences`). Of a text with words one is left at least.
    """
    steps = [name for name in ("synonyms", "swap", "delete") if getattr(how, name)]
    rng = np.random.default_rng(seed)
    if how.one_of and steps:
        steps = [steps[rng.integers(len(steps))]]
    table = synonyms if how.protect else None
    if "synonyms" in steps:
        text = synonyms.replaced(text, how.synonyms, rng)
    if "swap" in steps:
        text = _swapped(text, how.swap, table, rng)
    if "delete" in steps:
        text = _deleted(text, how.delete, table, rng)
    return text


def _swapped(
    text: str, probability: float, table: Synonyms | None, rng: np.random.Generator
) -> str:
    words = _WORD.findall(text)
    statements, free = _statements(text), _free(text, table)
    for index in np.flatnonzero(free & (rng.random(len(words)) < probability)):
        others = np.flatnonzero(free & (statements == statements[index]))
        others = others[others != index]
        if len(others):
            other = rng.choice(others)
            words[index], words[other] = words[other], words[index]
    moved = iter(words)
    return _WORD.sub(lambda _: next(moved), text)


def _deleted(
    text: str, probability: float, table: Synonyms | None, rng: np.random.Generator
) -> str:
    free = _free(text, table)
    kept = ~free | (rng.random(len(free)) >= probability)
    if len(kept) and not kept.any():
        kept[rng.integers(len(kept))] = True
    keep = iter(kept)
    return _WORD_AND_BLANKS.sub(lambda found: found[0] if next(keep) else "", text)


def _statements(text: str) -> np.ndarray:
    """The number of the statement that each word is in, [words]."""
    starts = [word.start() for word in _WORD.finditer(text)]
    return np.searchsorted([end.end() for end in ENDS.finditer(text)], starts, side="right")


def _free(text: str, table: Synonyms | None) -> np.ndarray:
    """Whether each word may be moved or deleted, bool [words]: all where there is no table."""
    words, statements = _WORD.findall(text), _statements(text)
    if not table:
        return np.full(len(words), True)
    denials = {at for word, at in zip(words, statements, strict=True) if table.denies(word)}
    return np.array(
        [
            at not in denials and not table.protects(word)
            for word, at in zip(words, statements, strict=True)
        ],
        bool,
    )
