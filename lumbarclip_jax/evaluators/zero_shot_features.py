"""Zero-shot classification by the features before the projections.

As LumbarCLIP's authors classify in their public code: all that `zero_shot` does, with the features
of both towers, of unit length, in place of the embeddings. The temperature is that of the
embeddings. A projection may turn each tower's features in a way of its own, so nothing but the
data says that these lie close together: read it beside `zero_shot`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.evaluators.embedder import EmbeddedSplit
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.zero_shot import ZeroShot


class ZeroShotFeatures:
    """Finds and keeps what `ZeroShot` does, under `<split>/zero_shot_features/...`.

    Raises:
      ValueError: the towers' features have no width in common, see `model.feature_dim`.
    """

    def __init__(self, embedder, *, split: str, **options):
        if not embedder.has_shared_features:
            raise ValueError(
                "zero_shot_features compares the features of both towers, whose widths are those "
                "of the encoders here: train with --config.model.feature_dim=512, or measure "
                "zero_shot"
            )
        self.split = split
        self.zero_shot = ZeroShot(_ByFeatures(embedder), split=split, **options)

    def run(self, state) -> tuple[dict[str, float], Kept]:
        found, kept = self.zero_shot.run(state)
        predictions = {self._renamed(name): said for name, said in kept.predictions.items()}
        return {self._renamed(name): value for name, value in found.items()}, Kept(predictions)

    def _renamed(self, name: str) -> str:
        return f"{self.split}/zero_shot_features/{name.removeprefix(f'{self.split}/zero_shot/')}"


class _ByFeatures:
    """An embedder whose embeddings are the features."""

    def __init__(self, embedder):
        self._embedder = embedder
        self.splits = embedder.splits
        self.level_prefix = embedder.level_prefix
        self.columns = embedder.columns
        self.logit_scale = embedder.logit_scale

    def __call__(self, state, split: str) -> EmbeddedSplit:
        embedded = self._embedder(state, split)
        return dataclasses.replace(embedded, image_embeds=_unit(embedded.image_features))

    def encode_text(self, state, texts: Sequence[str]) -> np.ndarray:
        return _unit(self._embedder.encode_text(state, texts, "text_features"))


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)
