"""Metrics of a model averaged over its seeds, on resampled patients, and differences of two models.

All seeds of all models are measured on the same rows and the same resamples. A difference of two
models is therefore paired, and equals `bootstrap.paired_differences` of them.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import Metrics, patient_resamples
from lumbarclip_jax.evaluators.classification import Predictions, same_rows
from lumbarclip_jax.evaluators.intervals import of_share
from lumbarclip_jax.evaluators.ranking import RECALLS, rank_metrics

TAILS = (0.025, 0.975)
SHARES = (*RECALLS, "accuracy")


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A number with its values on R resamples of the patients, NaN where it is undefined.

    `exact` is the interval of a share that is 0 or 1 of every seed, and so of every resample.
    """

    value: float
    samples: np.ndarray
    of_seed: tuple[float, ...] = ()
    exact: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The exact one, or the middle 95 % of the samples; NaN when there are none."""
        if self.exact:
            return self.exact
        defined = self.samples[~np.isnan(self.samples)]
        low, high = np.quantile(defined, TAILS) if len(defined) else (np.nan, np.nan)
        return float(low), float(high)

    @property
    def seed_deviation(self) -> float:
        """Standard deviation over the seeds, NaN for one."""
        return float(np.std(self.of_seed, ddof=1)) if len(self.of_seed) > 1 else np.nan

    def __sub__(self, other: "Sampled") -> "Sampled":
        return Sampled(self.value - other.value, self.samples - other.samples)

    @property
    def p_value(self) -> float:
        """Of the hypothesis that a difference is zero: twice the share of samples beyond zero.

        The observed difference counts as one sample more (Davison and Hinkley 1997, eq. 4.11), so
        that no p is zero.
        """
        defined = self.samples[~np.isnan(self.samples)]
        beyond = min((defined <= 0).sum(), (defined >= 0).sum())
        return float(min(1.0, 2 * (beyond + 1) / (len(defined) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values (Holm 1979): below a, they reject with a family-wise error of at most a."""
    order = np.argsort(p_values, kind="stable")
    count = len(p_values)
    steps = [p_values[i] * (count - place) for place, i in enumerate(order)]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted.tolist()


def sample_predictions(
    of_seed: Sequence[Predictions], name: str, resamples: int
) -> dict[str, Sampled]:
    """Every metric of a classification, the mean over the seeds; `name` is for errors.

    Raises:
      ValueError: the seeds did not predict the same rows.
    """
    if not all(same_rows(part, of_seed[0]) for part in of_seed):
        raise ValueError(_differing_rows(name))
    return _sample([part.metrics for part in of_seed], of_seed[0].patient_id, resamples)


def sample_ranks(
    of_seed: Sequence[tuple[np.ndarray, np.ndarray]], name: str, resamples: int
) -> dict[str, Sampled]:
    """Every metric of a direction of retrieval, the mean over the seeds; `name` is for errors.

    Args:
      of_seed: the rank of every query `[Q]` and its patient `[Q]`.

    Raises:
      ValueError: the seeds did not rank for the same queries.
    """
    patient_id = of_seed[0][1]
    if not all(np.array_equal(other, patient_id) for _, other in of_seed):
        raise ValueError(_differing_rows(name))
    patients, patient_of_query = np.unique(patient_id, return_inverse=True)
    metrics = [rank_metrics(ranks, patient_of_query) for ranks, _ in of_seed]
    return _sample(metrics, patients, resamples)


def _differing_rows(name: str) -> str:
    return (
        f"{name}: the seeds were measured on different rows, so the data set changed between "
        "them: choose another --out"
    )


def _sample(
    of_seed: Sequence[Metrics], patient_id: np.ndarray, resamples: int
) -> dict[str, Sampled]:
    points = [metrics(np.ones((1, len(patient_id)))) for metrics in of_seed]
    chunks = [
        [metrics(weights) for metrics in of_seed]
        for weights in patient_resamples(patient_id, resamples=resamples)
    ]
    patients = len(np.unique(patient_id))
    sampled = {}
    for name in points[0]:
        values = tuple(float(point[name][0]) for point in points)
        samples = [np.mean([of[name] for of in chunk], axis=0) for chunk in chunks]
        exact = None
        if name in SHARES and set(values) in ({0.0}, {1.0}):
            exact = of_share(values[0], np.empty(0), patients, TAILS)
        sampled[name] = Sampled(float(np.mean(values)), np.concatenate(samples), values, exact)
    return sampled
