"""Embeddings of splits by study, for evaluators that work on rows and know no images."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from lumbarclip_jax.data.dataset import Columns
from lumbarclip_jax.evaluators import studies, study_pooling
from lumbarclip_jax.evaluators.embedder import EmbeddedSplit, Embedder

NO_LEVEL_PREFIX = (
    "a study shows several discs, and the texts of data.level_prefix=True begin with a single one: "
    "measure by image, where retrieval by patient compares the images of each disc with the report "
    "as it is read there, or train with data.level_prefix=False"
)
SHOWN = 4  # images of a study in a picture


class StudyEmbedder:
    """`Embedder` with a row a study, all its images as one.

    Its embedding is the normalised mean of the unit embeddings of its images, its features are
    their mean, or both are what the model makes of the features. Texts and labels are those of
    `studies.by_study`. Heads say classes of an image at a disc level, so that a study has none.

    Args:
      by_image: the embedder of the images.
      pool: (state, features [B, N, D], mask [B, N]) -> image_embeds and image_features, of a model
        that pools studies; None of any other.

    Raises:
      ValueError: texts begin with a disc level.
    """

    unit = "study"
    heads = ()

    def __init__(self, by_image: Embedder, pool: Callable | None = None):
        if by_image.level_prefix:
            raise ValueError(NO_LEVEL_PREFIX)
        self.by_image = by_image
        self._pool = pool
        self.splits = by_image.splits
        self.level_prefix = by_image.level_prefix
        self.has_shared_features = by_image.has_shared_features
        self.encode_text = by_image.encode_text
        self.logit_scale = by_image.logit_scale
        self._columns: dict[str, Columns] = {}
        self._kept: dict[str, tuple[EmbeddedSplit, EmbeddedSplit]] = {}

    def __call__(self, state, split: str) -> EmbeddedSplit:
        """All studies of a split, in the order of `Columns.study`."""
        images = self.by_image(state, split)
        of_images, found = self._kept.get(split, (None, None))
        if found is None or of_images is not images:
            found = self._pooled(state, split, images)
            self._kept[split] = images, found
        return found

    def columns(self, split: str) -> Columns:
        """Texts and labels of a split, without encoding anything."""
        if split not in self._columns:
            self._columns[split] = studies.by_study(self.by_image.columns(split))
        return self._columns[split]

    def changed(self, state, split: str, change: Callable) -> EmbeddedSplit:
        """As `Embedder.changed`: the rows that `change` is told are those of images."""
        return self._pooled(state, split, self.by_image.changed(state, split, change))

    def images(self, split: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """A picture of each of the given studies, uint8 [K, S, S, 1].

        Of several images `SHOWN` at most, of its levels and sequences in turn, each as half a side.
        """
        columns = self.by_image.columns(split)
        study = columns.study
        return np.stack([self._picture(split, columns, study == row) for row in indices])

    def _picture(self, split: str, columns: Columns, own: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(own)
        rows = rows[np.lexsort((rows, columns.sequence[rows], columns.level[rows]))]
        most = min(SHOWN, len(rows))
        stored = self.by_image.images(split, rows[np.arange(most) * len(rows) // most])
        if most == 1:
            return stored[0]
        side = stored.shape[1]
        half = math.ceil(side / 2)
        picture = np.zeros((2 * half, 2 * half, 1), np.uint8)
        for place, image in enumerate(stored):
            top, left = half * (place // 2), half * (place % 2)
            picture[top : top + half, left : left + half] = image[::2, ::2]
        return picture[:side, :side]

    def _pooled(self, state, split: str, images: EmbeddedSplit) -> EmbeddedSplit:
        study = images.study
        first = np.unique(study, return_index=True)[1]
        if self._pool is None:
            embeds = study_pooling.mean_pooled(images.image_embeds, study)
            features = study_pooling.mean_features(images.image_features, study)
        else:
            pool = functools.partial(self._pool, state)
            found = study_pooling.learnt(pool, images.image_features, study)
            embeds, features = found["image_embeds"], found["image_features"]
        # Without a level in front all images of a study have the same text.
        return EmbeddedSplit(
            **{f.name: getattr(self.columns(split), f.name) for f in dataclasses.fields(Columns)},
            image_embeds=embeds,
            image_features=features,
            text_embeds=images.text_embeds[first],
            text_features=images.text_features[first],
        )
