"""Made-up predictions of classification tasks."""

import numpy as np

from lumbarclip_jax.evaluators.classification import Predictions


def predictions(
    labels, probabilities, *, classes=None, patient_id=None, level=None, ordered=False
) -> Predictions:
    """Predictions from lists; binary ones from the probability of the positive class alone.

    Without patients every row is a patient, without levels all rows have one.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    rows, k = probabilities.shape
    return Predictions(
        classes=tuple(classes or (f"class {i}" for i in range(k))),
        labels=np.asarray(labels),
        probabilities=probabilities,
        patient_id=np.arange(rows).astype(str) if patient_id is None else np.asarray(patient_id),
        level=np.full(rows, "L4-L5") if level is None else np.asarray(level),
        image_id=np.char.add("i", np.arange(rows).astype(str)),
        ordered=ordered,
    )


def binary(seed: int = 0, rows: int = 60) -> Predictions:
    """Correlated scores with many ties, three rows a patient."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size=rows)
    return predictions(
        labels,
        np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1), 1),
        classes=("no", "yes"),
        patient_id=np.repeat(np.arange(rows // 3), 3).astype(str),
        level=np.tile(["L3-L4", "L4-L5", "L5-S1"], rows // 3),
    )


def graded(seed: int = 0, rows: int = 90, k: int = 4) -> Predictions:
    """Grades of `k` steps with a probability that leans towards the truth, with ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, size=rows)
    distance = np.abs(np.arange(k) - labels[:, None])
    odds = np.exp(np.round(rng.normal(size=(rows, k)) - 0.7 * distance, 1))
    return predictions(
        labels,
        odds / odds.sum(axis=1, keepdims=True),
        patient_id=np.repeat(np.arange(rows // 3), 3).astype(str),
        level=np.tile(["L3-L4", "L4-L5", "L5-S1"], rows // 3),
        ordered=True,
    )
