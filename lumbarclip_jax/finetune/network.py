"""A trained classifier: networks of one shape, and probabilities in batches of few sizes."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.initial_encoder import InitialEncoder
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.models.classifier import ImageClassifier
from lumbarclip_jax.objectives.term import LOGITS
from lumbarclip_jax.training.model_state import KEY_SHAPE, initial_state

# Pixels of some of M images, by their places [B]: uint8 [B, S, S, 1].
Images = Callable[[np.ndarray], np.ndarray]


class Network:
    """The shape that the members of an ensemble share: all of a classifier but its weights.

    Args:
      initial: the encoder, and how images are cut for it.
      heads: (task, number of classes) of each head.
      recipe: see `recipe.py`.
      cosine_scale: of the heads, see `ImageClassifier`.
      fsdp: devices that each parameter is split over in training; used on any number.
    """

    def __init__(
        self,
        initial: InitialEncoder,
        heads: tuple[tuple[str, int], ...],
        recipe: ConfigDict,
        cosine_scale: float | None,
        fsdp: int = 1,
    ):
        self.initial = initial
        self.recipe = recipe
        self.mesh = sharding.make_mesh(fsdp)
        self.model = ImageClassifier(initial.encoder, heads, recipe.model.dropout, cosine_scale)
        self._forward = make_probabilities(self.model, self.pixels)

    @property
    def pixels(self) -> ConfigDict:
        """How images are cut and augmented, for `images.py`."""
        cut = {"crop_px": self.initial.crop_px, "image_size_px": self.initial.image_size_px}
        return ConfigDict(cut | {"augment": self.recipe.data.augment.to_dict()})

    @property
    def shapes(self) -> dict:
        """Shapes and types of {"params": ..., "batch_stats": ...}."""
        config = ConfigDict({"data": self.pixels})
        init = functools.partial(initial_state, self.model, config)
        made = sharding.unbox(jax.eval_shape(init, KEY_SHAPE))
        return {"params": made.params, "batch_stats": made.batch_stats}

    @property
    def start(self) -> dict[str, dict]:
        """The part of the variables that is not new."""
        brought = self.initial.variables or {}
        return {name: {"encoder": tree} for name, tree in brought.items() if tree}

    def probabilities(
        self, members: Sequence[dict], images: Images, levels: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Probabilities float64 [M, K] by task, of images at `levels` [M, L], the members' mean.

        All that is ever said of an image goes this way, in batches that are filled in the same
        way, so that a classifier in use repeats what was measured, up to rounding.
        """
        parts = []
        size = self.recipe.data.global_batch_size
        batches = sharding.filled_batches(len(levels), size, self.mesh)
        for places, used in batches:
            batch = {"images": images(places), "levels": levels[places]}
            batch = sharding.shard_batch(batch, self.mesh)
            each = [self._forward(variables, **batch) for variables in members]
            mean = jax.tree.map(lambda *of: np.mean(np.asarray(of, np.float64), axis=0), *each)
            parts.append({task: of[:used] for task, of in mean.items()})
        return jax.tree.map(lambda *of: np.concatenate(of), *parts)


def make_probabilities(model: ImageClassifier, pixels: ConfigDict):
    """Returns jitted `probabilities(variables, images, levels) -> {task: [B, K]}`.

    Of networks that are trained with mirrored images, the mean over both sides.
    """

    def probabilities(variables, images, levels):
        sides = [prepare_images(images, pixels)]
        if pixels.augment.mirror:
            sides.append(sides[0][:, :, ::-1])
        each = [jax.tree.map(jax.nn.softmax, model.apply(variables, s, levels)) for s in sides]
        mean = jax.tree.map(lambda *parts: sum(parts) / len(parts), *each)
        return {name.removeprefix(LOGITS): of for name, of in mean.items()}

    return jax.jit(probabilities)


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
