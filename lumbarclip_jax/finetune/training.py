"""Training a classifier on labels, with the epoch chosen on the validation split."""

import logging
import math
from collections.abc import Callable, Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.evaluators.class_metrics import surprise
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.imbalance.strategy import STRATEGIES
from lumbarclip_jax.finetune.initial_encoder import InitialEncoder
from lumbarclip_jax.finetune.network import Ensemble, Network
from lumbarclip_jax.finetune.step import make_step
from lumbarclip_jax.training import optim

log = logging.getLogger(__name__)

WARMUP = 0.1  # of the steps

# `classifier(examples)` gives probabilities [M, K] by task.
Classifier = Callable[[Examples], dict[str, np.ndarray]]


def train(
    initial: InitialEncoder,
    train_examples: Examples,
    validation: Examples,
    recipe: ConfigDict,
    *,
    strategy: str,
    seed: int,
) -> Ensemble:
    """Trains `recipe.members` networks with a head for each task of the examples.

    Args:
      initial: the encoder.
      train_examples: what is fitted.
      validation: of every network the epoch with the least log loss on it is kept.
      recipe: see `recipe.py`.
      strategy: a name of `imbalance.STRATEGIES`.
      seed: of the new weights, the order, augmentation and mixing; member k has seed + k.

    Returns:
      The networks, whose probabilities are averaged.

    Raises:
      ValueError: the batch does not divide over the devices, or is larger than the training set.
      FloatingPointError: the validation loss is no number in any epoch.
    """
    mesh = sharding.make_mesh()
    sharding.check_batch_size(recipe.batch_size, mesh, "--recipe.batch_size")
    steps_an_epoch = len(train_examples) // recipe.batch_size
    if not steps_an_epoch:
        raise ValueError(
            f"--recipe.batch_size={recipe.batch_size} is larger than the {len(train_examples)} "
            "labelled training images: lower it"
        )
    network = Network(
        initial,
        tuple((task.name, len(task.classes)) for task in train_examples.tasks),
        recipe,
        STRATEGIES[strategy].cosine_scale,
    )
    total_steps = recipe.epochs * steps_an_epoch
    make_state, take_step = make_step(
        network.model, initial, recipe, STRATEGIES[strategy], train_examples.counts, total_steps
    )

    def validated(variables: dict) -> float:
        said = network.probabilities([variables], validation.images, validation.levels)
        return log_loss(validation, said)

    def best_epoch(member: int) -> tuple[dict, int]:
        key, step = jax.random.key(member), 0
        state = make_state(key)
        least, best, kept = math.inf, None, 0
        for epoch in range(1, recipe.epochs + 1):
            for batch in _batches(train_examples, recipe.batch_size, seed=(member, epoch)):
                lr = optim.learning_rate(_schedule(recipe, total_steps), step, total_steps)
                state = take_step(state, sharding.shard_batch(batch, mesh), lr, key)
                step += 1
            loss = validated(state.averaged)
            log.info("seed %d, epoch %d: validation log loss %.4f", member, epoch, loss)
            if loss < least:
                least, best, kept = loss, jax.device_get(state.averaged), epoch
        if best is None:
            raise FloatingPointError("the validation loss is no number: lower --recipe.optim.lr")
        log.info("seed %d: epoch %d of %d is kept", member, kept, recipe.epochs)
        return best, kept

    members, epochs = zip(*map(best_epoch, range(seed, seed + recipe.members)), strict=True)
    return Ensemble(network, members, epochs)


def log_loss(examples: Examples, probabilities: dict[str, np.ndarray]) -> float:
    """The mean over tasks of the mean -log p of the labelled images."""
    losses = []
    for task in examples.tasks:
        predicted = examples.predictions(task, probabilities[task.name])
        losses.append(surprise(predicted.probabilities, predicted.labels).mean())
    return float(np.mean(losses))


def _batches(examples: Examples, size: int, seed: tuple[int, int]) -> Iterator[dict]:
    """One epoch in a drawn order, without the images that do not fill a last batch."""
    order = np.random.default_rng(seed).permutation(len(examples))
    levels, labels = examples.levels, examples.labels
    for places in order[: len(order) // size * size].reshape(-1, size):
        yield {
            "images": examples.images(places),
            "levels": levels[places],
            **{task: of[places] for task, of in labels.items()},
        }


def _schedule(recipe: ConfigDict, total_steps: int) -> ConfigDict:
    warmup = {"warmup_steps": round(WARMUP * total_steps), "final_lr_fraction": 0.0}
    return ConfigDict({"lr": recipe.optim.lr} | warmup)
