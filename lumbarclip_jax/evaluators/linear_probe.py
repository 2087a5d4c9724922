"""Linear probe: logistic regression, multinomial for more classes, on the frozen image encoder.

The probe is fitted on the training split, its strength of regularisation and its temperature chosen
by log loss on the validation split, both before the measured split is looked at, which happens
once, to be scored. Scaling uses the training split's mean and deviation.
"""

import dataclasses
import logging
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from lumbarclip_jax.data.tasks import FINDINGS
from lumbarclip_jax.evaluators import class_metrics
from lumbarclip_jax.evaluators.classification import named_counts
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.task_rows import (
    LabelledRows,
    can_fit,
    level_counts,
    level_only,
    warn_of_skipped,
)
from lumbarclip_jax.evaluators.task_scores import (
    by_unit,
    fit_temperatures,
    named_means,
    named_scores,
)

log = logging.getLogger(__name__)

LEVEL_ONLY = "level_only"

# Inverse strengths of regularisation to choose from, the most regularised first.
STRENGTHS = tuple(10.0**power for power in range(-4, 2))
MAX_ITERATIONS = 10_000

# Labelled features: `[M, D]` and class indices `[M]`.
Labelled = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Probe:
    """A fitted probe of `classes` classes, of which its training rows may have lacked some.

    One that has not `converged` stopped at the limit of its solver, short of the optimum.
    """

    pipeline: Pipeline
    classes: int
    converged: bool = True

    @property
    def strength(self) -> float:
        return self.pipeline[-1].C

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities `[M, K]` of features `[M, D]`."""
        probabilities = np.zeros((len(features), self.classes))
        probabilities[:, self.pipeline.classes_] = self.pipeline.predict_proba(features)
        return probabilities

    def log_loss(self, features: np.ndarray, labels: np.ndarray) -> float:
        return float(class_metrics.surprise(self(features), labels).mean())


# On busy cores BLAS threads that wait for each other make problems this small ten times slower.
on_one_thread = threadpool_limits.wrap(limits=1, user_api="blas")


@on_one_thread
def fit_probe(train: Labelled, validation: Labelled, classes: int) -> Probe:
    """Fits on `train` the probe that is best on `validation`.

    Best is the lowest log loss, which unlike AUROC also asks for probabilities that mean something;
    among equals the most regularised.
    """

    features, labels = train
    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    probes = (fit_scaled(scaler, scaled, labels, strength, classes) for strength in STRENGTHS)
    best = min(probes, key=lambda probe: probe.log_loss(*validation))
    warn_of_unconverged([best], len(labels))
    return best


def fit_scaled(
    scaler: StandardScaler, scaled: np.ndarray, labels: np.ndarray, strength: float, classes: int
) -> Probe:
    """Fits on features that `scaler` has scaled, and says by `converged` what came of it."""
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(scaled, labels)
    stopped = [warning for warning in said if issubclass(warning.category, ConvergenceWarning)]
    for other in said:
        if other not in stopped:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return Probe(make_pipeline(scaler, model), classes, converged=not stopped)


def warn_of_unconverged(probes: Iterable[Probe], examples: int) -> None:
    """Logs in one line that some of the chosen probes, fitted on `examples`, did not converge."""
    probes = list(probes)
    if stopped := [probe for probe in probes if not probe.converged]:
        log.warning(
            "%d of %d probes of %d features, fitted on %d examples, stopped before the solver had "
            "converged (C=%g): they are measured as they are",
            len(stopped),
            len(probes),
            stopped[0].pipeline.n_features_in_,
            examples,
            stopped[0].strength,
        )


class LinearProbe:
    """Finds `<split>/linear_probe/<task>/<features>/<metric>` and the task's counts.

    `features` are names of `[M, D]` arrays of the embedded split. Metrics are those of
    `Predictions.named_metrics`, the baseline of level alone beside them and, for tasks of images,
    as `<task>/level_only` with intervals; main tasks of images are also measured by patient, under
    `<features>/by_patient`. Findings have their mean in `findings/<features>/macro_auroc`.

    What was said is kept as `<task>/<features>`, the same `.../by_patient` and
    `<task>/level_only`. Without a train and a validation split nothing can be
    fitted: the evaluator logs that and finds nothing. Where no `tasks` are named they are all of
    the data set.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        tasks: tuple[str, ...] | None = None,
        features: tuple[str, ...] = ("image_features",),
        resamples: int = 1000,
        seed: int = 0,
    ):
        self.embedder = embedder
        self.split = split
        self.tasks = tasks
        self.features = features
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        kept = Kept()
        return dict(self._numbers(state, kept)), kept

    def _numbers(self, state, kept: Kept) -> Iterator[tuple[str, float]]:
        if not can_fit(f"{self.split}/linear_probe", self.embedder.splits):
            return
        fitting = [self.embedder(state, name) for name in ("train", "validation")]
        tasks = tuple(fitting[0].tasks) if self.tasks is None else self.tasks
        known = {
            task: [LabelledRows.of(part, part.tasks[task]) for part in fitting] for task in tasks
        }
        probes = {task: self._fit(*known[task]) for task in tasks}
        measured = self.embedder(state, self.split)
        skipped = {}
        for name in tasks:
            task = measured.tasks[name]
            rows = LabelledRows.of(measured, task)
            train, validation = known[name]
            prefix = f"{self.split}/linear_probe/{name}"
            yield from named_counts(prefix, rows.labels, rows.patient_id, task.classes)
            if probes[name] and rows.suffice:
                yield from self._measure(prefix, probes[name], train, validation, rows, kept)
            else:
                skipped[name] = {"train": train, "validation": validation, self.split: rows}
        warn_of_skipped(f"{self.split}/linear_probe", len(tasks), skipped)
        if set(tasks) & set(FINDINGS):
            for name in self.features:
                prefix = f"{self.split}/linear_probe"
                answered = {task: kept.predictions.get(f"{prefix}/{task}/{name}") for task in tasks}
                yield from named_means(
                    f"{prefix}/findings/{name}",
                    {task: predicted for task, predicted in answered.items() if predicted},
                    **self.bootstrap,
                )

    def _fit(self, train: LabelledRows, validation: LabelledRows) -> dict[str, Probe]:
        """A probe for each kind of features; none where there is too little to learn from."""
        if not train.suffice or not len(validation):
            return {}
        return {
            name: fit_probe(
                (train.features(name), train.labels),
                (validation.features(name), validation.labels),
                len(train.task.classes),
            )
            for name in self.features
        }

    def _measure(
        self,
        prefix: str,
        probes: dict[str, Probe],
        train: LabelledRows,
        validation: LabelledRows,
        rows: LabelledRows,
        kept: Kept,
    ) -> Iterator[tuple[str, float]]:
        task = rows.task
        baseline = level_only(level_counts(train), rows)
        if task.unit == "image":
            kept.predictions[f"{prefix}/{LEVEL_ONLY}"] = baseline
            yield from baseline.named_metrics(f"{prefix}/{LEVEL_ONLY}", **self.bootstrap)
        for name, probe in probes.items():
            predicted = rows.predicted(probe(rows.features(name)))
            calibrating = validation.predicted(probe(validation.features(name)))
            for unit, answered in by_unit(task, predicted).items():
                kept.predictions[f"{prefix}/{name}{unit}"] = answered
            yield f"{prefix}/{name}/c", probe.strength
            yield from named_scores(
                f"{prefix}/{name}",
                task,
                predicted,
                level_only=baseline,
                temperatures=fit_temperatures(task, calibrating),
                **self.bootstrap,
            )
