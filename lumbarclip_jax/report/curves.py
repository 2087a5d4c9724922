"""ROC and precision-recall curves, with bands over resampled patients."""

import dataclasses

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import patient_resamples

GRID = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class Curve:
    """A curve as measured, `x` and `y` `[K]`, and its 95 % band over `GRID`.

    `low` and `high` `[101]` are NaN where no resample says anything.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_curve(labels: np.ndarray, scores: np.ndarray, patient_id: np.ndarray, **bootstrap) -> Curve:
    """Sensitivity against 1 - specificity; the band is vertical.

    Args:
      labels: bool `[M]`.
      scores: `[M]`, higher for a positive.
      patient_id: `[M]`.
      bootstrap: options of `patient_resamples`.
    """

    def points(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        true, false = _answered(labels, scores, weights)
        return _share(false), _share(true)

    return _banded(points, np.interp, patient_id, bootstrap)


def precision_recall_curve(
    labels: np.ndarray, scores: np.ndarray, patient_id: np.ndarray, **bootstrap
) -> Curve:
    """Precision against recall, a step at every score (as average precision sums it)."""

    def points(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        true, false = _answered(labels, scores, weights)
        answered = true + false
        precision = np.divide(true, answered, out=np.ones_like(true), where=answered > 0)
        return _share(true), precision

    def step(x: np.ndarray, recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
        return precision[np.minimum(np.searchsorted(recall, x - 1e-12), len(recall) - 1)]

    return _banded(points, step, patient_id, bootstrap)


def _answered(labels, scores, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of true and of false positives `[R, K]` at every threshold, the strictest first."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    distinct = np.flatnonzero(np.r_[True, descending[1:] != descending[:-1]])
    ordered, positive = weights[:, order], labels[order].astype(np.float64)
    nothing = np.zeros((len(weights), 1))

    def cumulated(part: np.ndarray) -> np.ndarray:
        summed = np.add.reduceat(ordered * part, distinct, axis=1).cumsum(axis=1)
        return np.concatenate([nothing, summed], axis=1)

    return cumulated(positive), cumulated(1 - positive)


def _share(counts: np.ndarray) -> np.ndarray:
    total = counts[:, -1:]
    return counts / np.where(total == 0, np.nan, total)


def _banded(points, between, patient_id: np.ndarray, bootstrap: dict) -> Curve:
    x, y = points(np.ones((1, len(patient_id))))
    drawn = []
    for weights in patient_resamples(patient_id, **bootstrap):
        for xs, ys in zip(*points(weights), strict=True):
            if np.isfinite(xs[-1]) and np.isfinite(ys[-1]):  # both classes were drawn
                drawn.append(between(GRID, xs, ys))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0) if drawn else (np.full(101, np.nan),) * 2
    return Curve(x[0], y[0], low, high)
