"""Ranks of the correct candidates, what blind guessing would reach, and the metrics of both.

Images and texts are ranked against each other by cosine similarity. The rank of a query is the
place of its best correct candidate, 1 = first. Ties count against the model: a wrong candidate
that scores as high as the best correct one is placed before it, so an encoder that has collapsed
to one vector ranks last instead of by luck.
"""

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import Metrics, patient_means

RECALL_AT = (1, 5, 10)

# Cosines closer than this are ties: float32 products of equal vectors differ by about 1e-7 with
# their place in the matrix.
TIE = 1e-6

# Sides of one tile of the similarity matrix: 16 MB of float32, whatever the number of candidates.
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

    image_ranks = np.ones(len(images), np.int64)
    text_ranks = np.ones(texts.shape[1], np.int64)
    # Allocated once: new pages for every tile would cost as much as comparing them.
    scores = np.empty((TILE_IMAGES, TILE_TEXTS), np.float32)
    reaches = np.empty(scores.shape, bool)
    for reading, texts_read in enumerate(texts):
        compared = np.flatnonzero(reading_of_image == reading)
        correct = pairs[:, reading_of_pair == reading]
        for first in range(0, len(compared), TILE_IMAGES):
            rows = compared[first : first + TILE_IMAGES]
            start, stop = np.searchsorted(correct[0], (rows[0], rows[-1] + 1))
            correct_rows = np.searchsorted(rows, correct[0, start:stop])
            correct_texts = correct[1, start:stop]
            queries = images[rows]
            for left in range(0, len(texts_read), TILE_TEXTS):
                columns = slice(left, min(left + TILE_TEXTS, len(texts_read)))
                width = columns.stop - left
                tile, above = scores[: len(rows), :width], reaches[: len(rows), :width]
                np.matmul(queries, texts_read[columns].T, out=tile)
                inside = (correct_texts >= left) & (correct_texts < columns.stop)
                tile[correct_rows[inside], correct_texts[inside] - left] = -np.inf
                np.greater_equal(tile, image_reach[rows, None], out=above)
                image_ranks[rows] += np.count_nonzero(above, axis=1)
                np.greater_equal(tile, text_reach[columns], out=above)
                text_ranks[columns] += np.count_nonzero(above, axis=0)
    return image_ranks, text_ranks


def _products(
    images: np.ndarray, texts: np.ndarray, reading_of_pair: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """The score of every pair `[Q]`, a block of pairs at a time."""
    blocks = range(0, pairs.shape[1], TILE_TEXTS)
    parts = [slice(start, start + TILE_TEXTS) for start in blocks]
    return np.concatenate(
        [
            np.einsum("qe,qe->q", images[pairs[0, at]], texts[reading_of_pair[at], pairs[1, at]])
            for at in parts
        ]
    )


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
        {**{f"recall_at_{k}": ranks <= k for k in RECALL_AT}, "mrr": 1 / ranks}, owner
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
