"""Ranks of the correct candidates, what blind guessing would reach, and the metrics of both.

Images and texts are ranked against each other by cosine similarity. The rank of a query is the
place of its best correct candidate, 1 = first. Ties count against the model: a wrong candidate
that scores as high as the best correct one is placed before it, so an encoder that has collapsed
to one vector ranks last instead of by luck.
"""

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import Metrics

RECALL_AT = (1, 5, 10)

# Cosines closer than this are ties: float32 products of equal vectors differ by about 1e-7 with
# their place in the matrix.
TIE = 1e-6

# One block of the similarity matrix: 64 MB of float32, whatever the number of candidates.
BLOCK_ELEMENTS = 2**24


def best_ranks(
    images: np.ndarray, texts: np.ndarray, reading_of_image: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks both ways in one pass over blocks of the similarity matrix, never the whole of it.

    Args:
      images: `[N, E]` float32, unit length.
      texts: `[L, G, E]` float32, unit length: each text in L readings.
      reading_of_image: `[N]`, which reading of the texts an image is compared with.
      pairs: `[2, Q]`, an image and a correct text for it, each pair once; every image and every
        text is in one.

    Returns:
      Rank of each image's best correct text `[N]`, and of each text's best correct image `[G]`.
    """
    image_of_pair, text_of_pair = pairs
    pair_scores = np.einsum(
        "qe,qe->q", images[image_of_pair], texts[reading_of_image[image_of_pair], text_of_pair]
    )
    image_best = np.full(len(images), -np.inf, np.float32)
    text_best = np.full(texts.shape[1], -np.inf, np.float32)
    np.maximum.at(image_best, image_of_pair, pair_scores)
    np.maximum.at(text_best, text_of_pair, pair_scores)

    image_ranks = np.ones(len(images), np.int64)
    text_ranks = np.ones(texts.shape[1], np.int64)
    block = max(1, BLOCK_ELEMENTS // texts.shape[1])
    for reading, texts_read in enumerate(texts):
        compared = np.flatnonzero(reading_of_image == reading)
        for start in range(0, len(compared), block):
            rows = compared[start : start + block]
            scores = images[rows] @ texts_read.T
            here = np.isin(image_of_pair, rows)
            scores[np.searchsorted(rows, image_of_pair[here]), text_of_pair[here]] = -np.inf
            image_ranks[rows] += np.count_nonzero(scores >= image_best[rows, None] - TIE, axis=1)
            text_ranks += np.count_nonzero(scores >= text_best - TIE, axis=0)
    return image_ranks, text_ranks


def best_rank(scores: np.ndarray, correct: np.ndarray) -> int:
    """The rank of one query with candidates scored `[N]`, of which `correct` `[N]` bool are."""
    return 1 + int(np.count_nonzero(scores[~correct] >= scores[correct].max() - TIE))


def rank_metrics(ranks: np.ndarray) -> Metrics:
    """Recall at 1, 5 and 10, mean reciprocal rank and median rank of queries ranked `[M]`."""
    order = np.argsort(ranks)
    ascending = ranks[order]

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        cumulative = weights[:, order].cumsum(axis=1)
        # The middle one of an odd count, the mean of the middle two of an even one.
        lower = ascending[_first_reaching(cumulative, (total + 1) // 2)]
        upper = ascending[_first_reaching(cumulative, total // 2 + 1)]
        return {
            **{f"recall_at_{k}": weights @ (ranks <= k) / total for k in RECALL_AT},
            "mrr": weights @ (1 / ranks) / total,
            "median_rank": (lower + upper) / 2,
        }

    return metrics


def _first_reaching(cumulative: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return np.argmax(cumulative >= amount[:, None], axis=1)


def chance_metrics(candidates: int, correct: np.ndarray) -> dict[str, float]:
    """The same metrics for a model that orders the candidates blindly, exactly.

    With m of N candidates correct, the best of them comes after place r with probability
    prod_{j<r} (N - m - j) / (N - j); for one correct candidate recall at k is k / N.

    Args:
      candidates: N.
      correct: `[M]`, the number of correct candidates of every query.
    """
    places = np.arange(candidates)
    beyond = np.zeros(candidates)
    for number, queries in zip(*np.unique(correct, return_counts=True), strict=True):
        factors = np.maximum(candidates - number - places, 0) / (candidates - places)
        beyond += queries / len(correct) * np.cumprod(factors)
    within = 1 - beyond
    at_place = np.diff(within, prepend=0.0)
    return {
        **{f"recall_at_{k}": float(within[min(k, candidates) - 1]) for k in RECALL_AT},
        "mrr": float(at_place @ (1 / (places + 1))),
        "median_rank": float(np.argmax(within > 0.5 - 1e-9) + 1),
    }
