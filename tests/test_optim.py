"""Schedule, and the policies written as path patterns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from lumbarclip_jax.training import optim

PARAMS = {
    "image_encoder": {"dense": {"kernel": jnp.full((2, 2), -0.0), "bias": jnp.ones(2)}},
    "text_encoder": {"dense": {"kernel": jnp.full((2, 2), -0.0), "bias": jnp.ones(2)}},
    "logit_scale": jnp.ones(()),
}


@pytest.fixture
def config():
    return base.get_config().optim


def test_schedule_at_its_corners(config):
    config.lr, config.warmup_steps, config.final_lr_fraction = 1.0, 4, 0.1
    rates = [optim.learning_rate(config, step, total_steps=12) for step in (0, 3, 4, 8, 12, 99)]
    np.testing.assert_allclose(rates, [0.25, 1.0, 1.0, 0.55, 0.1, 0.1])


def test_frozen_parameters_keep_every_bit(config):
    config.frozen = ("text_encoder/.*",)
    optimizer = optim.make_optimizer(config, PARAMS)
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    updates, state = optimizer.update(grads, optimizer.init(PARAMS), PARAMS)
    trainable = optim.trainable(config, PARAMS)
    multipliers = optim.lr_multipliers(config, PARAMS)
    new = optim.apply_updates(PARAMS, updates, jnp.float32(0.1), multipliers, trainable)
    for name, before in PARAMS["text_encoder"]["dense"].items():
        # Bytes, because -0.0 + 0.0 == -0.0 although the sign bit changes.
        assert np.asarray(new["text_encoder"]["dense"][name]).tobytes() == (
            np.asarray(before).tobytes()
        )
    assert not np.array_equal(new["image_encoder"]["dense"]["bias"], np.ones(2))
    moments = [leaf.shape for leaf in jax.tree.leaves(state) if leaf.shape]
    assert sorted(moments) == [(2,), (2,), (2, 2), (2, 2)]


def test_decay_pulls_kernels_only(config):
    config.weight_decay, config.clip_norm = 0.5, 0.0
    params = jax.tree.map(lambda p: jnp.full_like(p, 2.0), PARAMS)
    optimizer = optim.make_optimizer(config, params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    np.testing.assert_array_equal(updates["image_encoder"]["dense"]["kernel"], np.ones((2, 2)))
    np.testing.assert_array_equal(updates["image_encoder"]["dense"]["bias"], np.zeros(2))
    assert updates["logit_scale"] == 0


def test_the_first_matching_multiplier_wins(config):
    config.lr_multipliers = ((".*/bias", 0.5), ("text_encoder/.*", 0.1))
    multipliers = optim.lr_multipliers(config, PARAMS)
    assert multipliers["text_encoder"]["dense"] == {"kernel": 0.1, "bias": 0.5}
    assert multipliers["image_encoder"]["dense"] == {"kernel": 1.0, "bias": 0.5}
    assert multipliers["logit_scale"] == 1.0


@pytest.mark.parametrize("field", ["frozen", "lr_multipliers"])
def test_a_pattern_without_a_parameter_is_an_error(config, field):
    config[field] = ("txt_encoder/.*",) if field == "frozen" else (("txt_encoder/.*", 0.1),)
    with pytest.raises(ValueError, match=f"optim.{field}.*'txt_encoder/.*' matches no parameter"):
        getattr(optim, "trainable" if field == "frozen" else field)(config, PARAMS)


def test_gradients_are_clipped_to_their_global_norm_as_optax_does_it():
    rng = np.random.default_rng(0)
    shapes = {"a": (3, 3, 2, 5), "b": (40, 3), "c": (7,), "d": ()}
    grads = {name: jnp.asarray(rng.normal(size=s), jnp.float32) for name, s in shapes.items()}
    norm = float(optax.tree.norm(grads))
    np.testing.assert_allclose(jax.jit(optim.global_norm)(grads), norm, rtol=1e-6)
    for limit in (0.5 * norm, 2 * norm):
        clipped, _ = optim.clip_by_global_norm(limit).update(grads, optax.EmptyState())
        expected, _ = optax.clip_by_global_norm(limit).update(grads, optax.EmptyState())
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), clipped, expected)


def test_the_norm_of_no_gradients_is_zero():
    assert optim.global_norm({}) == 0
