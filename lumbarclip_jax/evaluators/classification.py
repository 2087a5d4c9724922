"""Predictions of a binary task and their metrics.

The metrics are scikit-learn's definitions with sample weights (`roc_auc_score`, `accuracy_score`,
`balanced_accuracy_score`, `f1_score(average="macro")`), computed for all bootstrap resamples at
once: 1,000 calls into scikit-learn take seconds a metric, these take milliseconds.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import Metrics, estimates


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model said about the labelled rows of a split.

    `labels` `[M]` int index `classes`; `probabilities` `[M]` are those of `classes[1]`, which is
    answered from 0.5 on; `patient_id` and `level` `[M]`.
    """

    classes: tuple[str, str]
    labels: np.ndarray
    probabilities: np.ndarray
    patient_id: np.ndarray
    level: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        return (self.probabilities >= 0.5).astype(np.int64)

    @property
    def confusion(self) -> np.ndarray:
        """Counts `[2, 2]`, rows the truth and columns the answer."""
        return np.bincount(2 * self.labels + self.answers, minlength=4).reshape(2, 2)

    @property
    def metrics(self) -> Metrics:
        """`auroc`, `auroc_within_level`, `accuracy`, `balanced_accuracy`, `macro_f1`, weighted.

        `auroc_within_level` compares only images of the same level with each other. How common a
        finding is differs by level, so a model that knows the level alone, from the pixels or from
        the prompt, has an AUROC above 0.5; within levels it has 0.5. `macro_f1` is the plain mean
        of both classes' F1. All but accuracy are NaN on a resample that lacks a class.
        """
        everywhere = _ranked_pairs(self.labels, self.probabilities, np.arange(len(self.labels)))
        by_level = [
            _ranked_pairs(self.labels, self.probabilities, np.flatnonzero(self.level == level))
            for level in np.unique(self.level)
        ]
        cells = np.eye(4)[2 * self.labels + self.answers]

        def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
            within_level = np.sum([count(weights) for count in by_level], axis=0)
            confusion = (weights @ cells).reshape(-1, 2, 2)
            true, answered = confusion.sum(axis=2), confusion.sum(axis=1)
            right = np.diagonal(confusion, axis1=1, axis2=2)
            lacking = (true == 0).any(axis=1)
            true = np.where(lacking[:, None], np.nan, true)
            return {
                "auroc": _share(*everywhere(weights)),
                "auroc_within_level": _share(*within_level),
                "accuracy": right.sum(axis=1) / weights.sum(axis=1),
                "balanced_accuracy": (right / true).mean(axis=1),
                "macro_f1": (2 * right / (true + answered)).mean(axis=1),
            }

        return metrics

    @property
    def chance(self) -> dict[str, float]:
        """What always answering the more frequent class reaches; 0.5 for both AUROCs."""
        majority = max(np.mean(self.labels), 1 - np.mean(self.labels))
        return {
            "auroc": 0.5,
            "auroc_within_level": 0.5,
            "accuracy": float(majority),
            "balanced_accuracy": 0.5,
            "macro_f1": float(majority / (1 + majority)),
        }

    def named_metrics(self, prefix: str, **bootstrap) -> Iterator[tuple[str, float]]:
        """Yields every metric with interval and chance; `bootstrap` are options of `estimates`."""
        for name, estimate in estimates(self.metrics, self.patient_id, **bootstrap).items():
            yield from estimate.named(f"{prefix}/{name}", self.chance[name])


def _ranked_pairs(
    labels: np.ndarray, scores: np.ndarray, rows: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Counts pairs of a positive and a negative among `rows`, whose ratio is the AUROC.

    Returns:
      weights `[R, M]` to (pairs ranked right, a tie as half of one, and all pairs), each `[R]`.
    """
    order = rows[np.argsort(scores[rows])]
    ascending = scores[order]
    distinct = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
    positive = (labels[order] == 1).astype(np.float64)

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * positive, distinct, axis=1)
        negatives = np.add.reduceat(ordered * (1 - positive), distinct, axis=1)
        below = negatives.cumsum(axis=1) - negatives / 2
        return (positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1)

    return count


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.where(whole == 0, np.nan, whole)


def named_counts(
    prefix: str, labels: np.ndarray, patient_id: np.ndarray
) -> Iterator[tuple[str, float]]:
    """Yields how many images, patients and positives a task has; `prevalence` of what is labelled.

    `labels` `[M]` and `patient_id` `[M]` of the labelled rows alone, possibly none.
    """
    yield f"{prefix}/images", float(len(labels))
    yield f"{prefix}/patients", float(len(np.unique(patient_id)))
    yield f"{prefix}/positives", float(labels.sum())
    if len(labels):
        yield f"{prefix}/prevalence", float(labels.mean())
