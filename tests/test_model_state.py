"""A trained model is opened for use: without its optimizer, and on whatever devices there are."""

import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from lumbarclip_jax.inference import Model
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.training import optim
from lumbarclip_jax.training.model_state import ModelState
from tests import tiny_runs
from tests.conftest import REPOSITORY

SLICES = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
ENCODE = """
import sys
import jax, numpy as np
import lumbarclip_jax
assert jax.device_count() == 1
model = lumbarclip_jax.load(sys.argv[1])
np.save(sys.argv[3], model.encode_image(np.load(sys.argv[2])))
"""


def test_a_model_opens_without_an_optimizer(tiny_run, monkeypatch):
    monkeypatch.setattr(optim, "make_optimizer", lambda *arguments: pytest.fail("it was built"))
    opened = load_run(tiny_run.folder).state
    assert type(opened) is ModelState
    saved = ModelState(*(getattr(tiny_run.state, name) for name in vars(opened)))
    jax.tree.map(np.testing.assert_array_equal, opened, saved)


def test_another_model_than_was_saved_is_refused(tiny_run, tmp_path):
    config = tiny_run.config.copy_and_resolve_references()
    run = tiny_runs.make_run(tmp_path / "run", config)
    params = {name: run.state.params[name] for name in run.state.params if name != "logit_scale"}
    with Checkpointer(run.folder) as checkpointer:
        checkpointer.save(7, dataclasses.replace(run.state, params=params), {})
    sentence = r"does not fit this config \(params/logit_scale is absent, not \(\)\)"
    with pytest.raises(ValueError, match=sentence):
        load_run(run.folder)


def test_a_run_trained_in_eight_parts_opens_on_one_device(tiny_dataset, tmp_path):
    config = tiny_runs.tiny_config(tiny_dataset)
    config.mesh.fsdp = 8
    run = tiny_runs.write_run(tmp_path / "run", config)
    params = jax.tree.leaves(run.state.params)
    assert not all(leaf.sharding.is_fully_replicated for leaf in params)
    np.save(tmp_path / "slices.npy", SLICES)
    files = [str(tmp_path / name) for name in ("run", "slices.npy", "embeds.npy")]
    alone = os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", ENCODE, *files], check=True, env=alone)
    found = np.load(tmp_path / "embeds.npy")
    np.testing.assert_allclose(found, Model(run).encode_image(SLICES), atol=1e-5)
