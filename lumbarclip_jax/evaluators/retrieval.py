"""Image-to-text and text-to-image retrieval over a whole split.

Protocol. Equal reports are one candidate (see `reports`), and any image of such a group answers it
correctly, since nothing could tell them apart. Retrieval is measured by image, every slice a query,
and by patient (see `retrieval_units`). Rank, ties and chance are defined in `ranking`, what is
relevant to the mean average precision in `shared_findings`; intervals resample the patients of the
queries and keep the candidates.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import estimates, patient_means, together
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.ranking import (
    best_ranks,
    chance_metrics,
    on_cores,
    rank_metrics,
    recall_intervals,
)
from lumbarclip_jax.evaluators.reports import distinct_reports
from lumbarclip_jax.evaluators.retrieval_units import View, by_image, by_patient
from lumbarclip_jax.evaluators.shared_findings import (
    average_precisions,
    chance_average_precisions,
)

log = logging.getLogger(__name__)

# Scores that every core sorts at once: 16 MB of float32, and a few times that on the way.
BLOCK_ELEMENTS = 2**22


class Retrieval:
    """Finds `<split>/retrieval/{image_to_text,text_to_image,patient_to_text,text_to_patient}_*`.

    Each direction has `recall_at_1`, `recall_at_5`, `recall_at_10`, `mrr`, `median_rank` and
    `map_shared_findings`, with interval and chance; `images`, `texts` and `patients` count the
    candidates. The ranks of the queries are kept.

    Args:
      map_queries: the places of all relevant candidates take a sort of all scores a query, so on
        more queries than these the mean average precision is that of as many, of patients drawn at
        random; `<direction>_map_queries` says of how many.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        resamples: int = 1000,
        seed: int = 0,
        map_queries: int = 1000,
    ):
        self.embedder = embedder
        self.split = split
        self.map_queries = map_queries
        self.seed = seed
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        kept = Kept()
        return dict(self._numbers(state, kept)), kept

    def _numbers(self, state, kept: Kept) -> Iterator[tuple[str, float]]:
        embedded = self.embedder(state, self.split)
        reports = distinct_reports(self.embedder, state, embedded)
        patients = len(np.unique(embedded.patient_id))
        prefix = f"{self.split}/retrieval"
        yield f"{prefix}/images", float(len(embedded.patient_id))
        yield f"{prefix}/texts", float(len(reports.first_row))
        yield f"{prefix}/patients", float(patients)

        if patients == len(embedded.patient_id):
            # One image a patient: both ask the same, and asking costs as much as all the rest.
            yield from self._both_ways(("image", "patient"), by_image(embedded, reports), kept)
        else:
            yield from self._both_ways(("image",), by_image(embedded, reports), kept)
            yield from self._both_ways(("patient",), by_patient(embedded, reports), kept)

    def _both_ways(
        self, names: tuple[str, ...], view: View, kept: Kept
    ) -> Iterator[tuple[str, float]]:
        image_ranks, text_ranks = best_ranks(
            view.images, view.texts, view.reading_of_image, view.pairs
        )
        to_text = _Direction(
            ranks=image_ranks,
            patient_id=view.patient_of_image,
            correct=np.bincount(view.pairs[0]),
            findings=view.image_findings,
            candidates=view.text_findings,
            scores_of=view.scores_of_images,
        )
        to_image = _Direction(
            ranks=text_ranks,
            patient_id=view.patient_of_text,
            correct=np.bincount(view.pairs[1]),
            findings=view.text_findings,
            candidates=view.image_findings,
            scores_of=view.scores_of_texts,
        )
        for direction, template in ((to_text, "{}_to_text"), (to_image, "text_to_{}")):
            measured = list(self._measure(direction))
            for name in map(template.format, names):
                key = f"{self.split}/retrieval/{name}"
                kept.ranks[key] = direction.ranks, direction.patient_id
                for metric, value in measured:
                    yield f"{key}_{metric}", value

    def _measure(self, direction: "_Direction") -> Iterator[tuple[str, float]]:
        patients, patient_of_query = np.unique(direction.patient_id, return_inverse=True)
        metrics = rank_metrics(direction.ranks, patient_of_query)
        chance = chance_metrics(len(direction.candidates), direction.correct)
        asking = self._drawn(np.flatnonzero(direction.findings), patient_of_query)
        yield "map_queries", float(len(asking))
        if len(asking):
            precisions = np.full(len(direction.ranks), np.nan)
            precisions[asking], expected = direction.precisions(asking)
            of_precisions = patient_means({"map_shared_findings": precisions}, patient_of_query)
            metrics = together(metrics, of_precisions)
            chance["map_shared_findings"] = expected.mean()
        else:
            log.info("no finding is present in %s: no retrieval by shared findings", self.split)
        intervals = recall_intervals(chance)
        found = estimates(metrics, patients, intervals=intervals, **self.bootstrap)
        for metric, estimate in found.items():
            yield from estimate.named(metric, chance[metric])

    def _drawn(self, queries: np.ndarray, patient_of_query: np.ndarray) -> np.ndarray:
        """At most `map_queries` of the queries, those of whole patients (the last one cut)."""
        if len(queries) <= self.map_queries:
            return queries
        turn = np.random.default_rng(self.seed).permutation(patient_of_query.max() + 1)
        in_turn = np.argsort(turn[patient_of_query[queries]], kind="stable")
        return queries[in_turn[: self.map_queries]]


@dataclasses.dataclass(frozen=True)
class _Direction:
    """Q queries among N candidates."""

    ranks: np.ndarray  # [Q]
    patient_id: np.ndarray  # [Q]
    correct: np.ndarray  # [Q] number of correct candidates
    findings: np.ndarray  # [Q] sets, see shared_findings
    candidates: np.ndarray  # [N] sets
    scores_of: Callable[[np.ndarray], np.ndarray]  # of queries [B] with all candidates [B, N]

    def precisions(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average precision of some queries `[B]`, and what chance would give `[B]`."""
        block = max(1, BLOCK_ELEMENTS // len(self.candidates))
        blocks = [queries[start : start + block] for start in range(0, len(queries), block)]
        precisions, expected = zip(*on_cores(self._block_precisions, blocks), strict=True)
        return np.concatenate(precisions), np.concatenate(expected)

    def _block_precisions(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        relevant = (self.findings[rows, None] & self.candidates) != 0
        return (
            average_precisions(self.scores_of(rows), relevant),
            chance_average_precisions(relevant.sum(axis=1), len(self.candidates)),
        )
