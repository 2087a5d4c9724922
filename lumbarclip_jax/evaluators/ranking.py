"""Ranks of the correct candidates, what blind guessing would reach, and the metrics of both.

Images and texts are ranked against each other by cosine similarity. The rank of a query is the
place of its best correct candidate, 1 = first. Ties count against the model: a wrong candidate
that scores as high as the best correct one is placed before it, so an encoder that has collapsed
to one vector ranks last instead of by luck.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from lumbarclip_jax.evaluators import intervals
from lumbarclip_jax.evaluators.bootstrap import Metrics, patient_means

RECALL_AT = (1, 5, 10)
RECALLS = tuple(f"recall_at_{k}" for k in RECALL_AT)

# Cosines closer than this are ties: float32 products of equal vectors differ by about 1e-7 with
# their place in the matrix.
TIE = 1e-6

# Sides of one tile of the similarity matrix, 16 MB of float32 whatever the number of candidates.
# Every core works on one.
TILE_IMAGES, TILE_TEXTS = 1024, 4096


def best_ranks(
    images: np.ndarray, texts: np.ndarray, reading_of_image: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks both ways in one pass over tiles of the similarity matrix, never the whole of it.

    Args:
      images: `[N, E]` float32, unit length.
      texts: `[L, G, E]` float32, unit length: each text in L readings.
      reading_of_image: `[N]`, which reading of the texts an image is compared with.
      pairs: `[2, Q]`, an image and a correct text for it, each pair once, in order of the images;
        every image and every text is in one.

    Returns:
      Rank of each image's best correct text `[N]`, and of each text's best correct image `[G]`.
    """
    image_of_pair, text_of_pair = pairs
    reading_of_pair = reading_of_image[image_of_pair]
    pair_scores = _products(images, texts, reading_of_pair, pairs)
    image_reach = np.full(len(images), -np.inf, np.float32)
    text_reach = np.full(texts.shape[1], -np.inf, np.float32)
    np.maximum.at(image_reach, image_of_pair, pair_scores - TIE)
    np.maximum.at(text_reach, text_of_pair, pair_scores - TIE)

    def count(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wrong texts within reach of some images of one reading, and of them for every text."""
        first, last = np.searchsorted(image_of_pair, (rows[0], rows[-1] + 1))
        near = slice(first, last)
        own = reading_of_pair[near] == reading_of_image[rows[0]]
        return _within_reach(
            images[rows],
            texts[reading_of_image[rows[0]]],
            image_reach[rows],
            text_reach,
            np.searchsorted(rows, image_of_pair[near][own]),
            text_of_pair[near][own],
        )

    blocks = [
        rows
        for reading in range(len(texts))
        for rows in _parts(np.flatnonzero(reading_of_image == reading), TILE_IMAGES)
    ]
    image_ranks = np.ones(len(images), np.int64)
    text_ranks = np.ones(texts.shape[1], np.int64)
    for rows, (of_images, of_texts) in zip(blocks, on_cores(count, blocks), strict=True):
        image_ranks[rows] += of_images
        text_ranks += of_texts
    return image_ranks, text_ranks


def on_cores(function: Callable, items: Iterable) -> Iterator:
    """Results of a numpy function for every item, in order, computed on all cores of the process.

    Matrix products take one core each, so that what numpy does on one core runs beside others.
    """
    told = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if told else os.cpu_count()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores) as pool:
        yield from pool.map(function, items)


def _parts(items: np.ndarray, size: int) -> list[np.ndarray]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _within_reach(
    images: np.ndarray,
    texts: np.ndarray,
    image_reach: np.ndarray,
    text_reach: np.ndarray,
    correct_images: np.ndarray,
    correct_texts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the wrong pairs that score at least as much as the image's reach, and the text's.

    Args:
      images: `[B, E]`.
      texts: `[G, E]`.
      image_reach: `[B]`.
      text_reach: `[G]`.
      correct_images, correct_texts: `[Q]`, the correct pairs.

    Returns:
      Counts for every image `[B]` and every text `[G]`.
    """
    of_images = np.zeros(len(images), np.int64)
    of_texts = np.zeros(len(texts), np.int64)
    for columns in _parts(np.arange(len(texts)), TILE_TEXTS):
        here = slice(columns[0], columns[-1] + 1)
        scores = images @ texts[here].T
        inside = (correct_texts >= here.start) & (correct_texts < here.stop)
        scores[correct_images[inside], correct_texts[inside] - here.start] = -np.inf
        # Five times as fast as np.count_nonzero along an axis; a tile has sides below 2**16.
        of_images += (scores >= image_reach[:, None]).sum(axis=1, dtype=np.uint16)
        of_texts[here] = (scores >= text_reach[here]).sum(axis=0, dtype=np.uint16)
    return of_images, of_texts


def _products(
    images: np.ndarray, texts: np.ndarray, reading_of_pair: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """The score of every pair `[Q]`, a block of pairs at a time."""
    return np.concatenate(
        [
            np.einsum("qe,qe->q", images[pairs[0, at]], texts[reading_of_pair[at], pairs[1, at]])
            for at in _parts(np.arange(pairs.shape[1]), TILE_TEXTS)
        ]
    )


def tie_steps(scores: np.ndarray) -> np.ndarray:
    """How many steps of `TIE` each score lies above the lowest of its query; equal ones are ties.

    Args:
      scores: `[B, N]` float32, cosines of B queries with N candidates.

    Returns:
      `[B, N]` int32.
    """
    return ((scores - scores.min(axis=1, keepdims=True)) / np.float32(TIE)).astype(np.int32)


def best_rank(scores: np.ndarray, correct: np.ndarray) -> int:
    """The rank of one query with candidates scored `[N]`, of which `correct` `[N]` bool are."""
    return 1 + int(np.count_nonzero(scores[~correct] >= scores[correct].max() - TIE))


def rank_metrics(ranks: np.ndarray, patient_of_query: np.ndarray | None = None) -> Metrics:
    """Recall at 1, 5 and 10, mean reciprocal rank and median rank of queries ranked `[Q]`.

    The median goes through the queries one resample at a time, so memory does not grow with the
    resamples.

    Args:
      ranks: `[Q]`.
      patient_of_query: `[Q]` in 0..P-1, a patient for every query; omitted, each is its own.

    Returns:
      Weights of patients `[R, P]` to named values `[R]`.
    """
    owner = np.arange(len(ranks)) if patient_of_query is None else patient_of_query
    means = patient_means(
        {
            **{name: ranks <= k for name, k in zip(RECALLS, RECALL_AT, strict=True)},
            "mrr": 1 / ranks,
        },
        owner,
    )
    order = np.argsort(ranks)
    ascending, owner_ascending = ranks[order], owner[order]

    def median(weights: np.ndarray) -> float:
        cumulative = weights[owner_ascending].cumsum()
        # The middle one of an odd count, the mean of the middle two of an even one.
        middle = ((cumulative[-1] + 1) // 2, cumulative[-1] // 2 + 1)
        return ascending[np.searchsorted(cumulative, middle)].mean()

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {**means(weights), "median_rank": np.array([median(row) for row in weights])}

    return metrics


def recall_intervals(chance: Mapping[str, float]) -> dict[str, intervals.Interval]:
    """For `estimates`: recalls are shares, but for those that blind guessing has too.

    Recall at 10 among 10 candidates is 1 and can be nothing else.
    """
    return {name: intervals.of_share for name in RECALLS if chance[name] < 1}


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
