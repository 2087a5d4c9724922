"""Who answers a task of patients: the most frequent class, the report's words, and what a run has.

Everything is fitted on the train split, and what must be chosen is chosen on validation.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.special
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from lumbarclip_jax.data.dataset import Columns, Dataset, with_level
from lumbarclip_jax.data.sentences import sentences
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.embedder import EmbeddedSplit
from lumbarclip_jax.evaluators.linear_probe import fit_probe
from lumbarclip_jax.evaluators.task_rows import LabelledRows

ALWAYS = "always"
BAYES, WORDS = "words_bayes", "words_logistic"
IMAGE, REPORT, BOTH = "image", "report", "image_and_report"
ZERO_SHOT = {"max": "zero_shot_max", "mean": "zero_shot_mean"}
FINE_TUNED = "finetuned"
FITTED_ON = ("train", "validation")
PROMPTS = 10  # of a class
FEWEST_WORDS = 5  # of a sentence that is a prompt

Splits = Mapping[str, LabelledRows]


def labelled(columns_of: Mapping[str, Columns], task: str) -> dict[str, LabelledRows]:
    """The rows of every split with a label.

    Raises:
      ValueError: it is no task of two classes of patients, or a split has not both of them.
    """
    found = {name: LabelledRows.of(of, of.tasks[task]) for name, of in columns_of.items()}
    for name, rows in found.items():
        if len(rows.task.classes) != 2 or rows.task.unit != "patient":
            raise ValueError(
                f"{task} asks of {rows.task.unit}s with {len(rows.task.classes)} classes: choose a "
                "task of two classes of patients"
            )
        if not rows.suffice:
            raise ValueError(f"the {name} split has not two classes of {task}: choose another task")
    return found


def without_images(dataset: Dataset, task: str, split: str) -> dict[str, Predictions]:
    """The answers of those who see no image.

    Raises:
      ValueError: as `labelled`.
    """
    rows = labelled({name: dataset.columns(name) for name in (*FITTED_ON, split)}, task)
    measured, train = rows[split], rows["train"]
    frequency = np.bincount(train.labels, minlength=len(train.task.classes)) / len(train)
    always = np.tile(frequency, (len(measured), 1))
    counter = CountVectorizer().fit(train.columns.report[_one_a_patient(train)])
    counts, labels = {}, {}
    for name, of in rows.items():
        chosen = np.arange(len(of.columns.report)) if name == split else _one_a_patient(of)
        counted: Any = counter.transform(of.columns.report[chosen])
        counts[name] = counted.toarray().astype(np.float32)
        labels[name] = of.task.labels(of.columns)[chosen]
    bayes = MultinomialNB().fit(counts["train"], labels["train"])
    words = fit_probe(
        (counts["train"], labels["train"]),
        (counts["validation"], labels["validation"]),
        len(train.task.classes),
    )
    said = counts[split][measured.rows]
    return {
        ALWAYS: measured.predicted(always),
        BAYES: measured.predicted(bayes.predict_proba(said)),
        WORDS: measured.predicted(words(said)),
    }


def of_embeddings(
    splits: Mapping[str, EmbeddedSplit], task: str, split: str
) -> dict[str, Predictions]:
    """The answers of linear classifiers on the frozen features of images, of reports, of both."""
    rows = labelled(splits, task)
    ways = {
        IMAGE: ("image_features",),
        REPORT: ("text_features",),
        BOTH: ("image_features", "text_features"),
    }
    found = {}
    for way, names in ways.items():
        features = {
            name: np.concatenate([of.features(each) for each in names], axis=1)
            for name, of in rows.items()
        }
        train, validation = ((features[name], rows[name].labels) for name in FITTED_ON)
        probe = fit_probe(train, validation, len(rows[split].task.classes))
        found[way] = rows[split].predicted(probe(features[split]))
    return found


def zero_shot(embedder, state, task: str, split: str, *, seed: int) -> dict[str, Predictions]:
    """The answers of prompts: sentences of training reports, as in the authors' code.

    There a class has 10 random sentences of its own, and its score is the highest or the mean of
    their cosines with the image. A sentence has the label of its patient here, where that code
    looks sentences up in a table of labels. The cosines are those of features before the heads
    where both towers have as many, as there, and else of embeddings.
    """
    measured = LabelledRows.of(embedded := embedder(state, split), embedded.tasks[task])
    train = LabelledRows.of(columns := embedder.columns("train"), columns.tasks[task])
    tower = "features" if embedder.has_shared_features else "embeds"
    images = _unit(measured.features(f"image_{tower}"))
    scores = np.zeros((len(ZERO_SHOT), len(measured), len(measured.task.classes)))
    drawn = draw_prompts(train, seed)
    for level in np.unique(measured.level):
        here = measured.level == level
        for label, prompts in enumerate(drawn):
            texts = [with_level(text, str(level), embedder.level_prefix) for text in prompts]
            cosines = images[here] @ _unit(embedder.encode_text(state, texts, f"text_{tower}")).T
            scores[:, here, label] = cosines.max(axis=1), cosines.mean(axis=1)
    sharpness = np.exp(embedder.logit_scale(state))
    return {
        way: measured.predicted(scipy.special.softmax(sharpness * of, axis=1))
        for way, of in zip(ZERO_SHOT.values(), scores, strict=True)
    }


def draw_prompts(train: LabelledRows, seed: int) -> list[list[str]]:
    """`PROMPTS` distinct sentences of every class, in the order of the classes.

    Raises:
      ValueError: the reports of a class have no sentence of `FEWEST_WORDS` words.
    """
    rng = np.random.default_rng(seed)
    rows = _one_a_patient(train)
    labels = train.task.labels(train.columns)[rows]
    drawn = []
    for label, name in enumerate(train.task.classes):
        found = {
            " ".join(sentence.split())
            for report in train.columns.report[rows[labels == label]]
            for sentence in sentences(str(report))
            if len(re.findall(r"\w+", sentence)) >= FEWEST_WORDS
        }
        if not found:
            raise ValueError(
                f"no training report of {name!r} has a sentence of {FEWEST_WORDS} words to ask "
                "with: choose another task"
            )
        pool = sorted(found)
        chosen = rng.permutation(len(pool))[:PROMPTS]
        drawn.append([pool[place] for place in chosen])
    return drawn


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _one_a_patient(rows: LabelledRows) -> np.ndarray:
    """The first labelled row of every patient: a report stands for its patient once."""
    _, first = np.unique(rows.patient_id, return_index=True)
    return rows.rows[np.sort(first)]
