"""Neither mesh nor layout of the layers is part of a checkpoint; disks without room for one."""

import shutil
import types

import jax
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model, stack_layers
from lumbarclip_jax.run_folder import state_layout
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.training import train_step
from lumbarclip_jax.training.model_state import ModelState, abstract_model_state
from tests import tiny_runs

VOCABULARY_SIZE = 32


def plan(dataset, *, scan_layers: bool, fsdp: int):
    config = tiny_runs.tiny_config(dataset)
    config.model.scan_layers = scan_layers
    mesh = sharding.make_mesh(fsdp)
    return build_model(config.model, VOCABULARY_SIZE, np.float32), config, mesh


@pytest.mark.slow
@pytest.mark.parametrize("scanned_first", [False, True])
def test_a_run_continues_on_another_mesh_with_another_layout(tiny_dataset, tmp_path, scanned_first):
    saved = plan(tiny_dataset, scan_layers=scanned_first, fsdp=1)
    wanted = plan(tiny_dataset, scan_layers=not scanned_first, fsdp=4)
    state, _ = train_step.create_train_state(*saved)
    # Numbers that differ from layer to layer, in the moments too.
    leaves, structure = jax.tree.flatten(state)
    leaves = [leaf + np.arange(leaf.size).reshape(leaf.shape) + i for i, leaf in enumerate(leaves)]
    state = jax.tree.unflatten(structure, leaves)
    state = jax.device_put(state, jax.tree.map(lambda x: x.sharding, abstract(saved)))
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(3, state, {"read": 7})
    with Checkpointer(tmp_path) as checkpointer:
        restored, position = checkpointer.restore(abstract(wanted))
        to_use, _ = checkpointer.restore(abstract_model_state(*wanted))
    assert position == {"read": 7}
    assert jax.tree.map(lambda x: x.sharding, restored) == jax.tree.map(
        lambda x: x.sharding, abstract(wanted)
    )
    assert type(to_use) is ModelState
    for name, part in vars(to_use).items():
        jax.tree.map(np.testing.assert_array_equal, part, getattr(restored, name))
    scanned, one_by_one = (state, restored) if scanned_first else (restored, state)
    for tree in (lambda s: s.params, lambda s: first_moments(s.opt_state)):
        jax.tree.map(np.testing.assert_array_equal, stack_layers(tree(one_by_one)), tree(scanned))


@pytest.mark.parametrize("scanned_first", [False, True])
def test_frozen_layers_without_moments_are_kept_in_either_layout(tmp_path, scanned_first):
    everywhere = NamedSharding(sharding.make_mesh(), PartitionSpec())
    kernels = jax.device_put(np.arange(6.0).reshape(3, 2), everywhere)
    one_by_one, scanned = (
        {"params": {"encoder": params}, "moments": {"encoder": moments}}
        for params, moments in (
            (
                {f"layer_{index}": {"kernel": kernels[index]} for index in range(3)},
                {f"layer_{index}": {"kernel": optax.MaskedNode()} for index in range(3)},
            ),
            ({"layers": {"kernel": kernels}}, {"layers": {"kernel": optax.MaskedNode()}}),
        )
    )
    saved, wanted = (scanned, one_by_one) if scanned_first else (one_by_one, scanned)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, saved, {})
        checkpointer.wait()
        for state in (saved, wanted):
            restored, _ = checkpointer.restore(jax.tree.map(state_layout.abstract, state))
            jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_a_disk_without_room_is_named_and_keeps_what_it_has(tmp_path, monkeypatch):
    state = {"weights": jax.numpy.arange(1000, dtype=np.float32)}
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, state, {})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=3999))
    sentence = r"checkpoints cannot be written \(4,000 bytes, 3,999 are free\): make room"
    with Checkpointer(tmp_path) as checkpointer, pytest.raises(OSError, match=sentence):
        checkpointer.save(2, state, {})
    with Checkpointer(tmp_path) as checkpointer:
        restored, _ = checkpointer.restore(jax.eval_shape(lambda: state))
    np.testing.assert_array_equal(restored["weights"], state["weights"])


def abstract(setting):
    return train_step.abstract_train_state(*setting)[0]


def first_moments(opt_state):
    def has_moments(node) -> bool:
        return hasattr(node, "mu")

    parts = jax.tree.leaves(opt_state, is_leaf=has_moments)
    return next(part.mu for part in parts if has_moments(part))
