"""Zero-shot classification from prompts.

After CheXzero (Tiu et al., 2022): each class of a task is described by many prompts, its embedding
is the mean of the prompts' unit embeddings, normalised again, and the probability of "X" is the
softmax of an image's cosines to "X" and to "no X". Prompts name the image's own level, and begin
with it where the model's training texts did; they are kept as data in `prompts/`.
"""

import logging
from collections.abc import Iterator

import numpy as np
import scipy.special

from lumbarclip_jax.data.dataset import with_level
from lumbarclip_jax.evaluators.classification import Predictions, named_counts
from lumbarclip_jax.evaluators.prompts import load_prompts
from lumbarclip_jax.evaluators.tasks import TASKS, UNLABELLED

log = logging.getLogger(__name__)


class ZeroShot:
    """Yields `<split>/zero_shot/<task>/<metric>` and counts.

    The metrics are those of `Predictions`. Prompts name the level, so scores hold what the level
    tells: read `auroc_within_level`. After a run `predictions` maps each measured task to its
    `Predictions`.
    """

    def __init__(
        self,
        embedder,
        *,
        split: str,
        tasks: tuple[str, ...] = tuple(TASKS),
        resamples: int = 1000,
        seed: int = 0,
    ):
        self.embedder = embedder
        self.split = split
        self.tasks = tasks
        self.bootstrap = {"resamples": resamples, "seed": seed}
        self.predictions: dict[str, Predictions] = {}

    def run(self, state) -> Iterator[tuple[str, float]]:
        embedded = self.embedder(state, self.split)
        self.predictions = {}
        for task in self.tasks:
            prefix = f"{self.split}/zero_shot/{task}"
            labels = TASKS[task].labels(embedded)
            rows = np.flatnonzero(labels != UNLABELLED)
            yield from named_counts(
                prefix, labels[rows], embedded.patient_id[rows], TASKS[task].classes
            )
            if len(np.unique(labels[rows])) < 2:
                log.warning(
                    "%s skipped: %d labelled images, %d of them positive; both classes are needed",
                    prefix,
                    len(rows),
                    labels[rows].sum(),
                )
                continue
            classes = self._class_embeds(state, task, np.unique(embedded.level[rows]))
            cosines = np.stack(
                [embedded.image_embeds[row] @ classes[embedded.level[row]].T for row in rows]
            )
            self.predictions[task] = Predictions(
                classes=TASKS[task].classes,
                labels=labels[rows],
                probabilities=scipy.special.softmax(cosines.astype(np.float64), axis=1),
                patient_id=embedded.patient_id[rows],
                level=embedded.level[rows],
                image_id=embedded.image_id[rows],
            )
            yield from self.predictions[task].named_metrics(prefix, **self.bootstrap)

    def _class_embeds(self, state, task: str, levels: np.ndarray) -> dict[str, np.ndarray]:
        """Unit embeddings `[2, E]` of "no X" and "X" at each level."""
        prompts = {
            (level, polarity): [
                with_level(prompt, level, self.embedder.level_prefix)
                for prompt in load_prompts(task, level, polarity)
            ]
            for level in levels
            for polarity in ("negative", "positive")
        }
        embeds = self.embedder.encode_text(
            state, [text for texts in prompts.values() for text in texts]
        )
        ends = np.cumsum([len(texts) for texts in prompts.values()])
        means = [part.mean(axis=0) for part in np.split(embeds, ends[:-1])]
        units = np.stack([mean / np.linalg.norm(mean) for mean in means])
        return dict(zip(levels, units.reshape(len(levels), 2, -1), strict=True))
