"""Confidence intervals by resampling patients.

The slices of one patient and the levels of one report are not independent, so rows are never
resampled on their own: patients are drawn with replacement and bring all their rows along
(cluster bootstrap). A resample is a vector of row weights, how often each row's patient was drawn,
and a metric is a function of those weights:

    metrics(weights [R, M]) -> {name: values [R]},   NaN where a resample leaves it undefined

Writing metrics in weighted form computes all resamples in a few array operations, and two metrics
on the same rows see the same resamples, which is what makes a paired difference paired.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from lumbarclip_jax.evaluators.intervals import Interval, of_sum, percentile
from lumbarclip_jax.evaluators.names import CHANCE, HIGH, LOW

Metrics = Callable[[np.ndarray], dict[str, np.ndarray]]

# Weights of at most this many elements at once: 32 MB of float64, whatever the number of rows.
CHUNK_ELEMENTS = 2**22


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A metric on the whole split with its interval over resampled patients.

    `resamples` counts the resamples on which the metric was defined, for instance those that hold
    both classes.
    """

    value: float
    low: float
    high: float
    resamples: int

    def scaled(self, factor: float) -> "Estimate":
        """The same times a number; times a negative one its ends change sides."""
        ends = factor * self.low, factor * self.high
        return Estimate(factor * self.value, min(ends), max(ends), self.resamples)

    def widened(self, terms: Sequence["Estimate"]) -> "Estimate":
        """With an interval that also holds the one of the sum of `terms`, which it is."""
        low, high = of_sum([(term.value, term.low, term.high) for term in terms])
        return dataclasses.replace(
            self, low=float(np.fmin(self.low, low)), high=float(np.fmax(self.high, high))
        )

    def named(self, name: str, chance: float | None = None) -> Iterator[tuple[str, float]]:
        """Yields the number, its interval and, when given, its chance level under their names."""
        yield name, self.value
        yield f"{name}{LOW}", self.low
        yield f"{name}{HIGH}", self.high
        if chance is not None:
            yield f"{name}{CHANCE}", float(chance)


def patient_resamples(
    patient_id: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yields row weights `[r, M]` float64, `resamples` rows in all; the same for the same ids."""
    patients, patient_of_row = np.unique(patient_id, return_inverse=True)
    rng = np.random.default_rng(seed)
    per_chunk = max(1, CHUNK_ELEMENTS // len(patient_id))
    for start in range(0, resamples, per_chunk):
        count = min(per_chunk, resamples - start)
        drawn = rng.integers(len(patients), size=(count, len(patients)))
        cells = drawn + len(patients) * np.arange(count)[:, None]
        times = np.bincount(cells.ravel(), minlength=count * len(patients))
        yield times.reshape(count, len(patients))[:, patient_of_row].astype(np.float64)


def patient_means(
    columns: Mapping[str, np.ndarray], patient_of_row: np.ndarray, patients: int = 0
) -> Metrics:
    """The plain mean over rows of every column `[M]`, as a function of the weights of patients.

    Each patient's rows are summed once, so a resample costs as much as there are patients, not
    rows. Resample with one id a patient.

    Args:
      columns: named values `[M]`; rows that are NaN are left out of the mean.
      patient_of_row: `[M]` in 0..P-1.
      patients: P, where the last of them have no row.

    Returns:
      weights `[R, P]` to named means `[R]`.
    """
    sums, counts = [], []
    for values in columns.values():
        defined = ~np.isnan(values)
        sums.append(np.bincount(patient_of_row, np.where(defined, values, 0), patients))
        counts.append(np.bincount(patient_of_row, defined, patients))
    table = np.stack([*sums, *counts], axis=1)

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        drawn_sums, drawn = np.split(weights @ table, 2, axis=1)
        means = drawn_sums / np.where(drawn == 0, np.nan, drawn)
        return dict(zip(columns, means.T, strict=True))

    return metrics


def together(*parts: Metrics) -> Metrics:
    """Several metrics as one, to be computed on the same resamples."""

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values for part in parts for name, values in part(weights).items()}

    return metrics


def estimates(
    metrics: Metrics,
    patient_id: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    intervals: Mapping[str, Interval] | None = None,
) -> dict[str, Estimate]:
    """Each metric on all rows, with its interval over resampled patients.

    Args:
      metrics: weights `[R, M]` to named values `[R]`.
      patient_id: `[M]`, the patient of every row.
      resamples: how many; resamples on which a metric is NaN are left out of its interval.
      seed: of the resampling.
      confidence: mass of the interval.
      intervals: for the metrics of these names another interval than percentiles, of `intervals`.
    """
    intervals = intervals or {}
    point = metrics(np.ones((1, len(patient_id))))
    parts = [
        metrics(weights)
        for weights in patient_resamples(patient_id, resamples=resamples, seed=seed)
    ]
    tail = (1 - confidence) / 2
    patients = len(np.unique(patient_id))
    result = {}
    for name, value in point.items():
        values = np.concatenate([part[name] for part in parts])
        values = values[~np.isnan(values)]
        of_all = float(value[0])
        low, high = intervals.get(name, percentile)(of_all, values, patients, (tail, 1 - tail))
        result[name] = Estimate(of_all, low, high, len(values))
    return result


def paired_differences(
    metrics_a: Metrics, metrics_b: Metrics, patient_id: np.ndarray, **options
) -> dict[str, Estimate]:
    """Estimates of `a - b` for every metric both give, on the same rows and the same resamples.

    An interval that excludes 0 says that the two differ. `options` are those of `estimates`.
    """

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = metrics_a(weights), metrics_b(weights)
        return {name: a[name] - b[name] for name in a.keys() & b.keys()}

    return estimates(difference, patient_id, **options)
