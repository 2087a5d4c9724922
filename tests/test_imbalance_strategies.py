"""The registry: each strategy puts the parts together as its paper does."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.losses.imbalance import NAMES, losses
from lumbarclip_jax.losses.imbalance.mixing import MixedLabels, Mixture
from lumbarclip_jax.losses.imbalance.strategy import STRATEGIES

COUNTS = jnp.array([400.0, 80.0, 20.0])
LABELS = jnp.array([0, 1, 2, 0])
LOGITS = jnp.zeros((4, 3))
ALONE = MixedLabels.alone(LABELS)


def test_every_strategy_has_its_name_for_the_command_line():
    assert tuple(STRATEGIES) == NAMES


def test_the_registry_holds_what_the_documentation_names():
    assert set(STRATEGIES) == {
        *("erm", "class_balanced", "effective_number", "drw", "focal", "ldam", "ldam_drw"),
        *("mixup", "mixup_drw", "remix", "remix_drw", "mamix", "mamix_drw"),
    }


def test_deferred_weights_set_in_after_four_fifths_of_training():
    for name, strategy in STRATEGIES.items():
        early = strategy.class_weights(COUNTS, 0.79)
        late = strategy.class_weights(COUNTS, jnp.float32(0.8))
        weighted = [0.117, 0.578, 2.305]
        if name == "drw" or name.endswith("_drw"):
            np.testing.assert_allclose(early, [1, 1, 1])
            np.testing.assert_allclose(late, weighted, atol=5e-4)
        elif name == "class_balanced":
            np.testing.assert_allclose(early, weighted, atol=5e-4)
        elif name != "effective_number":
            np.testing.assert_allclose(late, [1, 1, 1])


def test_weighted_losses_without_mixing():
    even = math.log(3)
    erm = STRATEGIES["erm"].losses(LOGITS, ALONE, COUNTS)
    np.testing.assert_allclose(erm, [even] * 4, rtol=1e-6)
    weights = np.array([0.117, 0.578, 2.305, 0.117])
    balanced = STRATEGIES["class_balanced"].losses(LOGITS, ALONE, COUNTS)
    np.testing.assert_allclose(balanced, weights * even, atol=1e-3)


def test_a_blend_has_the_loss_of_both_labels_each_in_its_class_weight():
    mixture = Mixture(jnp.array([2, 1, 0, 3]), jnp.full(4, 0.5), jnp.array([0.25, 1.0, 0.75, 1.0]))
    logits = jnp.tile(jnp.array([[math.log(6.0), math.log(3.0), 0.0]]), (4, 1))  # p 0.6, 0.3, 0.1
    found = STRATEGIES["mamix_drw"].losses(logits, mixture.labels(LABELS), COUNTS, progress=0.9)
    common, rare = 0.117 * -math.log(0.6), 2.305 * -math.log(0.1)
    blend = 0.25 * common + 0.75 * rare
    np.testing.assert_allclose(found, [blend, 0.578 * -math.log(0.3), blend, common], atol=2e-3)


def test_unknown_labels_have_no_loss_and_take_none_away():
    labels = jnp.array([0, -1, 1, -1])
    mixture = Mixture(jnp.array([1, 0, 3, 2]), jnp.full(4, 0.5), jnp.array([0.7, 0.7, 1.0, 1.0]))
    mixed = mixture.labels(labels)
    found = STRATEGIES["erm"].losses(jnp.zeros((4, 3)), mixed, COUNTS)
    np.testing.assert_allclose(found / math.log(3), [0.7, 0.3, 1.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(mixed.known(), [0.7, 0.3, 1.0, 0.0], rtol=1e-6)


def test_ldam_alone_asks_for_cosines():
    scales = {name: strategy.cosine_scale for name, strategy in STRATEGIES.items()}
    assert {name for name, scale in scales.items() if scale} == {"ldam", "ldam_drw"}
    assert scales["ldam"] == losses.COSINE_SCALE == 30


def test_strategies_without_mixing_leave_images_as_they_are():
    images = jnp.arange(4.0).reshape(4, 1, 1)
    for name, strategy in STRATEGIES.items():
        mixture = strategy.mix(jax.random.key(0), LABELS, COUNTS)
        assert bool((mixture.blend(images) == images).all()) != strategy.mixes, name


@pytest.mark.parametrize("name", STRATEGIES)
def test_gradients_are_finite_under_jit(name):
    strategy = STRATEGIES[name]

    @jax.jit
    def loss(logits, key, progress):
        mixture = strategy.mix(key, LABELS, COUNTS)
        return strategy.losses(
            mixture.blend(logits), mixture.labels(LABELS), COUNTS, progress
        ).mean()

    grads = jax.grad(loss)(LOGITS + 0.5, jax.random.key(1), 0.9)
    assert bool(jnp.isfinite(grads).all())
    assert float(jnp.abs(grads).max()) > 0
