"""Image-to-text and text-to-image retrieval over a whole split.

Protocol. Equal reports are one candidate: records of one `report_group` share a text, and any image
of the group answers it correctly, since nothing could tell them apart. Retrieval is measured by
image, every slice a query, and by patient, with the mean of the patient's unit embeddings,
normalised again. Rank, ties and chance are defined in `ranking`; intervals resample the patients
of the queries and keep the candidates.
"""

from collections.abc import Iterator

import numpy as np

from lumbarclip_jax.evaluators.bootstrap import estimates
from lumbarclip_jax.evaluators.ranking import best_ranks, chance_metrics, rank_metrics


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
        prefix = f"{self.split}/retrieval"
        texts, first_row, group = unique_texts(embedded)
        patients, patient_of_text, patient = np.unique(
            embedded.patient_id, return_index=True, return_inverse=True
        )
        yield f"{prefix}/images", float(len(group))
        yield f"{prefix}/texts", float(len(texts))
        yield f"{prefix}/patients", float(len(patients))

        # A text that several patients share is one query; it is resampled with the first of them.
        patient_of_text = embedded.patient_id[first_row]
        views = {
            "image": (embedded.image_embeds, np.arange(len(group)), embedded.patient_id),
            "patient": (_patient_means(embedded.image_embeds, patient), patient, patients),
        }
        for view, (images, image_of_row, patient_of_image) in views.items():
            pairs = np.unique(np.stack([image_of_row, group], axis=1), axis=0)
            image_ranks, text_ranks = best_ranks(images, texts, *pairs.T)
            directions = (
                (f"{view}_to_text", image_ranks, patient_of_image, len(texts), pairs[:, 0]),
                (f"text_to_{view}", text_ranks, patient_of_text, len(images), pairs[:, 1]),
            )
            for direction, ranks, patient_of_query, candidates, query_of_pair in directions:
                found = estimates(rank_metrics(ranks), patient_of_query, **self.bootstrap)
                chance = chance_metrics(candidates, np.bincount(query_of_pair))
                for name, estimate in found.items():
                    yield from estimate.named(f"{prefix}/{direction}_{name}", chance[name])


def unique_texts(embedded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct reports of a split, equal ones merged.

    Returns:
      Their embeddings `[G, E]`, the first row that carries each `[G]`, and each row's text `[M]`.
    """
    _, first_row, group = np.unique(embedded.report_group, return_index=True, return_inverse=True)
    return embedded.text_embeds[first_row], first_row, group


def _patient_means(image_embeds: np.ndarray, patient: np.ndarray) -> np.ndarray:
    sums = np.zeros((patient.max() + 1, image_embeds.shape[1]), np.float32)
    np.add.at(sums, patient, image_embeds)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
