"""Texts for sources that have grades and no reports: what was graded, in plain words.

Such a text says nothing that was not graded and imitates no doctor; its record is marked as
templated.
"""

from collections.abc import Mapping, Sequence


def statement(level: str, present: Sequence[str], absent: Sequence[str]) -> str:
    """One line on a disc, as "L4-L5: disc bulge and disc narrowing. No disc herniation."

    Args:
      level: of the disc.
      present: phrases of what was graded as there.
      absent: phrases of what was graded as not there.
    """
    return f"{level}: {of_patient(present, absent)}"


def of_patient(present: Sequence[str], absent: Sequence[str]) -> str:
    """The same of no disc, as "Disc bulge and disc narrowing. No disc herniation."

    Args:
      present: phrases of what was graded as there.
      absent: phrases of what was graded as not there.
    """
    sentences = []
    if present:
        sentences.append(_listed(present))
    if absent:
        sentences.append("no " + _listed(absent, "or"))
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."


def severities(level: str, graded: Mapping[str, Sequence[str]]) -> str:
    """One line on a disc, as "L4-L5: Severe canal stenosis. Normal or mild left narrowing."

    Args:
      level: of the disc.
      graded: severity -> phrases of what was graded so, the most severe first.
    """
    sentences = [f"{severity} {_listed(names)}." for severity, names in graded.items() if names]
    return f"{level}: {' '.join(sentences)}"


def _listed(phrases: Sequence[str], conjunction: str = "and") -> str:
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} {conjunction} {phrases[-1]}"
