"""A run folder as training leaves it, with random weights instead of trained ones."""

import json
import os
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import vit_linear
from lumbarclip_jax import loop, sharding
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.models import build_model
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.run import Run, save_definition
from lumbarclip_jax.training import train_step

STEPS = 7
METRICS = {
    "test/retrieval/images": 15.0,
    "test/retrieval/patients": 5.0,
    "test/retrieval/image_to_text_recall_at_5": 0.4321,
    "test/retrieval/image_to_text_recall_at_5_ci_low": 0.2512,
    "test/retrieval/image_to_text_recall_at_5_ci_high": 0.6178,
    "test/retrieval/image_to_text_recall_at_5_chance": 0.1111,
}


def tiny_config(dataset: pathlib.Path) -> ConfigDict:
    config = vit_linear.get_config("quick")
    config.data.update(dir=str(dataset), image_size_px=32, crop_px=28, max_tokens=12)
    config.model.embed_dim = 16
    config.eval.batch_size = 8
    return config


def make_run(folder: pathlib.Path, config: ConfigDict) -> Run:
    """Writes all of a run but its checkpoint to the folder; the weights stay in memory."""
    dataset, mesh = Dataset(config.data.dir), sharding.make_mesh(config.mesh.fsdp)
    tokenizer = Tokenizer(
        dataset.folder / "vocab.txt", config.data.max_tokens, config.data.lowercase
    )
    model = build_model(config.model, tokenizer.vocab_size, jnp.float32)
    abstract, _ = train_step.abstract_train_state(model, config, mesh)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.dtype != jnp.float32:
            return jax.device_put(np.full(leaf.shape, STEPS, leaf.dtype), leaf.sharding)
        # No normalisation, and not the temperature, is left at a value that a default would have.
        near_one = getattr(path[-1], "key", "") in ("scale", "var", "logit_scale")
        array = float(near_one) + rng.uniform(-0.1, 0.1, leaf.shape)
        return jax.device_put(array.astype(np.float32), leaf.sharding)

    state = jax.tree_util.tree_map_with_path(draw, abstract)
    save_definition(folder, config, tokenizer, dataset.manifest)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return Run(folder, config, mesh, tokenizer, model, state)


def write_run(folder: pathlib.Path, config: ConfigDict) -> Run:
    """`make_run` with its checkpoint."""
    run = make_run(folder, config)
    with Checkpointer(folder) as checkpointer:
        checkpointer.save(STEPS, run.state, {})
    return run


class StoppedAfterThree(loop.Progress):
    """In the place of `loop.Progress`: SIGTERM after the third step."""

    def update(self, step, loss):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().update(step, loss)
