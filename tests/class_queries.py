"""Retrieval by class the plain way: every query with its scores and its candidates' classes."""

import dataclasses

import numpy as np

from lumbarclip_jax.evaluators.reports import distinct_reports
from tests.fake_embedder import EMBED, unit

NONE = -1


@dataclasses.dataclass
class Query:
    scores: np.ndarray
    label: int
    candidates: np.ndarray  # classes
    patient: str

    def share(self, measure: str) -> float:
        kind, k = measure.split("_at_")
        known = self.candidates != NONE
        nearest = np.argsort(-self.scores[known], kind="stable")[: int(k)]
        right = self.candidates[known] == self.label
        return right[nearest].mean() if kind == "precision" else right[nearest].sum() / right.sum()

    def chance(self, measure: str) -> float:
        kind, k = measure.split("_at_")
        known = self.candidates[self.candidates != NONE]
        return np.mean(known == self.label) if kind == "precision" else min(int(k) / len(known), 1)


def highest(labels) -> int:
    return max(labels, default=NONE)


def queries_of(split, embedder, task) -> dict[str, list[Query]]:
    """All queries of every direction of a task of images that has a class at each level, or of
    patients, which has one; one loop a direction."""
    labels = task.labels(split)
    reports = distinct_reports(embedder, None, split)
    patients, groups = np.unique(split.patient_id), np.unique(split.report_group)
    levels = np.unique(split.level) if task.unit == "image" else [None]
    reading = dict(zip(np.unique(split.level), range(3), strict=True))

    def text(group: int, row: int) -> np.ndarray:
        return reports.text_embeds[reading[split.level[row]] if embedder.level_prefix else 0, group]

    def at(level) -> np.ndarray:
        return (split.level == level) | (level is None)

    rows = range(len(labels))
    scores = np.array(
        [[split.image_embeds[m] @ text(g, m) for g in range(len(groups))] for m in rows]
    )
    means = []
    for patient in patients:
        own = np.flatnonzero(split.patient_id == patient)
        summed = np.zeros((3, EMBED))
        for m in own:
            summed[reading[split.level[m]] if embedder.level_prefix else 0] += split.image_embeds[m]
        means.append(scores[own].sum(axis=0) / np.linalg.norm(summed))
    by_patient = np.array(means)
    of_patient = np.array([highest(labels[split.patient_id == patient]) for patient in patients])
    of_text = np.array([highest(labels[split.report_group == group]) for group in groups])
    owner = [split.patient_id[split.report_group == group][0] for group in groups]
    found: dict[str, list[Query]] = {
        "patient_to_text": [
            Query(by_patient[p], of_patient[p], of_text, patients[p]) for p in range(len(patients))
        ],
        "text_to_patient": [
            Query(by_patient[:, g], of_text[g], of_patient, owner[g]) for g in range(len(groups))
        ],
        "image_to_text": [],
        "text_to_image": [],
    }
    for level in levels:
        here = np.array(
            [highest(labels[(split.report_group == group) & at(level)]) for group in groups]
        )
        images = np.where(at(level), labels, NONE)
        found["image_to_text"] += [
            Query(scores[m], images[m], here, split.patient_id[m]) for m in rows
        ]
        found["text_to_image"] += [
            Query(scores[:, g], here[g], images, owner[g]) for g in range(len(groups))
        ]
    return {name: [q for q in of if q.label != NONE] for name, of in found.items()}


def hedged(split):
    """Some levels hedge their bulge, and noise takes the place of what was planted."""
    rng = np.random.default_rng(5)
    status = split.level_findings.copy()
    status[rng.random(len(status)) < 0.2, 0] = 3
    return dataclasses.replace(
        split,
        level_findings=status,
        image_embeds=unit(rng.normal(size=split.image_embeds.shape)),
    )
