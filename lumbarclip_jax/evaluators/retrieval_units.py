"""What retrieval compares: single images, or patients, with the distinct reports of a split."""

import dataclasses

import numpy as np

from lumbarclip_jax.evaluators.reports import Reports
from lumbarclip_jax.evaluators.shared_findings import finding_sets, united


@dataclasses.dataclass(frozen=True)
class View:
    """N images or patients against G reports at L readings.

    `pairs` are an image and a correct report for it, each once, in order of the images. A report
    that several patients share is one query, resampled with the first of them.
    """

    images: np.ndarray  # [N, E] unit length
    texts: np.ndarray  # [L, G, E] unit length
    reading_of_image: np.ndarray  # [N]
    pairs: np.ndarray  # [2, Q]
    patient_of_image: np.ndarray  # [N] str
    patient_of_text: np.ndarray  # [G] str
    image_findings: np.ndarray  # [N] int64, see shared_findings.finding_sets
    text_findings: np.ndarray  # [G] int64

    def scores_of_images(self, rows: np.ndarray) -> np.ndarray:
        """Cosines `[B, G]` of some images to all reports, each at the image's reading."""
        if len(self.texts) == 1:
            return self.images[rows] @ self.texts[0].T
        scores = np.empty((len(rows), self.texts.shape[1]), np.float32)
        for reading, texts in enumerate(self.texts):
            at = self.reading_of_image[rows] == reading
            scores[at] = self.images[rows[at]] @ texts.T
        return scores

    def scores_of_texts(self, rows: np.ndarray) -> np.ndarray:
        """Cosines `[B, N]` of some reports to all images, each at the image's reading."""
        if len(self.texts) == 1:
            return self.texts[0, rows] @ self.images.T
        scores = np.empty((len(rows), len(self.images)), np.float32)
        for reading, texts in enumerate(self.texts):
            at = self.reading_of_image == reading
            scores[:, at] = texts[rows] @ self.images[at].T
        return scores


def by_image(embedded, reports: Reports) -> View:
    """Every image for itself."""
    findings = finding_sets(embedded)
    return View(
        images=embedded.image_embeds,
        texts=reports.text_embeds,
        reading_of_image=reports.reading_of_row,
        pairs=np.stack([np.arange(len(findings)), reports.report_of_row]),
        patient_of_image=embedded.patient_id,
        patient_of_text=embedded.patient_id[reports.first_row],
        image_findings=findings,
        text_findings=united(findings, reports.report_of_row),
    )


def by_patient(embedded, reports: Reports) -> View:
    """The mean of a patient's unit image embeddings, normalised again.

    With several readings they lie side by side, `[P, L*E]` and `[1, G, L*E]`, so that the product
    sums the patient's images against the report, each at its own reading.
    """
    patients, patient_of_row = np.unique(embedded.patient_id, return_inverse=True)
    findings = finding_sets(embedded)
    readings, texts, width = reports.text_embeds.shape
    images = np.zeros((len(patients), readings, width), np.float32)
    np.add.at(images, (patient_of_row, reports.reading_of_row), embedded.image_embeds)
    images = images.reshape(len(patients), -1)
    images /= np.maximum(np.linalg.norm(images, axis=1, keepdims=True), 1e-12)
    side_by_side = reports.text_embeds.transpose(1, 0, 2).reshape(1, texts, -1)
    return View(
        images=images,
        texts=side_by_side / np.sqrt(np.float32(readings)),
        reading_of_image=np.zeros(len(patients), np.int64),
        pairs=np.unique(np.stack([patient_of_row, reports.report_of_row]), axis=1),
        patient_of_image=patients,
        patient_of_text=embedded.patient_id[reports.first_row],
        image_findings=united(findings, patient_of_row),
        text_findings=united(findings, reports.report_of_row),
    )
