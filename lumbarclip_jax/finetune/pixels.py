"""The baseline without a network: principal components of pixels and a logistic regression."""

import numpy as np
from sklearn.decomposition import PCA

from lumbarclip_jax.evaluators.linear_probe import fit_probe
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.training import Classifier

CROP_PX = 160
SIDE_PX = 40
COMPONENTS = 100


def fit_pixels(train_examples: Examples, validation: Examples) -> Classifier:
    """A logistic regression a task on 100 components of 40 x 40 pixels and the disc level.

    The pixels are means over squares of the central 160 (110 mm), grey values as stored. Of the
    strengths of regularisation the one with the least validation log loss is kept.
    """
    pixels = _pixels(train_examples)
    pca = PCA(min(COMPONENTS, *pixels.shape), random_state=0).fit(pixels)

    def features(examples: Examples) -> np.ndarray:
        return np.concatenate([pca.transform(_pixels(examples)), examples.levels], axis=1)

    def labelled(examples: Examples, task) -> tuple[np.ndarray, np.ndarray]:
        of = examples.labelled(task)
        return features(examples)[of.rows], of.labels

    probes = {
        task.name: fit_probe(
            labelled(train_examples, task), labelled(validation, task), len(task.classes)
        )
        for task in train_examples.tasks
    }
    return lambda examples: {task: probe(features(examples)) for task, probe in probes.items()}


def _pixels(examples: Examples) -> np.ndarray:
    """`[M, 1600]` float32 in 0 .. 1."""
    images = examples.images(np.arange(len(examples)))[..., 0]
    size = images.shape[1]
    side = min(SIDE_PX, size)
    square = min(CROP_PX, size) // side
    first = (size - square * side) // 2
    images = images[:, first : first + square * side, first : first + square * side]
    squares = images.reshape(len(images), side, square, side, square)
    return squares.mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1) / 255
