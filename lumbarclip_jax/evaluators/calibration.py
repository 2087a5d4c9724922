"""Whether probabilities mean what they say, and one number that makes them do so.

Temperature scaling (Guo et al., 2017): the log-probabilities are divided by a temperature, one
scalar fitted by likelihood on the validation split. It leaves every answer as it is.
"""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from lumbarclip_jax.evaluators import class_metrics, intervals
from lumbarclip_jax.evaluators.bootstrap import patient_resamples

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
    """Points of a reliability diagram, one for each of the B bins that are not empty, ascending.

    `low` and `high` are the 95 % interval of `happened` over resampled patients, as `intervals`
    makes it of a share: a bin where it never happened has one too.
    """

    said: np.ndarray  # [B] mean probability
    happened: np.ndarray  # [B] share of the rows where it came true
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray  # [B] how many there are


def reliability(
    said: np.ndarray, happened: np.ndarray, patient_id: np.ndarray, *, bins: int = 8, **bootstrap
) -> Reliability:
    """What was said against what came true, in bins of equally many rows but for equal ones.

    For a binary task give the probability of the positive class and whether the row is positive;
    for more classes the confidence in the answer and whether it is right, as ECE does.

    Args:
      said: probabilities `[M]`.
      happened: bool `[M]`.
      patient_id: `[M]`.
      bins: at most so many, fewer than ECE has: each is drawn with an interval of its own.
      **bootstrap: options of `patient_resamples`.
    """
    member = np.eye(bins)[class_metrics.equal_mass_bins(said, bins)]
    member = member[:, member.any(axis=0)]
    rows = member.sum(axis=0)
    came_true = happened[:, None] * member

    def share(weights: np.ndarray) -> np.ndarray:
        return class_metrics.share(weights @ came_true, weights @ member)

    drawn = np.concatenate([share(w) for w in patient_resamples(patient_id, **bootstrap)])
    shares = came_true.sum(axis=0) / rows
    low, high = np.transpose(
        [
            intervals.of_share(
                shares[b],
                drawn[~np.isnan(drawn[:, b]), b],
                len(np.unique(patient_id[member[:, b] > 0])),
                (0.025, 0.975),
            )
            for b in range(len(rows))
        ]
    )
    return Reliability(said @ member / rows, shares, low, high, rows)
