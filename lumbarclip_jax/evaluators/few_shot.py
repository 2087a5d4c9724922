"""Few-shot probe: what the frozen image encoder is worth with k labelled examples a class.

For k in 1, 2, 4, 8, 16 and five seeds, k patients a class are drawn from the training split, one
image of each, and a logistic regression is fitted on those alone. The numbers are means over the
seeds, their intervals resample the measured patients. Scaling uses all training images, whose
labels it does not need; the strength of regularisation is the one with the lowest mean log loss on
the validation split, one for all seeds of a k.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.preprocessing import StandardScaler

from lumbarclip_jax.data.tasks import FINDINGS
from lumbarclip_jax.evaluators.bootstrap import estimates
from lumbarclip_jax.evaluators.classification import Predictions, named_counts
from lumbarclip_jax.evaluators.linear_probe import (
    STRENGTHS,
    Probe,
    fit_scaled,
    on_one_thread,
    warn_of_unconverged,
)
from lumbarclip_jax.evaluators.names import LEVEL_ONLY, SEED_DEVIATION
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.task_rows import (
    LabelledRows,
    can_fit,
    level_counts,
    level_only,
    warn_of_skipped,
)
from lumbarclip_jax.evaluators.task_scores import by_unit

SHOTS = (1, 2, 4, 8, 16)
METRICS = ("auroc", "auroc_within_level", "balanced_accuracy", "macro_f1", "quadratic_kappa")


def draw_examples(
    labels: np.ndarray, patient_id: np.ndarray, shots: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of `shots` patients a class, one row of each; all there are of a rarer class."""
    order = rng.permutation(len(labels))
    drawn = []
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        _, first = np.unique(patient_id[rows], return_index=True)
        drawn.append(rows[np.sort(first)[:shots]])
    return np.concatenate(drawn)


@on_one_thread
def fit_few_shot(
    scaler: StandardScaler,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    draws: list[np.ndarray],
    classes: int,
) -> list[Probe]:
    """A probe for each draw of rows of `train`, of the one strength best on `validation`."""
    features, labels = train
    scaled = scaler.transform(features)

    def fitted(strength: float) -> list[Probe]:
        return [fit_scaled(scaler, scaled[rows], labels[rows], strength, classes) for rows in draws]

    def validation_loss(probes: list[Probe]) -> float:
        return float(np.mean([probe.log_loss(*validation) for probe in probes]))

    best = min(map(fitted, STRENGTHS), key=validation_loss)
    warn_of_unconverged(best, len(draws[0]))
    return best


class FewShot:
    """Finds `<split>/few_shot/<task>/k_<k>/<metric>`, mean over seeds, and the task's counts.

    Metrics are AUROC (also within level), balanced accuracy, macro F1 and, of grades, quadratic
    kappa; tasks of patients by patient, all others by image. Beside them stand chance and
    `<metric>_level_only`, which has learnt from the whole training split; `<metric>_seed_sd` is
    the deviation between the seeds. `examples` counts the labelled images of a draw. Where no
    `tasks` are named they are all of the data set but its findings one by one.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        tasks: tuple[str, ...] | None = None,
        features: str = "image_features",
        shots: tuple[int, ...] = SHOTS,
        seeds: int = 5,
        resamples: int = 1000,
        seed: int = 0,
    ):
        self.embedder = embedder
        self.split = split
        self.tasks = tasks
        self.features = features
        self.shots = shots
        self.seeds = range(seed, seed + seeds)
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        return dict(self._numbers(state)), Kept()

    def _numbers(self, state) -> Iterator[tuple[str, float]]:
        if not can_fit(f"{self.split}/few_shot", self.embedder.splits):
            return
        fitting = [self.embedder(state, name) for name in ("train", "validation")]
        scaler = StandardScaler().fit(getattr(fitting[0], self.features))
        tasks = self.tasks
        if tasks is None:
            tasks = tuple(task for task in fitting[0].tasks if task not in FINDINGS)
        known = {
            task: [LabelledRows.of(part, part.tasks[task]) for part in fitting] for task in tasks
        }
        probes = {task: self._fit(scaler, *known[task]) for task in tasks}
        measured = self.embedder(state, self.split)
        skipped = {}
        for name in tasks:
            train, validation = known[name]
            rows = LabelledRows.of(measured, measured.tasks[name])
            prefix = f"{self.split}/few_shot/{name}"
            yield from named_counts(prefix, rows.labels, rows.patient_id, rows.task.classes)
            if not probes[name] or not rows.suffice:
                skipped[name] = {"train": train, "validation": validation, self.split: rows}
                continue
            baseline = _by_first_unit(rows, level_only(level_counts(train), rows).probabilities)
            beside = baseline.metrics(np.ones((1, len(baseline.labels))))
            for shots, (examples, fitted) in probes[name].items():
                features = rows.features(self.features)
                answered = [_by_first_unit(rows, probe(features)) for probe in fitted]
                yield f"{prefix}/k_{shots}/examples", float(examples)
                yield from self._mean_over_seeds(f"{prefix}/k_{shots}", answered, beside)
        warn_of_skipped(f"{self.split}/few_shot", len(tasks), skipped)

    def _fit(
        self, scaler: StandardScaler, train: LabelledRows, validation: LabelledRows
    ) -> dict[int, tuple[int, list[Probe]]]:
        """k to (labelled images, a probe for each seed); empty where there is too little."""
        if not train.suffice or not len(validation):
            return {}
        found = {}
        for shots in self.shots:
            draws = [
                draw_examples(train.labels, train.patient_id, shots, np.random.default_rng(seed))
                for seed in self.seeds
            ]
            found[shots] = (
                len(draws[0]),
                fit_few_shot(
                    scaler,
                    (train.features(self.features), train.labels),
                    (validation.features(self.features), validation.labels),
                    draws,
                    len(train.task.classes),
                ),
            )
        return found

    def _mean_over_seeds(
        self, prefix: str, answered: list[Predictions], beside: dict[str, np.ndarray]
    ) -> Iterator[tuple[str, float]]:
        each = [predicted.metrics for predicted in answered]
        ones = np.ones((1, len(answered[0].labels)))

        def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
            values = [metric(weights) for metric in each]
            return {
                name: np.mean([of[name] for of in values], axis=0)
                for name in METRICS
                if name in values[0]
            }

        chance = answered[0].chance
        points = [metric(ones) for metric in each]
        for name, estimate in estimates(metrics, answered[0].patient_id, **self.bootstrap).items():
            yield from estimate.named(f"{prefix}/{name}", chance[name])
            yield f"{prefix}/{name}{LEVEL_ONLY}", float(beside[name][0])
            deviation = np.std([of[name][0] for of in points], ddof=1)
            yield f"{prefix}/{name}{SEED_DEVIATION}", float(deviation)


def _by_first_unit(rows: LabelledRows, probabilities: np.ndarray) -> Predictions:
    """By patient for a task of patients, else by image."""
    return by_unit(rows.task, rows.predicted(probabilities))[""]
