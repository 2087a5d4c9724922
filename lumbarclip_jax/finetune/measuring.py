"""What a classifier reaches on a split, alone or pooled over the folds of a cohort."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.data.tasks import Task
from lumbarclip_jax.evaluators.classification import Predictions, joined, named_counts
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.task_rows import level_counts, level_only
from lumbarclip_jax.evaluators.task_scores import by_unit, fit_temperatures, named_scores
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.training import Classifier


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What measuring a classifier needs of the splits it was made from; JSON, to be kept with it.

    `level_counts` are training images of every class by task and level, for the baseline of level
    alone; `temperatures`, by "<task>" and "<task>/by_patient", were fitted on validation.
    """

    level_counts: dict[str, dict[str, list[int]]]
    temperatures: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Answers:
    """Of one task, or of one task in one fold: what was said, and what the level alone says."""

    measured: Predictions
    level_only: Predictions
    temperatures: dict[str, float]  # by unit; none of several folds, each has its own


def measured(
    name: str, split: str, answers: dict[Task, Answers], **bootstrap
) -> tuple[dict[str, float], Kept]:
    """What an evaluator called `name` would return: numbers, and the answers behind them."""
    metrics, kept = {}, Kept()
    for task, answer in answers.items():
        prefix, said = f"{split}/{name}/{task.name}", answer.measured
        metrics.update(named_counts(prefix, said.labels, said.patient_id, task.classes))
        metrics.update(
            named_scores(
                prefix,
                task,
                said,
                level_only=answer.level_only,
                temperatures=answer.temperatures,
                **bootstrap,
            )
        )
        of_units = by_unit(task, said).items()
        kept.predictions.update({f"{prefix}{unit}": predicted for unit, predicted in of_units})
    return metrics, kept


def fitted(classifier: Classifier, train_examples: Examples, validation: Examples) -> Fitted:
    """Counts what was trained on, and calibrates on the validation split."""
    said = classifier(validation)
    return Fitted(
        {task.name: level_counts(train_examples.labelled(task)) for task in validation.tasks},
        {
            f"{task.name}{unit}": temperature
            for task in validation.tasks
            for unit, temperature in fit_temperatures(
                task, validation.predictions(task, said[task.name])
            ).items()
        },
    )


def answers(classifier: Classifier, fitted: Fitted, measured: Examples) -> dict[Task, Answers]:
    """What a classifier says of the measured images, task by task."""
    said, found = classifier(measured), {}
    for task in measured.tasks:
        predicted = measured.predictions(task, said[task.name])
        found[task] = Answers(
            predicted,
            level_only(fitted.level_counts[task.name], measured.labelled(task)),
            {unit: fitted.temperatures[f"{task.name}{unit}"] for unit in by_unit(task, predicted)},
        )
    return found


def pooled(folds: Sequence[dict[Task, Answers]]) -> dict[Task, Answers]:
    """The answers of all folds, each by its own classifier, as one set.

    A temperature is not pooled: the validation patients of one fold are tested in another.

    Raises:
      ValueError: two folds measure the same image.
    """
    for task in folds[0]:
        images = np.concatenate([fold[task].measured.image_id for fold in folds])
        if len(np.unique(images)) < len(images):
            raise ValueError(
                "an image is measured by two folds: name one run of each fold, of the same folds"
            )
    return {
        task: Answers(
            measured=joined([fold[task].measured for fold in folds]),
            level_only=joined([fold[task].level_only for fold in folds]),
            temperatures={},
        )
        for task in folds[0]
    }
