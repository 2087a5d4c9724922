"""How much of what a model can do is left when the scans get worse.

The split's images are corrupted (see `evaluators.corruptions`) and embedded again; reports,
prompts and probes stay those of clean images. Beside every number stands its relative retention

    (corrupted - chance) / (clean - chance),

1 where nothing is lost and 0 where nothing is left, with both on the same resampled patients. Where
the clean number is itself not above chance there is nothing to retain, and none is given.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import Estimate, Metrics, estimates
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.corruptions import CORRUPTIONS, corrupt
from lumbarclip_jax.evaluators.intervals import Interval, percentile
from lumbarclip_jax.evaluators.linear_probe import Probe, fit_probe
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.ranking import (
    best_ranks,
    chance_metrics,
    rank_metrics,
    recall_intervals,
)
from lumbarclip_jax.evaluators.reports import Reports, distinct_reports
from lumbarclip_jax.evaluators.retrieval_units import by_image
from lumbarclip_jax.evaluators.task_rows import LabelledRows, warn_of_skipped
from lumbarclip_jax.evaluators.zero_shot import ZeroShot

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number of one condition: weights of rows `[R, M]` to values `[R]`."""

    value: Callable[[np.ndarray], np.ndarray]
    patient_id: np.ndarray  # [M]
    chance: float
    interval: Interval = percentile


