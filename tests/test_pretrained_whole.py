"""Runs that start from a whole open_clip model: towers, projections, temperature, vocabulary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model
from lumbarclip_jax.models.pretrained.loading import from_open_clip
from lumbarclip_jax.training import train_step, warm_start
from tests.pretrained_folders import write_vocabulary
from tests.test_pretrained_open_clip import IDS, IMAGES, write_random


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("open_clip")
    write_random(made)
    write_vocabulary(made / "vocab.txt", 40)
    return made


def config_of(folder, **model):
    config = vit_linear.get_config()
    config.data.update(image_size_px=224, max_tokens=7)
    config.model.pretrained = str(folder)
    config.model.update(model)
    return config


def test_the_first_embeddings_of_a_run_are_those_of_the_model(folder):
    config, start = warm_start.adopt(config_of(folder))
    assert start.vocabulary == folder / "vocab.txt"
    assert (config.model.embed_dim, config.model.projection.kind) == (24, "linear_no_bias")
    assert config.model.projection.text_kind == "gelu"
    assert config.model.image_encoder.pooling == "cls"
    model, mesh = build_model(config.model, 40), sharding.make_mesh(1, jax.devices()[:1])
    state, _ = train_step.create_train_state(model, config, mesh)
    state = train_step.replace_variables(state, start.variables(model))
    inputs = (jnp.asarray(IMAGES), jnp.asarray(IDS), jnp.ones(IDS.shape, jnp.int32))
    ours = model.apply({"params": state.params}, *inputs)
    module, variables = from_open_clip(folder)
    theirs = module.apply(variables, *inputs)
    for name in ("image_embeds", "text_embeds", "logit_scale"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)
    assert np.abs(ours["image_embeds"][0] - ours["image_embeds"][1]).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"feature_dim": 512}, r"set config\.model\.feature_dim=0"),
        ({"text_encoder": {"pretrained": "bert"}}, r"brings both towers, and config\.model\.text"),
        ({"pretrained": "no/where"}, "no/where"),
    ],
)
def test_what_does_not_go_with_a_whole_model_is_refused(folder, model, sentence):
    with pytest.raises((ValueError, OSError), match=sentence):
        warm_start.adopt(config_of(folder, **model))
