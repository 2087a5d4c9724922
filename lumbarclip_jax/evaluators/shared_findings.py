"""Mean average precision of retrieval, where what counts is a finding in common.

Rank and recall ask for a query's own report. Someone who looks for similar cases asks for more: any
case with the same finding at the same disc will do. That is the relevance here, and the choice is
ours, since no public protocol fixes one:

    A candidate is relevant to a query when some finding is present at the same level in both.

An image has the findings of the one level it shows, a patient those of all levels photographed, a
report those of all levels it was filed under. By study the levels it shows are one: there a finding
at any of them counts. A query without a finding has nothing to share and is
left out; every other one has its own report, so that no average precision is undefined. Of a common
finding half the candidates may be relevant: read the number against its chance.
"""

import numpy as np

from data_prep.records.findings import PRESENT
from lumbarclip_jax.evaluators.ranking import tie_steps


def finding_sets(embedded) -> np.ndarray:
    """What is present at the level of every row, `[M]` int64: one bit a level and finding.

    Raises:
      ValueError: there are more levels and findings than bits.
    """
    levels, level_of_row = np.unique(embedded.level, return_inverse=True)
    count = embedded.level_findings.shape[1]
    if len(levels) * count > 63:
        raise ValueError(
            f"{len(levels)} levels with {count} findings each are more than the 63 that retrieval "
            "by shared findings tells apart: measure a data set with fewer levels"
        )
    bits = np.int64(1) << (level_of_row[:, None] * count + np.arange(count))
    return np.where(embedded.level_findings == PRESENT, bits, 0).sum(axis=1)


def united(sets: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """The union of the sets `[M]` of every owner `[M]` in 0..N-1, `[N]`."""
    union = np.zeros(owner.max() + 1, np.int64)
    np.bitwise_or.at(union, owner, sets)
    return union


def average_precisions(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The mean over a query's relevant candidates of the precision at their place, `[B]`.

    scikit-learn's `average_precision_score` where no scores tie. Ties (`tie_steps`)
    count against the model: the irrelevant come first.

    Args:
      scores: `[B, N]` float32, cosines of B queries with N candidates.
      relevant: `[B, N]` bool, at least one in every row.
    """
    # The lowest bit carries the relevance through the sort, which is then one of plain integers.
    keys = relevant - 2 * tie_steps(scores)
    keys.sort(axis=1)
    places = [np.flatnonzero(row & 1) + 1 for row in keys]
    return np.array([np.mean(np.arange(1, len(at) + 1) / at) for at in places])


def chance_average_precisions(relevant: np.ndarray, candidates: int) -> np.ndarray:
    """Expected average precision `[B]` of candidates in random order, exactly.

    With R of N relevant, place k holds a relevant one with probability R/N, and then each of the
    k - 1 places before it with probability (R-1)/(N-1).

    Args:
      relevant: `[B]`, R of every query.
      candidates: N.
    """
    harmonic = np.sum(1 / np.arange(1, candidates + 1))
    before = (relevant - 1) / max(candidates - 1, 1)
    return (harmonic + before * (candidates - harmonic)) / candidates