class Robustness:
    """Finds `<split>/robustness/<corruption>/severity_<s>/<number>` and its `_retention`.

    The numbers are `image_to_text_recall_at_5` of retrieval, and of every task `auroc_within_level`
    under `zero_shot/<task>` and `linear_probe/<task>`, which is that of all rows where these have
    one level; `clean/<number>` are those of the images as
    they are, and `<corruption>/severity_<s>/amount` is what the severity means. A task without
    enough labels is left out, and a probe without a train and a validation split.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        corruptions: tuple[str, ...] = tuple(CORRUPTIONS),
        severities: tuple[int, ...] = (1, 3, 5),
        tasks: tuple[str, ...] = ("pfirrmann_ge_3", "disc_displacement"),
        resamples: int = 1000,
        seed: int = 0,
    ):
        self.embedder = embedder
        self.split = split
        self.corruptions = corruptions
        self.severities = severities
        self.tasks = tasks
        self.seed = seed
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        return dict(self._numbers(state)), Kept()

    def _numbers(self, state) -> Iterator[tuple[str, float]]:
        embedded = self.embedder(state, self.split)
        reports = distinct_reports(self.embedder, state, embedded)
        labelled = {task: LabelledRows.of(embedded, embedded.tasks[task]) for task in self.tasks}
        tasks = tuple(task for task, rows in labelled.items() if rows.suffice)
        skipped = {task: {self.split: labelled[task]} for task in self.tasks if task not in tasks}
        warn_of_skipped(f"{self.split}/robustness", len(self.tasks), skipped)
        probes = self._probes(state, tasks)
        prompts = _KnownTexts(self.embedder)

        def measure(embedded) -> dict[str, Measure]:
            zero_shot = ZeroShot(
                prompts.beside(embedded), split=self.split, tasks=tasks, resamples=1
            )
            _, kept = zero_shot.run(state)
            found = {"image_to_text_recall_at_5": _recall(embedded, reports)}
            for task in tasks:
                said = kept.predictions[f"{self.split}/zero_shot/{task}"]
                found[f"zero_shot/{task}/auroc_within_level"] = _auroc(said)
            for task, probe in probes.items():
                rows = LabelledRows.of(embedded, embedded.tasks[task])
                predicted = rows.predicted(probe(rows.features("image_features")))
                found[f"linear_probe/{task}/auroc_within_level"] = _auroc(predicted)
            return found

        prefix = f"{self.split}/robustness"
        clean = measure(embedded)
        able = set()
        for name, number in clean.items():
            estimate = self._estimates(number)["value"]
            yield from estimate.named(f"{prefix}/clean/{name}", number.chance)
            if estimate.low > number.chance:
                able.add(name)
            else:
                log.info("%s/%s: not above chance on clean images, nothing to retain", prefix, name)
        for corruption in self.corruptions:
            amounts = CORRUPTIONS[corruption].amounts
            for severity in sorted({min(s, len(amounts)) for s in self.severities}):
                where = f"{prefix}/{corruption}/severity_{severity}"
                yield f"{where}/amount", amounts[severity - 1]
                changed = self._corrupted(state, corruption, severity)
                for name, number in measure(changed).items():
                    found = self._estimates(number, clean[name] if name in able else None)
                    yield from found["value"].named(f"{where}/{name}", number.chance)
                    if name in able:
                        yield from found["retention"].named(f"{where}/{name}_retention")

    def _corrupted(self, state, corruption: str, severity: int):
        def change(images: np.ndarray, rows) -> np.ndarray:
            return corrupt(images, corruption, severity, [(self.seed, int(row)) for row in rows])

        return self.embedder.changed(state, self.split, change)

    def _estimates(self, number: Measure, clean: Measure | None = None) -> dict[str, Estimate]:
        """`value`, and against clean images `retention`."""

        def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
            value = number.value(weights)
            if clean is None:
                return {"value": value}
            able = clean.value(weights) - clean.chance
            return {
                "value": value,
                "retention": (value - number.chance) / np.where(able > 0, able, np.nan),
            }

        intervals = {"value": number.interval}
        return estimates(metrics, number.patient_id, intervals=intervals, **self.bootstrap)

    def _probes(self, state, tasks: tuple[str, ...]) -> dict[str, Probe]:
        """A probe of the image features for every task, fitted on clean images."""
        if not {"train", "validation"} <= set(self.embedder.splits):
            log.info("no train and validation split: robustness is measured without a probe")
            return {}
        train, validation = (self.embedder(state, name) for name in ("train", "validation"))
        probes, skipped = {}, {}
        for task in tasks:
            known, chosen = (
                LabelledRows.of(part, part.tasks[task]) for part in (train, validation)
            )
            if known.suffice and len(chosen):
                probes[task] = fit_probe(
                    (known.features("image_features"), known.labels),
                    (chosen.features("image_features"), chosen.labels),
                    len(known.task.classes),
                )
            else:
                skipped[task] = {"train": known, "validation": chosen}
        warn_of_skipped(f"{self.split}/robustness/linear_probe", len(tasks), skipped)
        return probes


def _recall(embedded, reports: Reports) -> Measure:
    view = by_image(embedded, reports)
    ranks, _ = best_ranks(view.images, view.texts, view.reading_of_image, view.pairs)
    metrics: Metrics = rank_metrics(ranks)
    chance = chance_metrics(view.texts.shape[1], np.bincount(view.pairs[0]))
    return Measure(
        lambda weights: metrics(weights)["recall_at_5"],
        view.patient_of_image,
        chance["recall_at_5"],
        recall_intervals(chance).get("recall_at_5", percentile),
    )


def _auroc(predicted: Predictions) -> Measure:
    ranking = predicted.ranking

    def value(weights: np.ndarray) -> np.ndarray:
        found = ranking(np.ascontiguousarray(weights.T))
        return found.get("auroc_within_level", found["auroc"])

    return Measure(
        value,
        predicted.patient_id,
        predicted.chance["auroc_within_level"],
    )


class _KnownTexts:
    """Encodes the same texts once, however often they are asked for."""

    def __init__(self, embedder):
        self._embedder = embedder
        self._known: dict[tuple[str, ...], np.ndarray] = {}

    def beside(self, embedded) -> "_OneSplit":
        embedder = self._embedder
        return _OneSplit(embedded, embedder.level_prefix, embedder.logit_scale, self._encode_text)

    def _encode_text(self, state, texts: list[str]) -> np.ndarray:
        key = tuple(texts)
        if key not in self._known:
            self._known[key] = self._embedder.encode_text(state, texts)
        return self._known[key]


@dataclasses.dataclass(frozen=True)
class _OneSplit:
    """An embedder of a single, changed split: nothing is fitted or calibrated beside it."""

    embedded: object
    level_prefix: bool
    logit_scale: Callable
    encode_text: Callable

    splits = ()

    def __call__(self, state, split: str):
        return self.embedded
