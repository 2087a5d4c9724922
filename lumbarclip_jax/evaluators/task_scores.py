"""The numbers of a task, whichever evaluator answered it."""

from collections.abc import Iterator, Mapping

import numpy as np

from lumbarclip_jax.data.tasks import FINDINGS, Task
from lumbarclip_jax.evaluators import calibration
from lumbarclip_jax.evaluators.bootstrap import estimates
from lumbarclip_jax.evaluators.classification import Predictions

BY_PATIENT = "by_patient"


def by_unit(task: Task, predicted: Predictions) -> dict[str, Predictions]:
    """Predictions about images, aggregated as the task asks: by name below the task's own.

    A task of patients is answered by patient alone, under no further name; a task of images also by
    patient, but for the findings one by one.
    """
    if task.unit == "patient":
        return {"": predicted.by_patient()}
    if task.name in FINDINGS:
        return {"": predicted}
    return {"": predicted, f"/{BY_PATIENT}": predicted.by_patient()}


def fit_temperatures(task: Task, validation: Predictions) -> dict[str, float]:
    """The temperature of each unit of `by_unit`, fitted on answers about the validation split."""
    return {
        unit: calibration.fit_temperature(answered.probabilities, answered.labels)
        for unit, answered in by_unit(task, validation).items()
    }


def named_scores(
    prefix: str,
    task: Task,
    predicted: Predictions,
    *,
    level_only: Predictions | None,
    temperatures: Mapping[str, float],
    **bootstrap,
) -> Iterator[tuple[str, float]]:
    """Yields the metrics of predictions about images, aggregated by unit.

    Args:
      prefix: of the names.
      task: what was asked.
      predicted: the answers on the measured split.
      level_only: the baseline's, of the same rows; see `Predictions.named_metrics`.
      temperatures: the same model's, as of `fit_temperatures`; none leaves calibration out.
      **bootstrap: options of `estimates`.
    """
    baselines = {} if level_only is None else by_unit(task, level_only)
    for unit, answered in by_unit(task, predicted).items():
        yield from answered.named_metrics(
            prefix + unit,
            level_only=baselines.get(unit),
            temperature=temperatures.get(unit),
            **bootstrap,
        )


def named_means(
    prefix: str, predicted: Mapping[str, Predictions], **bootstrap
) -> Iterator[tuple[str, float]]:
    """Yields `macro_auroc` and `macro_average_precision`, plain means over the findings measured.

    Intervals resample the patients of all findings together; a resample on which one finding is
    undefined is left out. `findings` counts them.

    Args:
      prefix: of the names.
      predicted: what was said about each task, by name; only findings are taken.
      **bootstrap: options of `estimates`.
    """
    findings = [predicted[name] for name in FINDINGS if name in predicted]
    yield f"{prefix}/findings", float(len(findings))
    if not findings:
        return
    patients = np.unique(np.concatenate([finding.patient_id for finding in findings]))
    rows = [np.searchsorted(patients, finding.patient_id) for finding in findings]
    rankings = [finding.ranking for finding in findings]

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        columns = np.ascontiguousarray(weights.T)
        each = [ranking(columns[of]) for ranking, of in zip(rankings, rows, strict=True)]
        return {
            f"macro_{name}": np.mean([values[name] for values in each], axis=0)
            for name in ("auroc", "average_precision")
        }

    for name, estimate in estimates(metrics, patients, **bootstrap).items():
        chance = float(
            np.mean([finding.chance[name.removeprefix("macro_")] for finding in findings])
        )
        yield from estimate.named(f"{prefix}/{name}", chance)
