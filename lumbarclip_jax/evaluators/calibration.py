"""Whether probabilities mean what they say, and one number that makes them do so.

Temperature scaling (Guo et al., 2017): the log-probabilities are divided by a temperature, one
scalar fitted by likelihood on the validation split. It leaves every answer as it is.
"""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from lumbarclip_jax.evaluators import class_metrics

# A validation split that is separated perfectly asks for a temperature of zero.
TEMPERATURES = (1e-3, 1e3)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities `[M, K]` whose logarithms are divided by `temperature`, normalised again."""
    return scipy.special.softmax(_logits(probabilities) / temperature, axis=1)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least negative log-likelihood of `labels` `[M]`.

    The likelihood is concave in the inverse temperature, so it has one maximum.

    Args:
      probabilities: `[M, K]` of the validation split, never of the split that is measured.
      labels: `[M]` int.
    """
    logits = _logits(probabilities)
    truth = logits[np.arange(len(labels)), labels]

    def nll(log_inverse: float) -> float:
        inverse = np.exp(log_inverse)
        return float((scipy.special.logsumexp(inverse * logits, axis=1) - inverse * truth).mean())

    bounds = tuple(sorted(-np.log(TEMPERATURES)))
    found = scipy.optimize.minimize_scalar(nll, bounds=bounds, method="bounded")
    return float(np.exp(-found.x))


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, np.finfo(np.float64).eps))


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Points of a reliability diagram, one a bin that is not empty, in ascending order.

    `said` is the mean probability in the bin, `happened` the share of its rows where it came true,
    `rows` their number.
    """

    said: np.ndarray
    happened: np.ndarray
    rows: np.ndarray


def reliability(said: np.ndarray, happened: np.ndarray, *, equal_mass: bool = False) -> Reliability:
    """Groups probabilities `[M]` and what came true `[M]` into 15 bins of equal width or mass.

    For a binary task give the probability of the positive class and whether the row is positive;
    for more classes the confidence in the answer and whether it is right, as ECE does.
    """
    bins = (class_metrics.equal_mass_bins if equal_mass else class_metrics.equal_width_bins)(said)
    rows = np.bincount(bins, minlength=class_metrics.ECE_BINS)
    filled = rows > 0

    def means(values: np.ndarray) -> np.ndarray:
        return np.bincount(bins, weights=values, minlength=len(rows))[filled] / rows[filled]

    return Reliability(means(said), means(happened.astype(np.float64)), rows[filled])
