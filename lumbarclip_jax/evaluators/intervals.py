"""Intervals from the values of a metric on resampled patients.

Percentiles of those values (Efron 1979) serve most metrics. They fail two kinds: errors that every
resample makes larger, and shares of which there is little to resample.
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats

# (value on all rows, defined values on the resamples [R], patients, the two quantiles) -> interval.
Interval = Callable[[float, np.ndarray, int, tuple[float, float]], tuple[float, float]]


def percentile(
    value: float, resampled: np.ndarray, patients: int, tails: tuple[float, float]
) -> tuple[float, float]:
    """The middle of the resampled values; NaN when there are none."""
    if not len(resampled):
        return np.nan, np.nan
    low, high = np.quantile(resampled, tails)
    return float(low), float(high)


def of_error(
    value: float, resampled: np.ndarray, patients: int, tails: tuple[float, float]
) -> tuple[float, float]:
    """The basic bootstrap interval of an error with an upward bias, such as a calibration error.

    A calibration error is a mean of absolute values, so noise of the few rows in a bin makes it
    larger, and a resample, which has fewer different rows, larger once more: percentiles may all
    lie above the value itself. The basic interval (Davison and Hinkley 1997, section 5.2.1) takes
    the distance of the resamples from the value for that of the value from the truth, and turns it
    round: `[2 value - high, 2 value - low]`. Kumar, Liang and Ma (2019, arXiv 1909.10155) do so for
    calibration errors in their code. It ends at 0, which no error is below, and is widened to the
    value where the bias is larger than the spread.

    In 200 simulated cohorts of 82 patients with three images each it missed a true error of 0.061
    in 9 %, where percentiles missed it in 42 %. Of a model that is calibrated almost perfectly (a
    true error of 0.002) it still missed it in 33 %, always from above, and percentiles in all: a
    low end a little above 0 is no proof that a model is not calibrated.
    """
    low, high = percentile(value, resampled, patients, tails)
    low, high = max(2 * value - high, 0.0), 2 * value - low
    return min(low, value), max(high, value)


def of_share(
    value: float, resampled: np.ndarray, patients: int, tails: tuple[float, float]
) -> tuple[float, float]:
    """An interval of a share of rows, exact where percentiles end at 0 or at 1.

    Of 0 hits every resample has 0, and percentiles would claim to know the share exactly; of hits
    in one to three patients more than 2.5 % of the resamples still have none. There the interval is
    that of Clopper and Pearson (1934), widened to the percentiles where those reach further. Its
    trials are the patients, not the rows: it assumes that patients are independent, that they weigh
    about alike, and, as the worst case, that all rows of a patient are right or wrong together.
    Rows that agree less within a patient tell more, and the interval is then wider than it need be.
    Hits are then `value * patients`, not always a whole number, with which the beta quantiles work
    as well (Korn and Graubard 1998, with the number of patients for the effective sample size).

    In 300 simulated cohorts of 40 patients with three rows each it missed a true share of 0.02 in
    0.7 % at most, where percentiles missed it in 10 % (rows of a patient independent) to 44 %
    (always alike); of 82 patients in 2.3 % and 5 to 18 %.
    """
    low, high = percentile(value, resampled, patients, tails)
    if np.isnan(value) or (low > 0 and high < 1):
        return low, high
    hits = value * patients
    misses = patients - hits
    beta = scipy.stats.beta.ppf
    exact_low = float(beta(tails[0], hits, misses + 1)) if hits > 0 else 0.0
    exact_high = float(beta(tails[1], hits + 1, misses)) if misses > 0 else 1.0
    return float(np.fmin(low, exact_low)), float(np.fmax(high, exact_high))


def of_sum(terms: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The interval of a sum of independent estimates from theirs, each `(value, low, high)`.

    Distances to the ends add up as deviations do (Zou and Donner 2008, "MOVER"), each side for
    itself, so that the exact interval of a share near 0 or 1 counts in a sum as it does alone.
    """
    value, low, high = np.array(terms, np.float64).T
    total = value.sum()
    below, above = np.sqrt(np.square([value - low, high - value]).sum(axis=1))
    return float(total - below), float(total + above)
