"""Whether what is learnt on one MR sequence holds on another.

A probe fitted on the T1 images answers for the T2 images, and the other way round. Beside it stands
the probe of the measured sequence itself, on the same images: the difference is the price of the
sequence alone. Retrieval needs no fitting and is given for the images of each sequence.
"""

import dataclasses
import itertools
import logging
from collections.abc import Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import Metrics, estimates, paired_differences
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.linear_probe import fit_probe
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.ranking import (
    best_ranks,
    chance_metrics,
    rank_metrics,
    recall_intervals,
)
from lumbarclip_jax.evaluators.reports import distinct_reports
from lumbarclip_jax.evaluators.retrieval_units import by_image
from lumbarclip_jax.evaluators.task_rows import LabelledRows, warn_of_skipped

log = logging.getLogger(__name__)


class CrossSequence:
    """Finds `<split>/cross_sequence/...` where the split has more than one sequence.

    `retrieval/<sequence>/image_to_text_*` are the ranks of that sequence's images among all
    reports. `linear_probe/<fitted>_to_<measured>/<task>/*` are `auroc` and `auroc_within_level`;
    where the two sequences differ, `..._gain_over_own` is the paired difference to the probe fitted
    on the measured one. What was said is kept as `<fitted>_to_<measured>/<task>`.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        tasks: tuple[str, ...] = ("pfirrmann_ge_3", "disc_displacement"),
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
        sequences = np.unique(embedded.sequence)
        if len(sequences) < 2:
            log.info("%s: all images are %s, no sequence to cross to", self.split, sequences[0])
            return
        yield from self._retrieval(state, embedded, sequences)
        if not {"train", "validation"} <= set(self.embedder.splits):
            log.warning("no train and validation split: sequences are crossed without a probe")
            return
        splits = {name: self.embedder(state, name) for name in ("train", "validation")}
        splits |= {self.split: embedded}
        skipped = {}
        for task in self.tasks:
            rows = {
                sequence: {
                    split: _of_sequence(LabelledRows.of(part, part.tasks[task]), sequence)
                    for split, part in splits.items()
                }
                for sequence in sequences
            }
            able = {sequence: of for sequence, of in rows.items() if self._suffice(of)}
            skipped |= {f"{task} on {name}": of for name, of in rows.items() if name not in able}
            yield from self._probes(task, able, kept)
        warn_of_skipped(f"{self.split}/cross_sequence", len(self.tasks) * len(sequences), skipped)

    def _retrieval(self, state, embedded, sequences) -> Iterator[tuple[str, float]]:
        view = by_image(embedded, distinct_reports(self.embedder, state, embedded))
        ranks, _ = best_ranks(view.images, view.texts, view.reading_of_image, view.pairs)
        for sequence in sequences:
            rows = np.flatnonzero(embedded.sequence == sequence)
            chance = chance_metrics(view.texts.shape[1], np.ones(len(rows), np.int64))
            found = estimates(
                rank_metrics(ranks[rows]),
                view.patient_of_image[rows],
                intervals=recall_intervals(chance),
                **self.bootstrap,
            )
            for name, estimate in found.items():
                yield from estimate.named(
                    f"{self.split}/cross_sequence/retrieval/{sequence}/image_to_text_{name}",
                    chance[name],
                )

    def _suffice(self, rows: dict[str, LabelledRows]) -> bool:
        enough = rows["train"].suffice and rows[self.split].suffice
        return enough and len(rows["validation"]) > 0

    def _probes(
        self, task: str, rows: dict[str, dict[str, LabelledRows]], kept: Kept
    ) -> Iterator[tuple[str, float]]:
        prefix = f"{self.split}/cross_sequence/linear_probe"
        probes = {
            sequence: fit_probe(
                (of["train"].features("image_features"), of["train"].labels),
                (of["validation"].features("image_features"), of["validation"].labels),
                len(of["train"].task.classes),
            )
            for sequence, of in rows.items()
        }
        for fitted, measured in itertools.product(probes, repeat=2):
            test = rows[measured][self.split]
            predicted = test.predicted(probes[fitted](test.features("image_features")))
            name = f"{fitted}_to_{measured}/{task}"
            kept.predictions[f"{prefix}/{name}"] = predicted
            found = estimates(_ranking(predicted), predicted.patient_id, **self.bootstrap)
            for metric, estimate in found.items():
                yield from estimate.named(f"{prefix}/{name}/{metric}", 0.5)
            if fitted == measured:
                continue
            own = test.predicted(probes[measured](test.features("image_features")))
            gains = paired_differences(
                _ranking(predicted), _ranking(own), predicted.patient_id, **self.bootstrap
            )
            for metric in found:
                yield from gains[metric].named(f"{prefix}/{name}/{metric}_gain_over_own", 0.0)


def _of_sequence(rows: LabelledRows, sequence: str) -> LabelledRows:
    own = rows.columns.sequence[rows.rows] == sequence
    return dataclasses.replace(rows, rows=rows.rows[own], labels=rows.labels[own])


def _ranking(predicted: Predictions) -> Metrics:
    """`auroc` and, of several levels, `auroc_within_level` of weights `[R, M]`."""
    ranking = predicted.ranking

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = ranking(np.ascontiguousarray(weights.T))
        return {name: values[name] for name in ("auroc", "auroc_within_level") if name in values}

    return metrics
