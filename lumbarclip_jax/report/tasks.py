"""The classification part of the page: task by task, with everyone who answered side by side."""

import dataclasses
import math
import re
from collections.abc import Mapping

from lumbarclip_jax.data.tasks import FINDINGS
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.report.tables import Row, Section, Table, title

# The columns of a task's overview, where there are numbers for them. The rest is in its details.
OVERVIEW = (
    "auroc",
    "auroc_within_level",
    "average_precision",
    *("macro_auroc", "macro_average_precision"),  # of the findings' mean, which has these alone
    "balanced_accuracy",
    "macro_f1",
    "quadratic_kappa",
    "ece",
)
BASELINE = "level_only"
# Evaluators that ask of pairs, or how an answer changes; all others answer tasks.
NOT_OF_TASKS = ("retrieval", "class_retrieval", "robustness", "cross_sequence", "alignment")
USUAL_FEATURES = "image_features"  # not worth a word beside a method's name


@dataclasses.dataclass(frozen=True)
class Answered:
    """What one method answered: its numbers and, where they were kept, its answers.

    `temperature` is the one fitted on validation, where it was fitted.
    """

    evaluator: str
    title: str
    table: Table
    predicted: Predictions | None
    temperature: float | None

    @property
    def answers(self) -> Predictions:
        """`predicted`, of one whose answers were kept."""
        if self.predicted is None:
            raise ValueError(f"no answers of {self.title} were kept")
        return self.predicted

    @property
    def is_by_patient(self) -> bool:
        return self.table.key.endswith("/by_patient")

    @property
    def is_fine_tuned(self) -> bool:
        return self.evaluator.startswith("finetune")

    @property
    def shots(self) -> int | None:
        """Labelled images of each class it was fitted on, for a few-shot probe."""
        found = re.search(r"/k_(\d+)$", self.table.key)
        return found and int(found[1])

    @property
    def rows(self) -> dict[str, Row]:
        return {row.measure: row for row in self.table.rows}

    @property
    def is_baseline(self) -> bool:
        return self.table.key.endswith(BASELINE)


@dataclasses.dataclass
class TaskPart:
    """One question on one split."""

    split: str
    key: str
    title: str
    facts: list[str]
    answered: list[Answered] = dataclasses.field(default_factory=list)
    few_shot: list[Answered] = dataclasses.field(default_factory=list)

    @property
    def is_main(self) -> bool:
        """Whether it is shown openly: the findings one by one are folded away."""
        return self.key not in FINDINGS

    @property
    def fine_tuned(self) -> list[Answered]:
        return [a for a in self.answered if a.is_fine_tuned]

    @property
    def is_binary(self) -> bool:
        return all(len(a.answers.classes) == 2 for a in self.kept)

    @property
    def kept(self) -> list[Answered]:
        return [a for a in self.answered if a.predicted is not None]

    @property
    def drawn(self) -> list[Answered]:
        """Those of the pictures: by patient only where there is nothing else."""
        return [a for a in self.kept if not a.is_by_patient]

    @property
    def measures(self) -> list[Row]:
        """The first row of each overview column, with its title and what stands beside."""
        every = {name: row for a in self.answered[::-1] for name, row in a.rows.items()}
        return [every[name] for name in OVERVIEW if name in every]


def _has_numbers(table: Table) -> bool:
    return any(not math.isnan(row.value) for row in table.rows)


def is_classification(section: Section) -> bool:
    """Whether it is about tasks, so that it is shown among what others said about the same."""
    return section.evaluator not in NOT_OF_TASKS


def task_parts(
    sections: list[Section], predictions: Mapping[str, Predictions], metrics: Mapping[str, float]
) -> list[TaskPart]:
    """Classification sections by (split, task), in the order tasks come in.

    Args:
      predictions: `<split>/<evaluator>/<task>` or `<split>/<evaluator>/<task>/<features>` to what
        was kept.
      metrics: those that the sections were made of.
    """
    parts: dict[tuple[str, str], TaskPart] = {}
    for section in filter(is_classification, sections):
        for task in section.tasks.values():
            part = parts.setdefault(
                (section.split, task.key), TaskPart(section.split, task.key, task.title, [])
            )
            part.facts = list(dict.fromkeys([*part.facts, *task.facts]))
            for table in filter(_has_numbers, task.tables.values()):
                is_baseline = table.key.endswith(BASELINE)
                name = table.name_of(section)
                key = str(name)
                features = [part for part in name.features if part != USUAL_FEATURES]
                heading = ", ".join([section.title, *(title(p).lower() for p in features)])
                answered = Answered(
                    evaluator=section.evaluator,
                    title=table.title if is_baseline else heading,
                    table=table,
                    predicted=predictions.get(key),
                    temperature=metrics.get(f"{key}/temperature"),
                )
                (part.answered if answered.shots is None else part.few_shot).append(answered)
    for part in parts.values():
        part.answered.sort(key=lambda answered: answered.is_baseline)
    return list(parts.values())
