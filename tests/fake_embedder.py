"""A made-up model and data set for the evaluators: arrays with a planted signal."""

import dataclasses
import re

import numpy as np

from data_prep.records.findings import FINDINGS, LEVEL_FINDINGS
from lumbarclip_jax.data.tasks import TASKS, tasks_of
from lumbarclip_jax.evaluators import evaluator_class
from lumbarclip_jax.evaluators.embedder import EmbeddedSplit

LEVELS = ("L3-L4", "L4-L5", "L5-S1")
LEVEL_NAMES = LEVEL_FINDINGS
EMBED = 16
LOGIT_SCALE = np.log(10)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def make_split(patients: int, seed: int, signal: float = 2.0) -> EmbeddedSplit:
    """Three levels a patient; the bulge of a level moves feature 0 and embedding axis 0.

    Patients 0 and 1 of a split carry the same report.
    """
    rng = np.random.default_rng(seed)
    rows = 3 * patients
    patient = np.repeat(np.arange(patients), 3)
    bulge = rng.random(rows) < np.tile([0.3, 0.6, 0.4], patients)
    status = np.zeros((rows, len(LEVEL_NAMES)), np.uint8)
    status[:, 0] = bulge
    group = np.where(patient == 1, 0, patient)
    report_vectors = unit(rng.normal(size=(patients, EMBED)))
    report_vectors[:, 0] = 0
    features = rng.normal(size=(rows, 5))
    features[:, 0] += signal * bulge
    embeds = 0.8 * report_vectors[group] + 0.1 * rng.normal(size=(rows, EMBED))
    embeds[:, 0] = 0.5 * signal * (bulge - 0.5) + 0.3 * rng.normal(size=rows)
    return EmbeddedSplit(
        image_embeds=unit(embeds),
        image_features=features.astype(np.float32),
        text_embeds=unit(report_vectors[group]),
        text_features=report_vectors[group].astype(np.float32),
        patient_id=np.char.add(f"s{seed}p", patient.astype(str)),
        image_id=np.char.add(f"s{seed}i", np.arange(rows).astype(str)),
        report_group=np.char.add("g", group.astype(str)),
        report=np.char.add("report number ", group.astype(str)),
        level=np.tile(LEVELS, patients),
        sequence=np.full(rows, "T1"),
        findings=np.zeros((rows, 17), np.uint8),
        level_findings=status,
        pfirrmann=np.where(bulge, 4, 2).astype(np.uint8),
        study_id=np.char.add(f"s{seed}p", patient.astype(str)),
        names=tuple(FINDINGS),
        level_names=LEVEL_NAMES,
        own_labels=np.zeros((rows, 0), np.int8),
        tasks=TASKS,
    )


OWN = {
    "name": "pain",
    "classes": ["no pain", "pain"],
    "unit": "patient",
    "ordered": False,
    "column": "pain",
}


def with_own_task(split: EmbeddedSplit) -> EmbeddedSplit:
    """With the task `pain` of patients: whether the first of their levels has a bulge.

    Every seventh patient has no label.
    """
    first = np.repeat(split.level_findings[::3, 0], 3).astype(np.int8)
    labels = np.where(np.arange(len(split)) // 3 % 7 == 6, -1, first)[:, None]
    return dataclasses.replace(split, own_labels=labels, tasks=tasks_of({"tasks": [OWN]}))


class FakeEmbedder:
    """Serves given splits; its text encoder knows negation and nothing else."""

    has_shared_features = False
    unit = "image"

    def __init__(self, level_prefix: bool = False, **splits: EmbeddedSplit):
        self._splits = splits
        self.splits = tuple(splits)
        self.level_prefix = level_prefix

    def __call__(self, state, split: str) -> EmbeddedSplit:
        return self._splits[split]

    def columns(self, split: str) -> EmbeddedSplit:
        return self._splits[split]

    def encode_text(self, state, texts: list[str], output: str = "text_embeds") -> np.ndarray:
        embeds = np.zeros((len(texts), EMBED))
        denied = [re.search(r"\b(no|normal|unremarkable)\b", text.lower()) for text in texts]
        embeds[:, 0] = np.where(np.array(denied, bool), -1, 1)
        embeds[:, 1] = [len(text) / 100 for text in texts]
        # Features have as many numbers as those of `make_split`'s reports.
        return unit(embeds) * {"text_embeds": 1, "text_features": 3}[output]

    def logit_scale(self, state) -> float:
        return LOGIT_SCALE

    def changed(self, state, split: str, change) -> EmbeddedSplit:
        """The split as it is: these embeddings come from no pixels."""
        rows = range(len(self._splits[split]))
        change(self.images(split, rows), rows)
        return self._splits[split]

    def images(self, split: str, indices: np.ndarray) -> np.ndarray:
        return np.stack([np.full((4, 4, 1), index, np.uint8) for index in indices])


def three_splits() -> FakeEmbedder:
    return FakeEmbedder(
        train=make_split(60, 0), validation=make_split(20, 1), test=make_split(40, 2)
    )


def run(name: str, embedder: FakeEmbedder, **options) -> dict[str, float]:
    """All that an evaluator finds on the test split."""
    options = {"split": "test", "resamples": 200, **options}
    found, _ = evaluator_class(name)(embedder, **options).run(state=None)
    return found
