"""Classification metrics in weighted form, for all bootstrap resamples at once.

A metric is a function of row weights `[M, R]`, one column a resample, to one value a resample
`[R]`, NaN where the resample leaves it undefined. The definitions are scikit-learn's with
`sample_weight`: 1,000 calls into scikit-learn take seconds a metric, these take milliseconds, with
the resamples side by side in memory so that sorting and summing rows moves whole lines.
"""

from collections.abc import Callable

import numpy as np

from lumbarclip_jax.evaluators import intervals

Metric = Callable[[np.ndarray], np.ndarray]

ECE_BINS = 15

# Of the metrics below, those whose interval is no percentile interval.
INTERVALS = {
    "accuracy": intervals.of_share,
    **{
        f"{name}{calibrated}": intervals.of_error
        for name in ("ece", "adaptive_ece")
        for calibrated in ("", "_calibrated")
    },
}


def ranking_metrics(
    positive: np.ndarray, scores: np.ndarray, level: np.ndarray
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """`auroc`, `average_precision` and, of more than one level, `auroc_within_level`.

    AUROC is the share of (positive, negative) pairs that are ranked right, a tie as half of one;
    within level only pairs of one level count. Average precision is the precision at every
    distinct score, weighted by the recall gained there.

    Args:
      positive: `[M]` bool.
      scores: `[M]`, higher for more likely positive.
      level: `[M]`.
    """
    everywhere = _sums_of_scores(positive, scores, np.zeros(len(scores), np.int64))
    levels, level_of_row = np.unique(level, return_inverse=True)
    by_level = _sums_of_scores(positive, scores, level_of_row)

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        ((positives, negatives),) = everywhere(weights)
        found = {
            "auroc": share(*_ranked_pairs(positives, negatives)),
            "average_precision": _average_precision(positives, negatives),
        }
        if len(levels) > 1:
            pairs = [_ranked_pairs(*sums) for sums in by_level(weights)]
            found["auroc_within_level"] = share(*np.sum(pairs, axis=0))
        return found

    return metrics


def _sums_of_scores(positive: np.ndarray, scores: np.ndarray, group: np.ndarray):
    """Weights `[M, R]` to the summed weights (positives, negatives) of every distinct score.

    There is one such pair `[D, R]` a group, scores ascending.
    """
    order = np.lexsort((scores, group))
    ascending, grouped = scores[order], group[order]
    new_group = np.r_[True, grouped[1:] != grouped[:-1]]
    distinct = np.flatnonzero(new_group | np.r_[True, ascending[1:] != ascending[:-1]])
    borders = np.flatnonzero(new_group[distinct])[1:]
    is_positive = positive[order].astype(np.float64)[:, None]

    def sums(weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        ordered = weights[order]
        total = np.add.reduceat(ordered, distinct, axis=0)
        ordered *= is_positive
        positives = np.add.reduceat(ordered, distinct, axis=0)
        total -= positives
        return list(zip(np.split(positives, borders), np.split(total, borders), strict=True))

    return sums


def _ranked_pairs(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pairs ranked right, all pairs), each `[R]`."""
    below = negatives.cumsum(axis=0)
    all_pairs = positives.sum(axis=0) * below[-1]
    below -= negatives / 2
    return np.einsum("dr,dr->r", positives, below), all_pairs


def _average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    found = positives[::-1].cumsum(axis=0)
    answered = found + negatives[::-1].cumsum(axis=0)
    precision = found / np.where(answered == 0, 1, answered)
    return share(np.einsum("dr,dr->r", positives[::-1], precision), found[-1])


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
    classes = probabilities.shape[1]
    truth = np.eye(classes)[labels]
    squared = ((probabilities - truth) ** 2).sum(axis=1) / (2 if classes == 2 else 1)
    confidence = probabilities.max(axis=1)
    overconfidence = confidence - (answers(probabilities) == labels)
    return {
        "nll": _mean(surprise(probabilities, labels)),
        "brier": _mean(squared),
        "ece": _binned_gap(equal_width_bins(confidence), overconfidence),
        "adaptive_ece": _binned_gap(equal_mass_bins(confidence), overconfidence),
    }


def surprise(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log-likelihood `[M]` of each row's label, in nats.

    A probability of zero for the truth costs 36, as in scikit-learn, and not infinity.
    """
    likelihood = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(likelihood, np.finfo(np.float64).eps))


def answers(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class `[M]`; of equally probable ones the last, so binary from 0.5 on."""
    last = probabilities.shape[1] - 1
    return last - probabilities[:, ::-1].argmax(axis=1)


def equal_width_bins(said: np.ndarray) -> np.ndarray:
    """The bin 0..14 of every probability `[M]`, an edge belonging to the bin below it."""
    return np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, said, side="left")


def equal_mass_bins(said: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """The bin, from 0 on, of every probability `[M]`: equally many in each but for equal ones."""
    edges = np.quantile(said, np.arange(1, bins) / bins)
    return np.searchsorted(edges, said, side="left")


def _binned_gap(bins: np.ndarray, overconfidence: np.ndarray) -> Metric:
    gaps = np.eye(ECE_BINS)[bins] * overconfidence[:, None]
    return lambda weights: np.abs(gaps.T @ weights).sum(axis=0) / weights.sum(axis=0)


def _mean(values: np.ndarray) -> Metric:
    return lambda weights: values @ weights / weights.sum(axis=0)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where the whole is nothing."""
    return part / np.where(whole == 0, np.nan, whole)
