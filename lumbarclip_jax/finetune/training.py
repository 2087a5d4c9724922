"""Training a classifier on labels, with the epoch chosen on the validation split."""

import hashlib
import json
import logging
import math
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_prep.process.files import write_whole
from data_prep.process.signals import Stopped
from lumbarclip_jax import loop
from lumbarclip_jax.data import content
from lumbarclip_jax.data.batch_reader import BatchReader
from lumbarclip_jax.data.pipeline import train_iterator
from lumbarclip_jax.evaluators.class_metrics import surprise
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.initial_encoder import InitialEncoder, definition
from lumbarclip_jax.finetune.network import Ensemble, Network
from lumbarclip_jax.losses.imbalance.strategy import STRATEGIES
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.run_folder import config_changes
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.files import CONFIG_FILE
from lumbarclip_jax.training import accumulation
from lumbarclip_jax.training.model_state import measured

log = logging.getLogger(__name__)

WARMUP = 0.1  # of the steps
CHOOSE_BY = "validation/log_loss"
# How a training is computed: it continues with other values of these.
HARMLESS = frozenset(
    {
        "data.read_threads",
        "data.read_processes",
        "data.prefetch_batches",
        "mesh.fsdp",
        "optim.accumulation_steps",
        "optim.max_skipped_steps",
    }
)

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
    folder: pathlib.Path,
) -> Ensemble:
    """Trains `recipe.members` networks with a head for each task of the examples.

    The same call in the same folder continues one that was stopped, bit for bit.

    Args:
      initial: the encoder.
      train_examples: what is fitted.
      validation: of every network the epoch with the least log loss on it is kept.
      recipe: see `recipe.py`.
      strategy: a name of `imbalance.NAMES`.
      seed: of the new weights, the order, augmentation and mixing; member k has seed + k.
      folder: gets a folder for each member, with its config, checkpoints and curves.

    Returns:
      The networks, whose probabilities are averaged.

    Raises:
      ValueError: the batch does not divide over the devices, or is larger than the training set;
        or the folder holds another training than this.
      FloatingPointError: the validation loss is no number in any epoch.
      Stopped: a signal ended it; all is saved.
    """
    heads = tuple((task.name, len(task.classes)) for task in train_examples.tasks)
    network = Network(initial, heads, recipe, STRATEGIES[strategy].cosine_scale, recipe.mesh.fsdp)
    size = recipe.data.global_batch_size
    if size > len(train_examples):
        raise ValueError(
            f"--recipe.data.global_batch_size={size} is larger than the {len(train_examples)} "
            "labelled training images: lower it"
        )
    members, epochs = [], []
    for member in range(seed, seed + recipe.members):
        config = member_config(initial, train_examples, recipe, strategy, member)
        place = folder / f"seed_{member}"
        variables, step = _best(network, config, train_examples, validation, place)
        members.append(variables)
        epochs.append(step // config.eval.every_steps)
        log.info("seed %d: epoch %d of %d is kept", member, epochs[-1], recipe.epochs)
    return Ensemble(network, tuple(members), tuple(epochs))


def member_config(
    initial: InitialEncoder,
    train_examples: Examples,
    recipe: ConfigDict,
    strategy: str,
    seed: int,
) -> ConfigDict:
    """The run config of one member, a run like any other whose objective is `labels`."""
    steps_an_epoch = len(train_examples) // recipe.data.global_batch_size
    total_steps = recipe.epochs * steps_an_epoch
    new = initial.variables is None
    stated = recipe.to_dict()
    return ConfigDict(
        {
            "name": f"seed {seed}",
            "seed": seed,
            "total_steps": total_steps,
            "dtype": initial.dtype,
            "log_every_steps": steps_an_epoch,
            "data": stated["data"]
            | {
                "image_size_px": initial.image_size_px,
                "crop_px": initial.crop_px,
                "content": content.summary(train_examples.dataset.manifest).get("content", ""),
                "images": len(train_examples),
                "image_ids": _sha256("\n".join(train_examples.columns.image_id).encode()),
            },
            "model": stated["model"]
            | {"image_encoder": definition(initial.encoder), "start": _digest(initial.variables)},
            "objective": {
                "labels": {
                    "weight": 1.0,
                    "tasks": tuple(task.name for task in train_examples.tasks),
                    "strategy": strategy,
                }
            },
            "optim": stated["optim"]
            | {
                "warmup_steps": round(WARMUP * total_steps),
                "frozen": (),
                "lr_multipliers": () if new else (("encoder/.*", recipe.optim.encoder_lr),),
            },
            "mesh": stated["mesh"],
            "eval": {
                "every_steps": steps_an_epoch,
                "choose_by": f"-{CHOOSE_BY}",
                "patience": 0,
                "averaged": True,
            },
            "checkpoint": {"every_steps": steps_an_epoch, "keep": 1},
        }
    )


def _best(
    network: Network,
    config: ConfigDict,
    train_examples: Examples,
    validation: Examples,
    folder: pathlib.Path,
) -> tuple[dict, int]:
    """Variables on the host and the step of the epoch with the least validation loss."""
    accumulation.check_batch_size(config, network.mesh)
    objective = Objective(config.objective, train_examples.counts)
    batches = train_iterator(
        train_examples.dataset,
        None,
        fields=objective.fields,
        global_batch_size=config.data.global_batch_size,
        seed=config.seed,
        read_threads=config.data.read_threads,
        read_processes=config.data.read_processes,
        prefetch_batches=config.data.prefetch_batches,
        split=train_examples.split,
        rows=train_examples.rows,
    )

    def validate(step: int, state) -> dict[str, float]:
        weights = measured(state, config)
        variables = {"params": weights.params, "batch_stats": weights.batch_stats}
        said = network.probabilities([variables], validation.images, validation.levels)
        loss = log_loss(validation, said)
        epoch = step // config.eval.every_steps
        log.info("%s, epoch %d: validation log loss %.4f", config.name, epoch, loss)
        return {CHOOSE_BY: loss}

    try:
        return _fitted(network, config, batches, objective, validate, folder)
    except FloatingPointError as error:
        # Else another rate would be another training than the one that lies there.
        shutil.rmtree(folder, ignore_errors=True)
        raise FloatingPointError(
            f"{error}; nothing is kept of it: run again with a lower --recipe.optim.lr"
        ) from error


def _fitted(
    network: Network,
    config: ConfigDict,
    batches: BatchReader,
    objective: Objective,
    validate: loop.Validate,
    folder: pathlib.Path,
) -> tuple[dict, int]:
    with Checkpointer(folder, config.checkpoint.keep) as checkpointer:
        _keep_config(folder, config, checkpointer.latest_step)
        trained = loop.fit(
            folder,
            config,
            network.model,
            network.mesh,
            batches,
            checkpointer,
            objective=objective,
            start=network.start,
            validate=validate,
        )
    if trained is None:
        raise Stopped
    if trained.choice.step is None or not math.isfinite(trained.choice.value):
        raise FloatingPointError("the validation loss is no number in any epoch")
    best = measured(trained.state, config)
    variables = jax.device_get({"params": best.params, "batch_stats": best.batch_stats})
    return variables, trained.choice.step


def _keep_config(folder: pathlib.Path, config: ConfigDict, step: int | None) -> None:
    """Writes the config beside the checkpoints, or checks that it is that of those there are."""
    path = folder / CONFIG_FILE
    if step is not None and path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        found = config_changes.changes(before, config.to_dict())
        if another := [change for change in found if change.field not in HARMLESS]:
            raise ValueError(
                f"{folder} holds an unfinished training with {'; '.join(map(str, another))}: ask "
                "for that again to continue it, remove it, or choose another --out"
            )
    write_whole(path, (json.dumps(config.to_dict(), indent=2) + "\n").encode())


def _digest(variables: Mapping[str, Any] | None) -> str:
    """Of the weights that training starts from, "" of new ones."""
    if variables is None:
        return ""
    leaves = jax.tree.leaves(jax.device_get(variables))
    return _sha256(b"".join(_sha256(leaf.tobytes()).encode() for leaf in leaves))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def log_loss(examples: Examples, probabilities: dict[str, np.ndarray]) -> float:
    """The mean over tasks of the mean -log p of the labelled images."""
    losses = []
    for task in examples.tasks:
        predicted = examples.predictions(task, probabilities[task.name])
        losses.append(surprise(predicted.probabilities, predicted.labels).mean())
    return float(np.mean(losses))
