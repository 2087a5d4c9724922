"""Zero-shot classification from prompts.

After CheXzero (Tiu et al., 2022): each class of a task is described by many prompts, "X" and "no X"
for a finding. Prompts name the image's own level, and begin with it where the model's training
texts did; they are kept as data in `prompts/`. The probabilities are those that `Model.zero_shot`
gives for these prompts, see `described_classes`.

The temperature in them is the one learnt for telling reports apart. Nothing fitted it to how often
a class is right: for that read the calibrated ones, tempered on the validation split.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lumbarclip_jax.data.dataset import with_level
from lumbarclip_jax.data.tasks import FINDINGS, Task
from lumbarclip_jax.evaluators import described_classes
from lumbarclip_jax.evaluators.classification import Predictions, named_counts
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.prompts import prompts_of
from lumbarclip_jax.evaluators.task_rows import (
    LabelledRows,
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


class ZeroShot:
    """Finds `<split>/zero_shot/<task>/<metric>`, the same `.../by_patient/<metric>`, and counts.

    The metrics are those of `Predictions.named_metrics`. Prompts name the level, so scores hold
    what the level tells: read `auroc_within_level`, or the gain over level. Findings have their
    mean in `findings/macro_auroc`. Without a train split there is no baseline of level alone,
    without another validation split no calibration. What was said of each task, and by patient,
    is kept. Where no `tasks` are named they are all of the data set; a class of its own tasks is
    described by its name alone.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        tasks: tuple[str, ...] | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ):
        self.embedder = embedder
        self.split = split
        self.tasks = tasks
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        kept = Kept()
        return dict(self._numbers(state, kept)), kept

    def _numbers(self, state, kept: Kept) -> Iterator[tuple[str, float]]:
        embedded = self.embedder(state, self.split)
        splits = self.embedder.splits
        others = {}
        if "train" in splits:
            others["train"] = self.embedder.columns("train")
        if "validation" in splits and self.split != "validation":
            others["validation"] = self.embedder(state, "validation")

        tasks = tuple(embedded.tasks) if self.tasks is None else self.tasks
        measured, skipped = [], {}
        for name in tasks:
            prefix = f"{self.split}/zero_shot/{name}"
            rows = LabelledRows.of(embedded, embedded.tasks[name])
            yield from named_counts(prefix, rows.labels, rows.patient_id, rows.task.classes)
            if rows.suffice:
                measured.append(rows)
            else:
                skipped[name] = {self.split: rows}
        warn_of_skipped(f"{self.split}/zero_shot", len(tasks), skipped)
        levels = np.unique(
            np.concatenate([embedded.level, *(other.level for other in others.values())])
        )
        prompts = class_embeds(self.embedder, state, [rows.task for rows in measured], levels)
        logit_scale = self.embedder.logit_scale(state)
        said = {}
        for rows in measured:
            task = rows.task
            prefix = f"{self.split}/zero_shot/{task.name}"
            predicted = _predict(rows, prompts[task.name], logit_scale)
            for unit, answered in by_unit(task, predicted).items():
                kept.predictions[f"{prefix}{unit}"] = answered
                said[f"{task.name}{unit}"] = answered
            train, validation = (
                LabelledRows.of(others[name], task) if name in others else None
                for name in ("train", "validation")
            )
            temperatures = {}
            if validation:
                calibrating = _predict(validation, prompts[task.name], logit_scale)
                temperatures = fit_temperatures(task, calibrating)
            yield from named_scores(
                prefix,
                task,
                predicted,
                level_only=level_only(level_counts(train), rows) if train else None,
                temperatures=temperatures,
                **self.bootstrap,
            )
        if set(tasks) & set(FINDINGS):
            prefix = f"{self.split}/zero_shot/findings"
            yield from named_means(prefix, said, **self.bootstrap)


def class_embeds(
    embedder, state, tasks: Sequence[Task], levels: Iterable[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Task and level to the unit embeddings `[K, E]` of its classes; each text encoded once."""
    prompts = {
        (task.name, level): [
            [with_level(prompt, level, embedder.level_prefix) for prompt in of_class]
            for of_class in prompts_of(task.name, task.classes, level)
        ]
        for task in tasks
        for level in levels
    }
    texts = list(dict.fromkeys(text for of in prompts.values() for side in of for text in side))
    if not texts:
        return {}
    place = {text: row for row, text in enumerate(texts)}
    embeds = embedder.encode_text(state, texts)
    found: dict[str, dict[str, np.ndarray]] = {}
    for (task, of_level), of in prompts.items():
        prompts_of_side = [embeds[[place[text] for text in side]] for side in of]
        found.setdefault(task, {})[of_level] = described_classes.embeds(prompts_of_side)
    return found


def _predict(rows: LabelledRows, classes: dict[str, np.ndarray], logit_scale: float) -> Predictions:
    """What is said of the images, among the classes as they are called at their level."""
    image_embeds = rows.features("image_embeds")
    probabilities = np.empty((len(rows), len(rows.task.classes)))
    for level in np.unique(rows.level):
        at = rows.level == level
        probabilities[at] = described_classes.probabilities(
            image_embeds[at], classes[level], logit_scale
        )
    return rows.predicted(probabilities)
