"""Heads for the labels that an objective reads, as the data set has their tasks."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax.data.tasks import UNLABELLED, Task, named
from lumbarclip_jax.objectives.labels import Labels
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.objectives.term import LOGITS


def adopt(config: ConfigDict, tasks: Mapping[str, Task]) -> ConfigDict:
    """The config with a head for every task that its objective reads logits of.

    Raises:
      ValueError: the data set, which has `tasks`, has none of a name.
    """
    objective = Objective(config.objective)
    if not (asked := tasks_of(objective)):
        return config
    config = config.copy_and_resolve_references()
    heads = [(task.name, len(task.classes)) for task in named(asked, tasks)]
    config.model.heads.tasks = tuple(heads)
    strategies = [each.term.how for each in objective.terms if isinstance(each.term, Labels)]
    for strategy in strategies:
        config.model.heads.cosine_scale = strategy.cosine_scale
    return config


def tasks_of(objective: Objective) -> list[str]:
    """The tasks that an objective reads logits of."""
    return [name.removeprefix(LOGITS) for name in objective.outputs if name.startswith(LOGITS)]


def counts(objective: Objective, columns, tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """By task of the objective, the rows of every class [K] among these columns."""
    found = {}
    for task in named(asked, tasks) if (asked := tasks_of(objective)) else ():
        labels = task.labels(columns)
        known = labels[labels != UNLABELLED]
        found[task.name] = np.bincount(known, minlength=len(task.classes))
    return found
