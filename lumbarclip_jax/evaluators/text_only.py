"""How far the wording of a report alone tells it from its variants: a baseline that sees no image.

A pairwise logistic regression (Bradley-Terry) on the counts of words and pairs of words, and on the
length: of two texts the one of the higher score is called the report. It is fitted on the pairs of
the train split, its strength of regularisation chosen by log loss on those of validation.
"""

import itertools
import logging
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from lumbarclip_jax.evaluators.linear_probe import MAX_ITERATIONS, STRENGTHS, on_one_thread

log = logging.getLogger(__name__)

# "L4-L5" is one word; a pair catches "no bulge".
WORD = r"\w+(?:[-/']\w+)*"
WORDS_OF_LENGTH = 10  # the unit of length, which puts it on the scale of counts


@on_one_thread
def fit_text_only(
    train: Sequence[Sequence[str]], validation: Sequence[Sequence[str]]
) -> Callable[[Sequence[str]], np.ndarray] | None:
    """Fits a score of texts that puts them in order.

    Args:
      train: texts in their order, the one that should score highest first; every two of them are a
        pair.
      validation: likewise.

    Returns:
      K texts to their scores `[K]`; None where one of both has no texts.
    """
    if not train or not validation:
        return None
    words = CountVectorizer(token_pattern=WORD, ngram_range=(1, 2))
    words.fit(text for texts in train for text in texts)

    def features(texts: Sequence[str]) -> scipy.sparse.csr_matrix:
        length = np.array([[len(text.split()) / WORDS_OF_LENGTH] for text in texts])
        return scipy.sparse.csr_matrix(scipy.sparse.hstack([words.transform(texts), length]))

    def differences(of: Sequence[Sequence[str]]) -> scipy.sparse.csr_matrix:
        higher, lower = zip(
            *(p for texts in of for p in itertools.combinations(texts, 2)), strict=True
        )
        return features(higher) - features(lower)

    pairs = differences(train)
    # Each pair both ways round, so that no intercept is needed and both classes occur.
    both, labels = scipy.sparse.vstack([pairs, -pairs]), np.repeat([1, 0], pairs.shape[0])
    held_out = differences(validation)

    def fitted(strength: float) -> LogisticRegression:
        model = LogisticRegression(C=strength, fit_intercept=False, max_iter=MAX_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(both, labels)

    def loss(model: LogisticRegression) -> float:
        return float(np.logaddexp(0, -model.decision_function(held_out)).mean())

    models = {strength: fitted(strength) for strength in STRENGTHS}
    strength, best = min(models.items(), key=lambda found: loss(found[1]))
    if best.n_iter_.max() >= MAX_ITERATIONS:
        log.warning("the text-only baseline stopped before it had converged (C=%g)", strength)
    return lambda texts: features(texts) @ best.coef_[0]
