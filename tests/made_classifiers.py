"""A classifier's folder as `finetune` leaves it, with random weights instead of trained ones."""

import pathlib

import jax
import numpy as np

from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.finetune import measuring, saved
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.initial_encoder import InitialEncoder
from lumbarclip_jax.finetune.network import Ensemble, Network
from lumbarclip_jax.finetune.recipe import default_recipe
from lumbarclip_jax.models.small_cnn import SmallCNN
from lumbarclip_jax.run_folder import trained_patients

METRICS = {
    "test/finetune/pfirrmann_ge_3/auroc": 0.7321,
    "test/finetune/pfirrmann_ge_3/auroc_ci_low": 0.6512,
    "test/finetune/pfirrmann_ge_3/auroc_ci_high": 0.8178,
    "test/finetune/pfirrmann_ge_3/auroc_chance": 0.5,
}


def write_classifier(
    folder: pathlib.Path, dataset: Dataset, *tasks: str, seed: int = 0, **fields
) -> Ensemble:
    """Writes a classifier of two members to the folder; `fields` are those of `saved.define`."""
    asked = tuple(TASKS[task] for task in tasks)
    train, validation = (Examples.of(dataset, split, asked) for split in ("train", "validation"))
    recipe = default_recipe()
    recipe.members = 2
    recipe.data.global_batch_size = 8
    initial = InitialEncoder(SmallCNN((4, 8)), crop_px=28, image_size_px=16)
    heads = tuple((task.name, len(task.classes)) for task in asked)
    network = Network(initial, heads, recipe, cosine_scale=None)
    rng = np.random.default_rng(seed)

    def draw(path, leaf) -> np.ndarray:
        # Wide heads, so that no probability is near that of another image by accident.
        near_one = getattr(path[-1], "key", "") in ("scale", "var")
        return (near_one + rng.uniform(-0.5, 0.5, leaf.shape)).astype(leaf.dtype)

    members = tuple(jax.tree_util.tree_map_with_path(draw, network.shapes) for _ in range(2))
    ensemble = Ensemble(network, members, (1, 2))
    fitted = measuring.fitted(ensemble, train, validation)
    definition = saved.define(
        "finetune", ensemble, train, fitted, **{"strategy": "erm", "seed": seed} | fields
    )
    saved.save(folder, definition, ensemble, trained_patients.digests(train.columns.patient_id))
    return ensemble
