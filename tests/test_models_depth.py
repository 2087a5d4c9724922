"""Blocks one after another: the same in every layout, and what each keeps for the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lumbarclip_jax.models import stack_layers, unstack_layers
from lumbarclip_jax.models.block_sequence import drop_path_rates, run_layers
from lumbarclip_jax.models.layers import Dropout
from lumbarclip_jax.models.vit import ViT
from tests.golden.cases import random_variables

VIT = ViT(16, depth=2, heads=2, mlp_width=24, patch_size=8)
IMAGES = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))


def loss(module, variables):
    return jnp.sum(module.apply(variables, IMAGES)["last_hidden_state"] ** 3)


def assert_close(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), actual, expected
    )


def test_a_stack_has_the_parameters_of_its_layers():
    variables = random_variables(VIT, IMAGES)
    stacked = stack_layers(variables)
    shapes = jax.tree.map(jnp.shape, random_variables(VIT.clone(scan_layers=True), IMAGES))
    assert jax.tree.map(jnp.shape, stacked) == shapes
    jax.tree.map(np.testing.assert_array_equal, unstack_layers(stacked), variables)


@pytest.mark.parametrize(("scan", "remat"), [(True, False), (True, True), (False, True)])
def test_every_layout_computes_the_same(scan, remat):
    variables = random_variables(VIT, IMAGES)
    value_and_grad = jax.jit(jax.value_and_grad(loss, argnums=1), static_argnums=0)
    value, gradients = value_and_grad(VIT, variables)
    other = VIT.clone(scan_layers=scan, remat=remat)
    other_value, other_gradients = value_and_grad(
        other, stack_layers(variables) if scan else variables
    )
    assert_close(other_value, value)
    assert_close(unstack_layers(other_gradients) if scan else other_gradients, gradients)


def kept_arrays(module) -> list[jax.ShapeDtypeStruct]:
    """What JAX keeps for the gradient, the parameters aside."""
    variables = jax.eval_shape(lambda: random_variables(module, IMAGES))
    pull_back = jax.eval_shape(lambda v: jax.vjp(lambda v: loss(module, v), v)[1], variables)
    parameters = [leaf.shape for leaf in jax.tree.leaves(variables)]
    return [leaf for leaf in jax.tree.leaves(pull_back) if leaf.shape not in parameters]


def test_a_loop_keeps_the_products_alone():
    """No weights of attention, no hidden features but those before the activation."""
    depth, rows, width, hidden = 3, 2 * 17, 16, 24
    kept = kept_arrays(VIT.clone(depth=depth, scan_layers=True))
    kept = [leaf for leaf in kept if leaf.shape[0] == depth]
    a_row = sorted(leaf.size // depth // rows for leaf in kept)
    block_input, query, key, value, projected = [width] * 5
    sums_of_two_norms = [1] * 4  # on CPU, sums are products too
    assert a_row == [*sums_of_two_norms, block_input, query, key, value, projected, hidden]


def test_equal_blocks_are_traced_once_and_drop_different_features():
    traces = []

    class Drops(nn.Module):
        @nn.compact
        def __call__(self, x, bias, rate, *, train):
            traces.append(self.name)
            return Dropout(0.5)(x, train=train)

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            return run_layers(lambda name: Drops(name=name), 2, x, train=True)[0]

    out = Stack().apply({}, jnp.ones((1, 8, 1_000)), rngs={"dropout": jax.random.key(0)})
    assert len(traces) == 1
    assert 0.22 < np.mean(np.asarray(out) == 4) < 0.28  # a half, if both dropped the same


def test_drop_path_grows_with_depth():
    np.testing.assert_allclose(drop_path_rates(0.3, 4), [0.0, 0.1, 0.2, 0.3], rtol=1e-6)
    assert drop_path_rates(0.0, 3) == [None] * 3
