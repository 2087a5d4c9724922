"""Linear probe: logistic regression on the frozen image encoder.

The probe is fitted on the training split, its strength of regularisation chosen by log loss on the
validation split, and the evaluated split is looked at once, to be scored. Scaling uses the training
split's mean and deviation. Beside every probe stands one that sees only which disc level the image
shows: level alone predicts these labels better than chance, so a probe has shown something about
the pixels only where it beats that baseline (`auroc_gain_over_level`, a paired difference).
"""

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from lumbarclip_jax.evaluators.bootstrap import paired_differences
from lumbarclip_jax.evaluators.classification import Predictions, named_counts
from lumbarclip_jax.evaluators.tasks import TASKS, UNLABELLED

log = logging.getLogger(__name__)

LEVEL_ONLY = "level_only"

# Inverse strengths of regularisation to choose from, the most regularised first.
STRENGTHS = tuple(10.0**power for power in range(-4, 2))


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """The rows of one split that carry a label for one task."""

    embedded: object
    rows: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, embedded, task: str) -> "LabelledRows":
        labels = TASKS[task].labels(embedded)
        rows = np.flatnonzero(labels != UNLABELLED)
        return cls(embedded, rows, labels[rows])

    @property
    def patient_id(self) -> np.ndarray:
        return self.embedded.patient_id[self.rows]

    @property
    def level(self) -> np.ndarray:
        return self.embedded.level[self.rows]

    def features(self, name: str, levels: np.ndarray) -> np.ndarray:
        """`[M, D]`: an array of the embedded split, or one column a level."""
        if name == LEVEL_ONLY:
            return (self.level[:, None] == levels).astype(np.float32)
        return getattr(self.embedded, name)[self.rows]


def fit_probe(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> Pipeline:
    """Fits on `train` (features `[M, D]`, labels `[M]`) the probe that is best on `validation`.

    Best is the lowest log loss, which unlike AUROC also asks for probabilities that mean something
    at the threshold of 0.5; among equals the most regularised.
    """

    def fitted(strength: float) -> Pipeline:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=10_000))
        return probe.fit(*train)

    def validation_loss(probe: Pipeline) -> float:
        features, labels = validation
        return log_loss(labels, probe.predict_proba(features))

    return min(map(fitted, STRENGTHS), key=validation_loss)


class LinearProbe:
    """Yields `<split>/linear_probe/<task>/<features>/<metric>` and the task's counts.

    `features` are names of `[M, D]` arrays of the embedded split; `level_only` is always added.
    After a run `predictions` maps `<task>/<features>` to its `Predictions`. Without a train and a
    validation split nothing can be fitted: the evaluator logs that and yields nothing.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        tasks: tuple[str, ...] = tuple(TASKS),
        features: tuple[str, ...] = ("image_features",),
        resamples: int = 1000,
        seed: int = 0,
    ):
        self.embedder = embedder
        self.split = split
        self.tasks = tasks
        self.features = features
        self.bootstrap = {"resamples": resamples, "seed": seed}
        self.predictions: dict[str, Predictions] = {}

    def run(self, state) -> Iterator[tuple[str, float]]:
        self.predictions = {}
        missing = {"train", "validation"} - set(self.embedder.splits)
        if missing:
            log.warning(
                "%s/linear_probe skipped: the data set has no %s split to fit the probe on",
                self.split,
                " and no ".join(sorted(missing)),
            )
            return
        splits = [self.embedder(state, name) for name in ("train", "validation", self.split)]
        for task in self.tasks:
            train, validation, test = (LabelledRows.of(split, task) for split in splits)
            prefix = f"{self.split}/linear_probe/{task}"
            yield from named_counts(prefix, test.labels, test.patient_id, TASKS[task].classes)
            if any(len(np.unique(part.labels)) < 2 for part in (train, validation, test)):
                log.warning(
                    "%s skipped: train, validation and %s have %d, %d and %d labelled images, "
                    "of them positive %d, %d and %d; both classes are needed in each",
                    prefix,
                    self.split,
                    *(len(part.labels) for part in (train, validation, test)),
                    *(part.labels.sum() for part in (train, validation, test)),
                )
                continue
            yield from self._probes(task, train, validation, test)

    def _probes(
        self, task: str, train: LabelledRows, validation: LabelledRows, test: LabelledRows
    ) -> Iterator[tuple[str, float]]:
        levels = np.unique(train.embedded.level)
        for name in (LEVEL_ONLY, *self.features):
            probe = fit_probe(
                (train.features(name, levels), train.labels),
                (validation.features(name, levels), validation.labels),
            )
            predicted = Predictions(
                classes=TASKS[task].classes,
                labels=test.labels,
                probabilities=probe.predict_proba(test.features(name, levels)),
                patient_id=test.patient_id,
                level=test.level,
                image_id=test.embedded.image_id[test.rows],
            )
            self.predictions[f"{task}/{name}"] = predicted
            prefix = f"{self.split}/linear_probe/{task}/{name}"
            yield f"{prefix}/c", float(probe[-1].C)
            yield from predicted.named_metrics(prefix, **self.bootstrap)
            if name != LEVEL_ONLY:
                baseline = self.predictions[f"{task}/{LEVEL_ONLY}"]
                gains = paired_differences(
                    predicted.metrics, baseline.metrics, test.patient_id, **self.bootstrap
                )
                yield from gains["auroc"].named(f"{prefix}/auroc_gain_over_level", chance=0.0)
