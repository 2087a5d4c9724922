"""Steps whose numbers are none change nothing, are counted, and stop the run when too many."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax import loop, sharding, train
from lumbarclip_jax.models import build_model
from lumbarclip_jax.run_folder import metric_writer
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.training import train_step
from lumbarclip_jax.training.finite import is_finite
from lumbarclip_jax.training.skipped_steps import SkippedSteps
from tests import slow, test_trajectories
from tests.test_train import tiny_config

pytestmark = pytest.mark.usefixtures("plain_page")

KEY = jax.random.key(1)


@pytest.fixture(
    scope="module", params=slow.but_first([((1, 1),), ((2, 2),)]), ids=["plain", "two parts, fsdp"]
)
def setting(request):
    """(mesh, jitted step, initial state as host arrays) of a ResNet, with running statistics."""
    parts, fsdp = request.param
    config = test_trajectories.tiny_config("resnet")
    config.optim.accumulation_steps = parts
    mesh = sharding.make_mesh(fsdp, jax.devices()[:2])
    model = build_model(config.model, test_trajectories.VOCABULARY_SIZE, jnp.float32)
    state, optimizer = train_step.create_train_state(model, config, mesh)
    step = train_step.make_train_step(model, optimizer, config, mesh)
    return mesh, step, state


def same(a, b) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_a_step_without_a_finite_loss_changes_only_its_count(setting):
    mesh, step, state = setting
    batch = sharding.shard_batch(next(test_trajectories.batches()), mesh)

    def copied(**params):
        new = dataclasses.replace(state, params=state.params | params)
        return jax.tree.map(jnp.copy, new)

    good, metrics = step(copied(), batch, 1e-3, KEY, 0.0)
    assert int(metrics["skipped_steps"]) == 0
    assert np.isfinite(float(metrics["loss"]))
    assert not same(good.params, state.params)
    assert not same(good.batch_stats, state.batch_stats)
    assert is_finite(good)

    bad = copied(logit_scale=jnp.full_like(state.params["logit_scale"], np.nan))
    assert not is_finite(bad)
    before = jax.device_get(bad)
    after, metrics = step(bad, batch, 1e-3, KEY, 0.0)
    assert np.isnan(float(metrics["loss"]))
    assert int(metrics["skipped_steps"]) == 1
    assert int(after.step) == int(before.step) + 1
    np.testing.assert_equal(jax.device_get(after.params), before.params)
    assert same(after.batch_stats, before.batch_stats)
    assert same(after.opt_state, before.opt_state)

    after, metrics = step(good, batch, np.inf, KEY, 0.0)
    assert int(metrics["skipped_steps"]) == 1
    assert is_finite(after)


def test_only_steps_in_a_row_stop_a_run():
    skipped = SkippedSteps(limit=3, total=5)
    for total in (5, 6, 7, 7, 8, 9):
        skipped.add(jnp.asarray(total))
    skipped.read()
    assert (skipped.total, skipped.in_a_row) == (9, 2)
    skipped.require_few(40, np.nan, 20)
    skipped.add(jnp.asarray(10))
    skipped.read()
    sentence = r"loss is nan at step 41, and the last 3 steps .*\(step 20 is saved\): lower"
    with pytest.raises(FloatingPointError, match=sentence):
        skipped.require_few(41, np.nan, 20)


def test_a_run_in_which_no_step_counted_does_not_end_well():
    skipped = SkippedSteps(limit=10, total=0)
    for total in (1, 2):
        skipped.add(jnp.asarray(total))
    skipped.read()
    skipped.require_few(2, np.nan, None)
    with pytest.raises(FloatingPointError, match=r"the last 2 steps .*\(nothing is saved\)"):
        skipped.require_few(2, np.nan, None, is_last=True)


class Spoiled:
    """Makes the rate of some steps infinite, and remembers which rates were asked for."""

    def __init__(self, monkeypatch, steps):
        self.learning_rate = loop.optim.learning_rate
        self.steps = steps
        monkeypatch.setattr(loop.optim, "learning_rate", self)

    def __call__(self, config, step, total_steps):
        return np.inf if step + 1 in self.steps else self.learning_rate(config, step, total_steps)


@pytest.mark.slow
def test_a_few_skipped_steps_are_counted_and_the_run_goes_on(tiny_dataset, tmp_path, monkeypatch):
    Spoiled(monkeypatch, steps=(2, 4))
    config = tiny_config(tiny_dataset)
    config.checkpoint.every_steps = 2
    train.train_and_evaluate(config, tmp_path)
    rows = [row for row in metric_writer.read_history(tmp_path) if "loss" in row]
    counts = {row["step"]: row.get("skipped_steps", 0) for row in rows}
    assert counts == {1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2}


@pytest.mark.slow
def test_many_in_a_row_stop_the_run_at_the_last_good_checkpoint(
    tiny_dataset, tmp_path, monkeypatch
):
    spoiled = Spoiled(monkeypatch, steps=(3, 4, 5, 6))
    config = tiny_config(tiny_dataset)
    config.checkpoint.every_steps = 1
    config.optim.max_skipped_steps = 3
    for _ in range(2):  # again from the same checkpoint to the same sentence
        with pytest.raises(FloatingPointError, match=r"at step 5, .*\(step 2 is saved\): lower"):
            train.train_and_evaluate(config, tmp_path)
        with Checkpointer(tmp_path) as checkpointer:
            assert checkpointer.latest_step == 2
    spoiled.steps = ()
    assert train.train_and_evaluate(config, tmp_path)


def test_weights_that_are_no_numbers_are_not_saved(tiny_run):
    params = tiny_run.state.params | {"logit_scale": jnp.asarray(np.inf)}
    state = dataclasses.replace(tiny_run.state, params=params)
    loop.require_finite(tiny_run.state, 7, None)
    with pytest.raises(FloatingPointError, match=r"weights are not finite at step 7 \(nothing is"):
        loop.require_finite(state, 7, None)
