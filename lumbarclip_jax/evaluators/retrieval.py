"""Image-to-text and text-to-image retrieval over a whole split.

Protocol. Equal reports are one candidate (see `reports`), and any image of such a group answers it
correctly, since nothing could tell them apart. Retrieval is measured by image, every slice a query,
and by patient (see `views`). Rank, ties and chance are defined in `ranking`, what is relevant to
the mean average precision in `shared_findings`; intervals resample the patients of the queries and
keep the candidates.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import estimates, patient_means
from lumbarclip_jax.evaluators.ranking import best_ranks, chance_metrics, rank_metrics
from lumbarclip_jax.evaluators.reports import distinct_reports
from lumbarclip_jax.evaluators.shared_findings import (
    average_precisions,
    chance_average_precisions,
)
from lumbarclip_jax.evaluators.views import View, by_image, by_patient

log = logging.getLogger(__name__)

# Scores of queries that are sorted at once, 16 MB of float32 and a few times that on the way.
BLOCK_ELEMENTS = 2**22


class Retrieval:
    """Yields `<split>/retrieval/{image_to_text,text_to_image,patient_to_text,text_to_patient}_*`.

    Each direction has `recall_at_1`, `recall_at_5`, `recall_at_10`, `mrr`, `median_rank` and
    `map_shared_findings`, with interval and chance; `images`, `texts` and `patients` count the
    candidates. After a run `ranks` maps each direction to (rank `[Q]`, patient_id `[Q]`).

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
        map_queries: int = 2000,
    ):
        self.embedder = embedder
        self.split = split
        self.map_queries = map_queries
        self.seed = seed
        self.bootstrap = {"resamples": resamples, "seed": seed}
        self.ranks: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def run(self, state) -> Iterator[tuple[str, float]]:
        embedded = self.embedder(state, self.split)
        reports = distinct_reports(self.embedder, state, embedded)
        patients = len(np.unique(embedded.patient_id))
        prefix = f"{self.split}/retrieval"
        yield f"{prefix}/images", float(len(embedded.patient_id))
        yield f"{prefix}/texts", float(len(reports.first_row))
        yield f"{prefix}/patients", float(patients)

        self.ranks = {}
        yield from self._both_ways("image", by_image(embedded, reports))
        yield from self._both_ways("patient", by_patient(embedded, reports))

    def _both_ways(self, name: str, view: View) -> Iterator[tuple[str, float]]:
        image_ranks, text_ranks = best_ranks(
            view.images, view.texts, view.reading_of_image, view.pairs
        )
        for direction, ranks, patient_id, query_of_pair, candidates in (
            (f"{name}_to_text", image_ranks, view.patient_of_image, view.pairs[0], len(text_ranks)),
            (f"text_to_{name}", text_ranks, view.patient_of_text, view.pairs[1], len(image_ranks)),
        ):
            self.ranks[direction] = ranks, patient_id
            patients, patient_of_query = np.unique(patient_id, return_inverse=True)
            found = estimates(rank_metrics(ranks, patient_of_query), patients, **self.bootstrap)
            chance = chance_metrics(candidates, np.bincount(query_of_pair))
            for metric, estimate in found.items():
                yield from estimate.named(
                    f"{self.split}/retrieval/{direction}_{metric}", chance[metric]
                )
        if not view.image_findings.any():
            log.info("no finding is present in %s: no retrieval by shared findings", self.split)
            return
        yield from self._precision(
            f"{name}_to_text",
            view.scores_of_images,
            view.patient_of_image,
            view.image_findings,
            view.text_findings,
        )
        yield from self._precision(
            f"text_to_{name}",
            view.scores_of_texts,
            view.patient_of_text,
            view.text_findings,
            view.image_findings,
        )

    def _precision(
        self,
        direction: str,
        scores_of: Callable[[np.ndarray], np.ndarray],
        patient_id: np.ndarray,
        findings: np.ndarray,
        candidates: np.ndarray,
    ) -> Iterator[tuple[str, float]]:
        queries = self._drawn(np.flatnonzero(findings), patient_id)
        block = max(1, BLOCK_ELEMENTS // len(candidates))
        precisions, relevant_counts = [], []
        for start in range(0, len(queries), block):
            rows = queries[start : start + block]
            relevant = (findings[rows, None] & candidates) != 0
            precisions.append(average_precisions(scores_of(rows), relevant))
            relevant_counts.append(relevant.sum(axis=1))
        chance = chance_average_precisions(np.concatenate(relevant_counts), len(candidates))
        patients, patient_of_query = np.unique(patient_id[queries], return_inverse=True)
        mean = patient_means({"map": np.concatenate(precisions)}, patient_of_query)
        name = f"{self.split}/retrieval/{direction}_map"
        yield f"{name}_queries", float(len(queries))
        found = estimates(mean, patients, **self.bootstrap)["map"]
        yield from found.named(f"{name}_shared_findings", chance.mean())

    def _drawn(self, queries: np.ndarray, patient_id: np.ndarray) -> np.ndarray:
        """At most `map_queries` of the queries, those of whole patients (the last one cut)."""
        if len(queries) <= self.map_queries:
            return queries
        _, patient_of_query = np.unique(patient_id[queries], return_inverse=True)
        turn = np.random.default_rng(self.seed).permutation(patient_of_query.max() + 1)
        return queries[np.argsort(turn[patient_of_query], kind="stable")[: self.map_queries]]
