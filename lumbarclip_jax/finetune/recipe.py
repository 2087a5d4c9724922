"""Every field of a fine-tune: its default, its unit and what it does, once.

The groups are those of a run config, and what they share with it has its name and meaning there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from lumbarclip_jax.training.config_check import in_range


def default_recipe() -> ConfigDict:
    """What the command line changes as --recipe.epochs=60; locked, so a typo is an error."""
    recipe = ConfigDict()
    recipe.epochs = 30  # the weights of the epoch with the least validation loss are kept
    recipe.members = 1  # networks of other seeds, whose probabilities are averaged

    recipe.data = data = ConfigDict()
    data.global_batch_size = 32  # images per optimizer step, over all devices
    data.read_threads = 2  # that make batches
    data.read_processes = 0  # that make batches; 0 = threads of the command itself
    data.prefetch_batches = 4  # kept ready on the host
    # The labels name no side, so mirroring is on; where it is, predictions are the mean over an
    # image and its mirror image.
    data.augment = augment = ConfigDict()
    augment.scale = 0.15
    augment.scale_up = placeholder(float)
    augment.translate = 0.05
    augment.rotate_deg = 0.0
    augment.gamma = 0.3
    augment.brightness = 0.0
    augment.contrast = 0.0
    augment.noise = 0.02
    augment.mirror = True

    recipe.model = ConfigDict()
    recipe.model.dropout = 0.2  # of the pooled features

    recipe.optim = optim = ConfigDict()
    optim.lr = 2e-3  # peak learning rate, reached after a tenth of the steps
    optim.encoder_lr = 1.0  # multiplier of the learning rate of an encoder that is not new
    optim.final_lr_fraction = 0.0  # of the peak, reached at the end by a cosine
    optim.weight_decay = 0.05  # AdamW, on kernels only
    optim.b1 = 0.9
    optim.b2 = 0.98
    optim.clip_norm = 1.0  # global gradient norm; 0 = off
    optim.ema_decay = 0.98  # of the running mean of weights that is measured; 0 = the last weights
    optim.accumulation_steps = 1  # parts in which a batch is encoded
    optim.max_skipped_steps = 10

    recipe.mesh = ConfigDict()
    recipe.mesh.fsdp = 1  # devices each parameter is split over; the rest are data parallel
    return recipe.lock()


def plain_recipe() -> ConfigDict:
    """The small CNN's: 24 epochs, mirrored images, and no other augmentation."""
    recipe = default_recipe()
    recipe.epochs = 24
    recipe.model.dropout = 0.0
    recipe.optim.update(lr=1e-3, weight_decay=1e-4, ema_decay=0.0)
    recipe.data.augment.update(scale=0.0, translate=0.0, gamma=0.0, noise=0.0)
    return recipe


def faults(recipe: ConfigDict) -> Iterator[str]:
    """A sentence for each number of a recipe that cannot be."""
    for field in (
        *("epochs", "members", "data.global_batch_size", "data.read_threads"),
        *("data.prefetch_batches", "optim.accumulation_steps", "optim.max_skipped_steps"),
        "mesh.fsdp",
    ):
        yield from in_range(recipe, field, low=1)
    for field in ("data.read_processes", "optim.lr", "optim.encoder_lr", "optim.weight_decay"):
        yield from in_range(recipe, field, low=0)
    yield from in_range(recipe, "optim.clip_norm", low=0)
    for field in ("model.dropout", "optim.final_lr_fraction", "optim.ema_decay"):
        yield from in_range(recipe, field, low=0, high=1)


def upgraded(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a classifier of any version in the form of this one.

    In the first form batch size, dropout, decay of the mean and augmentation stood by themselves.
    """
    if "batch_size" not in recipe:
        return dict(recipe)
    optim = dict(recipe["optim"])
    optim |= {"ema_decay": recipe["ema_decay"], "encoder_lr": recipe["encoder_lr"]}
    return {
        "epochs": recipe["epochs"],
        "members": recipe["members"],
        "data": {"global_batch_size": recipe["batch_size"], "augment": dict(recipe["augment"])},
        "model": {"dropout": recipe["dropout"]},
        "optim": optim,
    }
