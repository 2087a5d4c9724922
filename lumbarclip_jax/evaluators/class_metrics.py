"""Classification metrics in weighted form: row weights `[R, M]` to one value a resample `[R]`.

The definitions are scikit-learn's with `sample_weight`, for all bootstrap resamples at once: 1,000
calls into scikit-learn take seconds a metric, these take milliseconds. A value is NaN on a resample
that leaves it undefined.
"""

from collections.abc import Callable, Sequence

import numpy as np

Metric = Callable[[np.ndarray], np.ndarray]

ECE_BINS = 15


def auroc(positive: np.ndarray, scores: np.ndarray, groups: Sequence[np.ndarray]) -> Metric:
    """Share of (positive, negative) pairs ranked right, a tie as half of one.

    Args:
      positive: `[M]` bool.
      scores: `[M]`, higher for more likely positive.
      groups: row indices; only pairs inside a group are compared.
    """
    counts = [_ranked_pairs(positive, scores, rows) for rows in groups]

    def metric(weights: np.ndarray) -> np.ndarray:
        right, pairs = np.sum([count(weights) for count in counts], axis=0)
        return share(right, pairs)

    return metric


def _ranked_pairs(positive: np.ndarray, scores: np.ndarray, rows: np.ndarray):
    """Weights `[R, M]` to (pairs ranked right, all pairs) among `rows`, each `[R]`."""
    order, distinct = _distinct_scores(scores, rows)
    is_positive = positive[order].astype(np.float64)

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * is_positive, distinct, axis=1)
        negatives = np.add.reduceat(ordered, distinct, axis=1) - positives
        below = negatives.cumsum(axis=1) - negatives / 2
        right = np.einsum("rd,rd->r", positives, below)
        return right, positives.sum(axis=1) * negatives.sum(axis=1)

    return count


def average_precision(positive: np.ndarray, scores: np.ndarray) -> Metric:
    """Precision at every distinct score, weighted by the recall gained there."""
    order, distinct = _distinct_scores(-scores, np.arange(len(scores)))
    is_positive = positive[order].astype(np.float64)

    def metric(weights: np.ndarray) -> np.ndarray:
        ordered = weights[:, order]
        gained = np.add.reduceat(ordered * is_positive, distinct, axis=1)
        answered = np.add.reduceat(ordered, distinct, axis=1).cumsum(axis=1)
        precision = gained.cumsum(axis=1) / np.where(answered == 0, 1, answered)
        return share(np.einsum("rd,rd->r", gained, precision), gained.sum(axis=1))

    return metric


def _distinct_scores(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`rows` in ascending order of score, and where in it each distinct score begins."""
    order = rows[np.argsort(scores[rows], kind="stable")]
    ascending = scores[order]
    return order, np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])


def confusion_metrics(
    confusion: np.ndarray, classes: np.ndarray, ordered: bool
) -> dict[str, np.ndarray]:
    """What follows from confusion matrices `[R, K, K]`, rows the truth and columns the answer.

    `macro_f1` is the plain mean over `classes` (indices), as `balanced_accuracy` is of recalls;
    `weighted_f1` is the mean weighted by how often a class is true. `quadratic_kappa` (Cohen 1968),
    for `ordered` classes, punishes an error by its squared distance. All but accuracy and weighted
    F1 are NaN where one of `classes` is never true.
    """
    true, answered = confusion.sum(axis=2), confusion.sum(axis=1)
    total = true.sum(axis=1)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    f1 = 2 * right / np.maximum(true + answered, 1e-300)
    lacking = (true[:, classes] == 0).any(axis=1)
    recall = right / np.where(true == 0, np.nan, true)
    metrics = {
        "accuracy": right.sum(axis=1) / total,
        "balanced_accuracy": recall[:, classes].mean(axis=1),
        "macro_f1": np.where(lacking, np.nan, f1[:, classes].mean(axis=1)),
        "weighted_f1": np.einsum("rk,rk->r", f1, true) / total,
    }
    if ordered:
        places = np.arange(confusion.shape[1])
        distance = (places[:, None] - places) ** 2
        seen = np.einsum("rij,ij->r", confusion, distance)
        expected = np.einsum("ri,rj,ij->r", true, answered, distance) / total
        metrics["quadratic_kappa"] = np.where(lacking, np.nan, 1 - share(seen, expected))
    return metrics


def calibration_metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Metric]:
    """`nll`, `brier`, `ece` and `adaptive_ece` of probabilities `[M, K]`; lower is better.

    `brier` is the squared error summed over the classes, halved for two classes (Brier 1950, and
    the usual binary form). `ece` (Guo et al. 2017) compares the confidence in the answered class
    with how often that answer is right, in 15 bins of equal width; `adaptive_ece` (Nguyen and
    O'Connor 2015) in 15 bins of equally many rows.
    """
    rows, classes = probabilities.shape
    truth = np.eye(classes)[labels]
    squared = ((probabilities - truth) ** 2).sum(axis=1) / (2 if classes == 2 else 1)
    likelihood = probabilities[np.arange(rows), labels]
    # A probability of zero for the truth costs 36 nats, as in scikit-learn, and not infinity.
    nll = -np.log(np.maximum(likelihood, np.finfo(np.float64).eps))
    overconfidence = probabilities.max(axis=1) - (answers(probabilities) == labels)
    return {
        "nll": _mean(nll),
        "brier": _mean(squared),
        "ece": _binned_gap(equal_width_bins(probabilities), overconfidence),
        "adaptive_ece": _binned_gap(equal_mass_bins(probabilities), overconfidence),
    }


def answers(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class `[M]`; of equally probable ones the last, so binary from 0.5 on."""
    last = probabilities.shape[1] - 1
    return last - probabilities[:, ::-1].argmax(axis=1)


def equal_width_bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin 0..14 of every row's confidence, upper edges belonging to the lower bin."""
    inner = np.arange(1, ECE_BINS) / ECE_BINS
    return np.searchsorted(inner, probabilities.max(axis=1), side="left")


def equal_mass_bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin 0..14 of every row's confidence, with equally many rows but for equal confidences."""
    confidence = probabilities.max(axis=1)
    inner = np.quantile(confidence, np.arange(1, ECE_BINS) / ECE_BINS)
    return np.searchsorted(inner, confidence, side="left")


def _binned_gap(bins: np.ndarray, overconfidence: np.ndarray) -> Metric:
    gaps = np.eye(ECE_BINS)[bins] * overconfidence[:, None]
    return lambda weights: np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def _mean(values: np.ndarray) -> Metric:
    return lambda weights: weights @ values / weights.sum(axis=1)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where the whole is nothing."""
    return part / np.where(whole == 0, np.nan, whole)
