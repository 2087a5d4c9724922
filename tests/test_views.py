"""Rows with several views: each is encoded by itself, and all stay with their row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import accumulation, train_step
from lumbarclip_jax.training.encoding import make_encode
from tests.test_accumulation import TOKENS, WORDS, tiny_config

ROWS = 16


@pytest.fixture(scope="module")
def model():
    return build_model(tiny_config().model, WORDS, jnp.float32)


@pytest.fixture(scope="module")
def state(model):
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    return train_step.create_train_state(model, tiny_config(), mesh)[0]


def batch(images: int, texts: int) -> dict:
    """Pictures as the encoder sees them, and texts, of so many views a row."""
    rng = np.random.default_rng(0)
    words = rng.integers(5, WORDS, (ROWS, texts, TOKENS), dtype=np.int32)
    pixels = rng.normal(size=(ROWS, images, 16, 16, 1)).astype(np.float32)
    return {"images": pixels, "input_ids": words, "attention_mask": np.ones_like(words)}


def encode(model, state, rows):
    config = tiny_config()
    config.objective.group_reports = False
    encoding = make_encode(model, config, Objective(config.objective))
    outputs, _ = jax.jit(encoding)(state.params, state.batch_stats, rows, jax.random.key(0))
    return jax.device_get(outputs)


def test_a_view_is_encoded_as_if_it_were_alone(model, state):
    rows = batch(images=2, texts=3)
    outputs = encode(model, state, rows)
    assert outputs["image_embeds"].shape == (ROWS, 2, 8)
    assert outputs["text_embeds"].shape == (ROWS, 3, 8)
    for view in range(2):
        alone = {name: of[:, view : view + 1] for name, of in rows.items()}
        for name, found in encode(model, state, alone).items():
            np.testing.assert_allclose(found[:, 0], outputs[name][:, view], atol=1e-6)


@pytest.mark.parametrize("fsdp", [1, 2])
def test_views_stay_with_their_row_in_parts_and_on_meshes(model, state, fsdp):
    """A term that reads all views: the gradient of the whole batch on one device."""
    config, rows = tiny_config(), batch(images=2, texts=1)
    config.objective.group_reports = False
    objective = Objective(config.objective)

    def loss(params, outputs, batch):
        images, texts = outputs["image_embeds"], outputs["text_embeds"]
        near = jnp.sum(images[:, 0] * images[:, 1], axis=1) * jnp.arange(1.0, ROWS + 1)
        return jnp.mean(near) + jnp.mean(images.sum(1) @ texts[:, 0].T), {}

    def gradient(mesh, parts):
        f = accumulation.value_and_grad(make_encode(model, config, objective), loss, parts, mesh)
        placed = sharding.shard_batch(rows, mesh)
        key = jax.random.key(0)
        return jax.device_get(jax.jit(f)(state.params, state.batch_stats, placed, key))

    with jax.default_device(jax.devices()[0]):
        expected = gradient(sharding.make_mesh(1, jax.devices()[:1]), 1)
    mesh = sharding.make_mesh(fsdp)
    state = jax.device_put(state, jax.NamedSharding(mesh, jax.P()))
    found = gradient(mesh, 2)
    np.testing.assert_allclose(found[0][0], expected[0][0], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, np.abs(b).max())),
        found[1],
        expected[1],
    )
