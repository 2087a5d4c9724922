"""What the heads say that were trained on labels beside the contrast, `config.objective.labels`."""

from collections.abc import Iterator

from lumbarclip_jax.evaluators.classification import named_counts
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.task_rows import (
    LabelledRows,
    level_counts,
    level_only,
    warn_of_skipped,
)
from lumbarclip_jax.evaluators.task_scores import by_unit, fit_temperatures, named_scores


class LabelHeads:
    """Finds `<split>/label_heads/<task>/<metric>`, the same `.../by_patient/<metric>`, and counts.

    The metrics are those of `Predictions.named_metrics`. Without a train split there is no baseline
    of level alone, without another validation split no calibration. What was said of each task is
    kept.

    Raises:
      ValueError: the model has no such heads, or the data set a task of other classes.
    """

    def __init__(self, embedder, *, split: str, resamples: int = 1000, seed: int = 0):
        if not embedder.heads:
            raise ValueError(
                "label_heads measures heads that were trained on labels, and this model has none: "
                "train with --config.objective.labels.weight, or measure linear_probe"
            )
        self.embedder = embedder
        self.split = split
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        kept = Kept()
        return dict(self._numbers(state, kept)), kept

    def _numbers(self, state, kept: Kept) -> Iterator[tuple[str, float]]:
        measured = self.embedder.columns(self.split)
        said = self.embedder.label_probabilities(state, self.split)
        calibrates = "validation" in self.embedder.splits and self.split != "validation"
        calibrating = self.embedder.label_probabilities(state, "validation") if calibrates else {}
        skipped = {}
        for name, classes in self.embedder.heads:
            if name not in measured.tasks:
                continue
            task = measured.tasks[name]
            if len(task.classes) != classes:
                raise ValueError(
                    f"the model's head of {name} has {classes} classes, and the data set "
                    f"{len(task.classes)}: {', '.join(task.classes)}"
                )
            prefix = f"{self.split}/label_heads/{name}"
            rows = LabelledRows.of(measured, task)
            yield from named_counts(prefix, rows.labels, rows.patient_id, task.classes)
            if not rows.suffice:
                skipped[name] = {self.split: rows}
                continue
            predicted = rows.predicted(said[name][rows.rows])
            for unit, answered in by_unit(task, predicted).items():
                kept.predictions[f"{prefix}{unit}"] = answered
            temperatures = {}
            if calibrates:
                validation = LabelledRows.of(self.embedder.columns("validation"), task)
                if len(validation):
                    answered = validation.predicted(calibrating[name][validation.rows])
                    temperatures = fit_temperatures(task, answered)
            baseline = None
            if "train" in self.embedder.splits:
                train = LabelledRows.of(self.embedder.columns("train"), task)
                baseline = level_only(level_counts(train), rows) if len(train) else None
            yield from named_scores(
                prefix,
                task,
                predicted,
                level_only=baseline,
                temperatures=temperatures,
                **self.bootstrap,
            )
        warn_of_skipped(f"{self.split}/label_heads", len(self.embedder.heads), skipped)
