"""A trained classifier: networks of one shape, and probabilities in batches of few sizes."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.initial_encoder import InitialEncoder
from lumbarclip_jax.finetune.step import make_init, make_probabilities
from lumbarclip_jax.models.classifier import ImageClassifier

# Pixels of some of M images, by their places [B]: uint8 [B, S, S, 1].
Images = Callable[[np.ndarray], np.ndarray]


class Network:
    """The shape that the members of an ensemble share: all of a classifier but its weights.

    Args:
      initial: the encoder, and how images are cut for it.
      heads: (task, number of classes) of each head.
      recipe: see `recipe.py`.
      cosine_scale: of the heads, see `ImageClassifier`.
    """

    def __init__(
        self,
        initial: InitialEncoder,
        heads: tuple[tuple[str, int], ...],
        recipe: ConfigDict,
        cosine_scale: float | None,
    ):
        self.initial = initial
        self.recipe = recipe
        self.mesh = sharding.make_mesh()
        self.model = ImageClassifier(initial.encoder, heads, recipe.dropout, cosine_scale)
        self._forward = make_probabilities(self.model, initial, recipe)

    @property
    def shapes(self) -> dict:
        """Shapes and types of {"params": ..., "batch_stats": ...}."""
        return jax.eval_shape(make_init(self.model, self.initial), jax.random.key(0))

    def probabilities(
        self, members: Sequence[dict], images: Images, levels: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Probabilities float64 [M, K] by task, of images at `levels` [M, L], the members' mean.

        All that is ever said of an image goes this way, in batches that are filled in the same
        way, so that a classifier in use repeats what was measured, up to rounding.
        """
        parts = []
        batches = sharding.filled_batches(len(levels), self.recipe.batch_size, self.mesh)
        for places, used in batches:
            batch = {"images": images(places), "levels": levels[places]}
            batch = sharding.shard_batch(batch, self.mesh)
            each = [self._forward(variables, **batch) for variables in members]
            mean = jax.tree.map(lambda *of: np.mean(np.asarray(of, np.float64), axis=0), *each)
            parts.append({task: of[:used] for task, of in mean.items()})
        return jax.tree.map(lambda *of: np.concatenate(of), *parts)


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Trained networks of one shape; what they say is the mean of their probabilities."""

    network: Network
    members: tuple[dict, ...]  # variables of each
    epochs: tuple[int, ...]  # that were kept of each

    def __call__(self, examples: Examples) -> dict[str, np.ndarray]:
        return self.probabilities(examples.images, examples.levels)

    def probabilities(self, images: Images, levels: np.ndarray) -> dict[str, np.ndarray]:
        """As `Network.probabilities`."""
        return self.network.probabilities(self.members, images, levels)
