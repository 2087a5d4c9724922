"""Image-to-text and text-to-image retrieval over a whole split.

Protocol. Equal reports are one candidate (see `reports`), and any image of such a group answers it
correctly, since nothing could tell them apart. Retrieval is measured by image, every slice a query,
and by patient, with the mean of the patient's unit embeddings, normalised again. Rank, ties and
chance are defined in `ranking`; intervals resample the patients of the queries and keep the
candidates.
"""

from collections.abc import Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import estimates
from lumbarclip_jax.evaluators.ranking import best_ranks, chance_metrics, rank_metrics
from lumbarclip_jax.evaluators.reports import Reports, distinct_reports


class Retrieval:
    """Yields `<split>/retrieval/{image_to_text,text_to_image,patient_to_text,text_to_patient}_*`.

    Each direction has `recall_at_1`, `recall_at_5`, `recall_at_10`, `mrr` and `median_rank`, with
    interval and chance; `images`, `texts` and `patients` count the candidates.
    """

    def __init__(self, embedder, *, split: str, resamples: int = 1000, seed: int = 0):
        self.embedder = embedder
        self.split = split
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> Iterator[tuple[str, float]]:
        embedded = self.embedder(state, self.split)
        reports = distinct_reports(self.embedder, state, embedded)
        patients, patient_of_row = np.unique(embedded.patient_id, return_inverse=True)
        prefix = f"{self.split}/retrieval"
        yield f"{prefix}/images", float(len(embedded.patient_id))
        yield f"{prefix}/texts", float(len(reports.first_row))
        yield f"{prefix}/patients", float(len(patients))

        # A text that several patients share is one query; it is resampled with the first of them.
        patient_of_text = embedded.patient_id[reports.first_row]
        by_image = (
            embedded.image_embeds,
            reports.text_embeds,
            reports.reading_of_row,
            np.arange(len(patient_of_row)),
            embedded.patient_id,
        )
        by_patient = (
            *_patient_embeds(embedded.image_embeds, patient_of_row, reports),
            np.zeros(len(patients), np.int64),
            patient_of_row,
            patients,
        )
        for view, inputs in (("image", by_image), ("patient", by_patient)):
            images, texts, reading_of_image, image_of_row, patient_of_image = inputs
            pairs = np.unique(np.stack([image_of_row, reports.report_of_row]), axis=1)
            image_ranks, text_ranks = best_ranks(images, texts, reading_of_image, pairs)
            directions = (
                (f"{view}_to_text", image_ranks, patient_of_image, texts.shape[1], pairs[0]),
                (f"text_to_{view}", text_ranks, patient_of_text, len(images), pairs[1]),
            )
            for direction, ranks, patient_of_query, candidates, query_of_pair in directions:
                found = estimates(rank_metrics(ranks), patient_of_query, **self.bootstrap)
                chance = chance_metrics(candidates, np.bincount(query_of_pair))
                for name, estimate in found.items():
                    yield from estimate.named(f"{prefix}/{direction}_{name}", chance[name])


def _patient_embeds(
    image_embeds: np.ndarray, patient_of_row: np.ndarray, reports: Reports
) -> tuple[np.ndarray, np.ndarray]:
    """Patients `[P, L*E]` and reports `[1, G, L*E]` of unit length, readings side by side.

    Their product sums a patient's images against the report, each at its own reading. With one
    reading these are the mean image embeddings and the text embeddings.
    """
    readings, texts, width = reports.text_embeds.shape
    patients = np.zeros((patient_of_row.max() + 1, readings, width), np.float32)
    np.add.at(patients, (patient_of_row, reports.reading_of_row), image_embeds)
    patients = patients.reshape(len(patients), -1)
    patients /= np.maximum(np.linalg.norm(patients, axis=1, keepdims=True), 1e-12)
    side_by_side = reports.text_embeds.transpose(1, 0, 2).reshape(1, texts, -1)
    return patients, side_by_side / np.sqrt(np.float32(readings))
