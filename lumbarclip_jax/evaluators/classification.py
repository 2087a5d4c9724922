"""Predictions of a classification task and their metrics."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lumbarclip_jax.evaluators import calibration, class_metrics
from lumbarclip_jax.evaluators.bootstrap import Metrics, estimates
from lumbarclip_jax.evaluators.names import LEVEL_ONLY, path_part


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model said about the M labelled rows of a split, in K classes.

    Of two classes the last is the positive one. With `ordered` the classes are grades. A row is an
    image, or a patient (see `by_patient`).

    Raises:
      ValueError: the arrays do not belong together.
    """

    classes: tuple[str, ...]  # K names
    labels: np.ndarray  # [M] int, index of `classes`
    probabilities: np.ndarray  # [M, K]
    patient_id: np.ndarray  # [M]
    level: np.ndarray  # [M]
    image_id: np.ndarray  # [M]
    ordered: bool = False

    def __post_init__(self):
        rows = len(self.labels)
        columns = (self.patient_id, self.level, self.image_id)
        if self.probabilities.shape != (rows, len(self.classes)) or any(
            len(column) != rows for column in columns
        ):
            raise ValueError(
                f"{rows} labels of {len(self.classes)} classes came with probabilities of shape "
                f"{self.probabilities.shape} and with {', '.join(str(len(c)) for c in columns)} "
                "patients, levels and images: give one row of each to every label"
            )

    @property
    def answers(self) -> np.ndarray:
        """The most probable class `[M]`; of equally probable ones the last, so binary from 0.5."""
        return class_metrics.answers(self.probabilities)

    @property
    def confusion(self) -> np.ndarray:
        """Counts `[K, K]`, rows the truth and columns the answer."""
        k = len(self.classes)
        return np.bincount(k * self.labels + self.answers, minlength=k * k).reshape(k, k)

    @property
    def occurring(self) -> np.ndarray:
        """The classes that are true of some row."""
        return np.unique(self.labels)

    @property
    def metrics(self) -> Metrics:
        """All metrics in weighted form, as the bootstrap wants them.

        `auroc` and `average_precision` are those of the positive class, and for K > 2 the plain
        means over the classes, one against the rest. Means over classes are over those that occur
        in the labels, and NaN on a resample that lacks one.

        `auroc_within_level` compares only images of the same level with each other. How common a
        finding is differs by level, so a model that knows the level alone, from the pixels or from
        the prompt, has an AUROC above 0.5; within levels it has 0.5. It is left out where all rows
        have one level, as patients do. For the rest see `class_metrics`.
        """
        meant = class_metrics.calibration_metrics(self.probabilities, self.labels)
        ranking = self.ranking
        k = len(self.classes)
        cells = np.eye(k * k)[k * self.labels + self.answers]

        def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
            columns = np.ascontiguousarray(weights.T)
            confusion = (weights @ cells).reshape(-1, k, k)
            return {
                **ranking(columns),
                **class_metrics.confusion_metrics(confusion, self.occurring, self.ordered),
                **{name: metric(columns) for name, metric in meant.items()},
            }

        return metrics

    @property
    def ranking(self) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        """Weights `[M, R]` to the metrics of ranking alone, means over the classes."""
        classes = self.occurring if len(self.classes) > 2 else [1]
        ranked = [
            class_metrics.ranking_metrics(self.labels == k, self.probabilities[:, k], self.level)
            for k in classes
        ]

        def means(columns: np.ndarray) -> dict[str, np.ndarray]:
            each = [metrics(columns) for metrics in ranked]
            return {name: np.mean([of[name] for of in each], axis=0) for name in each[0]}

        return means

    @property
    def chance(self) -> dict[str, float]:
        """What a model that looks at nothing reaches.

        For the metrics of answers, one that always gives the most frequent class; for `nll` and
        `brier`, one that always says how frequent each class is. The calibration errors have none.
        """
        frequency = np.bincount(self.labels, minlength=len(self.classes)) / len(self.labels)
        occurring = len(self.occurring)
        majority = frequency.max()
        f1 = 2 * majority / (1 + majority)
        binary = len(self.classes) == 2
        spread = 1 - (frequency**2).sum()
        chance = {
            "auroc": 0.5,
            "auroc_within_level": 0.5,
            "average_precision": frequency[1] if binary else 1 / occurring,
            "accuracy": majority,
            "balanced_accuracy": 1 / occurring,
            "macro_f1": f1 / occurring,
            "weighted_f1": f1 * majority,
            "quadratic_kappa": 0.0,
            "nll": -(frequency * np.log(np.maximum(frequency, 1e-300))).sum(),
            "brier": spread / 2 if binary else spread,
        }
        return {name: float(value) for name, value in chance.items()}

    def by_patient(self) -> "Predictions":
        """One row a patient: the mean probability over the patient's rows, the highest label.

        The highest label is the patient's own where all its rows carry it, "at any level" for a
        binary task of levels, and the worst level for grades. `level` and `image_id` are empty.
        """
        patients, patient_of_row = np.unique(self.patient_id, return_inverse=True)
        sums = np.zeros((len(patients), len(self.classes)))
        np.add.at(sums, patient_of_row, self.probabilities)
        labels = np.zeros(len(patients), np.int64)
        np.maximum.at(labels, patient_of_row, self.labels)
        return dataclasses.replace(
            self,
            labels=labels,
            probabilities=sums / np.bincount(patient_of_row)[:, None],
            patient_id=patients,
            level=np.full(len(patients), ""),
            image_id=np.full(len(patients), ""),
        )

    def named_metrics(
        self,
        prefix: str,
        *,
        level_only: "Predictions | None" = None,
        temperature: float | None = None,
        **bootstrap,
    ) -> Iterator[tuple[str, float]]:
        """Yields every metric with its interval and what stands beside it.

        Args:
          prefix: of the names.
          level_only: what one says who knows the level alone, of the same rows. Adds
            `<metric>_level_only` beside every metric, and `auroc_gain_over_level`, a paired
            difference.
          temperature: the same model's, fitted on the validation split. Adds `temperature`, and
            `nll_calibrated` and the like, those of the tempered probabilities.
          **bootstrap: options of `estimates`.
        """
        own, chance, beside = self.metrics, self.chance, {}
        if level_only is not None:
            beside = level_only.metrics(np.ones((1, len(self.labels))))
            baseline = level_only.ranking
            chance["auroc_gain_over_level"] = 0.0
        if temperature is not None:
            yield f"{prefix}/temperature", temperature
            calibrated = class_metrics.calibration_metrics(
                calibration.tempered(self.probabilities, temperature), self.labels
            )
            chance |= {f"{name}_calibrated": chance[name] for name in calibrated if name in chance}

        def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
            values = own(weights)
            columns = np.ascontiguousarray(weights.T)
            if level_only is not None:
                values["auroc_gain_over_level"] = values["auroc"] - baseline(columns)["auroc"]
            if temperature is not None:
                for name, metric in calibrated.items():
                    values[f"{name}_calibrated"] = metric(columns)
            return values

        found = estimates(metrics, self.patient_id, intervals=class_metrics.INTERVALS, **bootstrap)
        for name, estimate in found.items():
            yield from estimate.named(f"{prefix}/{name}", chance.get(name))
            if name in beside:
                yield f"{prefix}/{name}{LEVEL_ONLY}", float(beside[name][0])


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The rows of all parts, one part after another."""
    arrays: dict[str, Any] = {
        name: np.concatenate([vars(part)[name] for part in parts])
        for name, value in vars(parts[0]).items()
        if isinstance(value, np.ndarray)
    }
    return dataclasses.replace(parts[0], **arrays)


def same_rows(a: Predictions, b: Predictions) -> bool:
    """Whether two predictions are about the same images and the same labels, in the same order."""
    columns = ("labels", "patient_id", "image_id")
    return a.classes == b.classes and all(
        np.array_equal(vars(a)[name], vars(b)[name]) for name in columns
    )


def named_counts(
    prefix: str, labels: np.ndarray, patient_id: np.ndarray, classes: tuple[str, ...]
) -> Iterator[tuple[str, float]]:
    """Yields how many images and patients a task has, and of which classes.

    A binary task has `positives` and `prevalence`, the share of images that are; one of more
    classes `share_<class>`. `labels` `[M]` and `patient_id` `[M]` are of the labelled rows alone,
    possibly none.
    """
    yield f"{prefix}/images", float(len(labels))
    yield f"{prefix}/patients", float(len(np.unique(patient_id)))
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) == 2:
        yield f"{prefix}/positives", float(counts[1])
        if len(labels):
            yield f"{prefix}/prevalence", float(counts[1] / len(labels))
    elif len(labels):
        for name, count in zip(classes, counts, strict=True):
            yield f"{prefix}/share_{path_part(name)}", float(count / len(labels))
