"""The running mean of weights: what it is, and that it is measured and used where it is kept."""

import jax
import numpy as np
import pytest

from lumbarclip_jax import sharding
from lumbarclip_jax.evaluators.suite import evaluate_split
from lumbarclip_jax.models import build_model
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.train import train_and_evaluate
from lumbarclip_jax.training import train_step
from lumbarclip_jax.training.model_state import measured
from tests import test_trajectories
from tests.test_train import tiny_config

pytestmark = pytest.mark.usefixtures("plain_page")


def equal(a, b) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_the_mean_is_short_at_first_and_never_longer_than_asked():
    config = test_trajectories.tiny_config("resnet")
    config.optim.ema_decay = 0.3
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    model = build_model(config.model, test_trajectories.VOCABULARY_SIZE)
    state, optimizer = train_step.create_train_state(model, config, mesh)
    step = train_step.make_train_step(model, optimizer, config, mesh)
    mean = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    assert equal(mean, state.averaged)
    for index, batch in enumerate(test_trajectories.batches()):
        placed = sharding.shard_batch(batch, mesh)
        state, _ = step(state, placed, 1e-2, jax.random.key(1), 0.0)
        new = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
        decay = min(0.3, (1 + index) / (10 + index))
        mean = jax.tree.map(lambda m, n, d=decay: d * m + (1 - d) * n, mean, new)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.averaged, mean
    )
    assert not equal(state.averaged["params"], new["params"])
    assert not equal(state.averaged["batch_stats"], new["batch_stats"])


def test_without_a_decay_no_mean_is_kept():
    config = test_trajectories.tiny_config("vit")
    model = build_model(config.model, test_trajectories.VOCABULARY_SIZE)
    state, _ = train_step.abstract_train_state(model, config, sharding.make_mesh())
    assert state.averaged == {}


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [True, False])
def test_a_run_is_measured_and_opened_with_its_mean(averaged, tiny_dataset, tmp_path):
    config = tiny_config(tiny_dataset)
    config.optim.ema_decay, config.eval.averaged = 0.9, averaged
    metrics = train_and_evaluate(config, tmp_path)
    opened = load_run(tmp_path)
    model = opened.model
    abstract, _ = train_step.abstract_train_state(model, opened.config, opened.mesh)
    with Checkpointer(tmp_path) as checkpointer:
        saved, _ = checkpointer.restore(abstract)
    assert not equal(saved.params, saved.averaged["params"])
    expected = saved.averaged["params"] if averaged else saved.params
    assert equal(opened.state.params, expected)
    assert equal(measured(saved, opened.config).params, expected)
    # What was measured is what is used.
    embedder = opened.embedder(opened.dataset())
    names = opened.config.eval.at_the_end
    again, _ = evaluate_split(embedder, opened.state, "test", resamples=20, names=names)
    for name, value in again.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
