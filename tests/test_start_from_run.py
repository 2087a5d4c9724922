"""Runs that start from an earlier run: its model, its vocabulary, its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model
from lumbarclip_jax.run_folder import start
from lumbarclip_jax.run_folder.start import EarlierRun
from lumbarclip_jax.training import train_step
from lumbarclip_jax.training.warm_start import WarmStart
from tests.tiny_runs import tiny_config


def config_of(tiny_run, **model):
    config = tiny_config(tiny_run.config.data.dir)
    config.model.embed_dim = 99  # the run's own counts
    config.model.pretrained = str(tiny_run.folder)
    config.model.update(model)
    return config


@pytest.mark.parametrize("scan_layers", [False, True])
def test_a_run_begins_where_the_earlier_one_ended(tiny_run, scan_layers):
    config, found = start.adopt(config_of(tiny_run, scan_layers=scan_layers))
    assert isinstance(found, EarlierRun)
    assert config.model.embed_dim == tiny_run.config.model.embed_dim
    assert config.model.scan_layers == scan_layers
    assert found.vocabulary == tiny_run.folder / "vocab.txt"
    model = build_model(config.model, tiny_run.tokenizer.vocab_size)
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    state, _ = train_step.create_train_state(model, config, mesh)
    state = train_step.replace_variables(state, found.variables(model))
    rng = np.random.default_rng(0)
    ids = jnp.asarray(rng.integers(1, 9, (2, 12)), jnp.int32)
    inputs = (jnp.asarray(rng.normal(size=(2, 32, 32, 1)), jnp.float32), ids, jnp.ones_like(ids))
    ours = model.apply({"params": state.params}, *inputs)
    params = jax.tree.map(jnp.asarray, jax.device_get(tiny_run.state.params))
    before = tiny_run.model.apply({"params": params}, *inputs)
    for name in ("image_embeds", "text_embeds", "logit_scale"):
        np.testing.assert_allclose(ours[name], before[name], atol=1e-6)
    assert np.abs(ours["image_embeds"][0] - ours["image_embeds"][1]).max() > 1e-4


def test_images_of_another_size_are_refused(tiny_run):
    config = config_of(tiny_run)
    config.data.image_size_px = 64
    with pytest.raises(ValueError, match=r"was trained on images of 32 px: set --config\.data"):
        start.adopt(config)


def test_without_an_earlier_run_nothing_changes(tiny_run):
    config, found = start.adopt(tiny_config(tiny_run.config.data.dir))
    assert isinstance(found, WarmStart)
    assert config.model.embed_dim == 16
