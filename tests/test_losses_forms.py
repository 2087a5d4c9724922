"""Every form of a loss gives the value and the gradients of its dense form.

Gradients are taken outside of the mesh program, as a train step does.
"""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss

MESH_SHAPES = [(1, 1), (2, 1), (4, 1), (8, 1), (4, 2), (1, 8)]
OPTIONS = {
    "targets": st.sampled_from(["row", "transposed"]),
    "detach_targets": st.booleans(),
    "hard_weight": st.sampled_from([0.0, 0.3, 1.0]),
}
SCALES = {
    "logit_scale": st.floats(0.0, 3.0, width=32),  # log: temperatures from 1 down to 0.05
    "target_scale": st.floats(0.5, 12.0, width=32),
}


def few(examples):
    """As many drawn cases, the same ones in every run."""
    return hypothesis.settings(
        max_examples=examples, derandomize=True, deadline=None, database=None
    )


@functools.cache
def make_mesh(shape):
    devices = jax.devices()[: shape[0] * shape[1]]
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def make_pairs(batch, features, seed, dtype=np.float32):
    """Unit image and text embeddings that share half of what they are."""
    shared, *private = np.random.default_rng(seed).normal(size=(3, batch, features))
    both = np.stack([shared + part for part in private])
    both /= np.linalg.norm(both, axis=-1, keepdims=True)
    return tuple(jnp.asarray(embeds, dtype) for embeds in both)


@functools.cache
def soft_clip(**options):
    def loss(images, texts, logit_scale, target_scale, **form):
        return soft_clip_loss(
            images, texts, logit_scale, target_scale=target_scale, **options, **form
        )

    return loss


@functools.cache
def value_and_gradients(loss, **form):
    """The jitted function of a tuple of arguments: one for all tests that ask for the same."""
    return jax.jit(jax.value_and_grad(lambda arguments: loss(*arguments, **form)))


def assert_equals_dense(loss, pairs, *scalars, **form):
    """1e-6 of the value, 1e-5 of the largest entry of each gradient.

    `pairs` are the images and the texts, and what else the loss takes of every row.
    """
    arguments = (*pairs, *map(jnp.float32, scalars))
    expected, expected_gradients = value_and_gradients(loss, method="dense")(arguments)
    if "mesh" in form:
        mesh = form["mesh"]
        rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        same = NamedSharding(mesh, PartitionSpec())
        shardings = (rows,) * len(pairs) + (same,) * len(scalars)
        arguments = jax.device_put(arguments, shardings)
    value, gradients = value_and_gradients(loss, **form)(arguments)

    assert abs(value - expected) <= 1e-6 * max(1.0, expected)
    for place, (gradient, reference) in enumerate(zip(gradients, expected_gradients, strict=True)):
        # The gradient of a scalar may pass through zero; 1 % of the loss is then its size.
        size = max(np.max(np.abs(reference)), 0.01 * expected if reference.ndim == 0 else 0.0)
        error = np.max(np.abs(np.asarray(gradient) - np.asarray(reference)))
        assert error <= 1e-5 * size, f"gradient of argument {place}"


@pytest.mark.parametrize("targets", ["row", "transposed"])
@pytest.mark.parametrize("detach_targets", [True, False])
@pytest.mark.parametrize("hard_weight", [0.0, 0.3])
def test_blockwise_soft_clip_with_uneven_tails(targets, detach_targets, hard_weight):
    loss = soft_clip(targets=targets, detach_targets=detach_targets, hard_weight=hard_weight)
    # 13 pairs in blocks of at most 5: three blocks of 5, the last with two padded rows.
    assert_equals_dense(
        loss, make_pairs(13, 8, seed=0), 2.6, 10.0, method="blockwise", block_size=5
    )


@few(8)
@hypothesis.given(
    batch=st.integers(4, 40),
    features=st.integers(3, 16),
    block_size=st.integers(1, 50),
    seed=st.integers(0, 1000),
    **OPTIONS,
    **SCALES,
)
def test_blockwise_soft_clip_of_any_shape(
    batch, features, block_size, seed, logit_scale, target_scale, **options
):
    assert_equals_dense(
        soft_clip(**options),
        make_pairs(batch, features, seed),
        logit_scale,
        target_scale,
        method="blockwise",
        block_size=block_size,
    )


@pytest.mark.parametrize("method", ["gather", "ring"])
@pytest.mark.parametrize("mesh_shape", MESH_SHAPES)
def test_soft_clip_over_every_mesh(mesh_shape, method):
    loss = soft_clip(targets="transposed", detach_targets=False, hard_weight=0.3)
    form = {"method": method, "mesh": make_mesh(mesh_shape), "block_size": 5}
    assert_equals_dense(loss, make_pairs(24, 8, seed=0), 2.6, 10.0, **form)


@few(7)
@hypothesis.given(
    mesh_shape=st.sampled_from(MESH_SHAPES),
    method=st.sampled_from(["gather", "ring"]),
    batch=st.sampled_from([8, 24, 40]),
    block_size=st.integers(1, 10),
    seed=st.integers(0, 1000),
    **OPTIONS,
    **SCALES,
)
def test_soft_clip_of_any_setting_over_a_mesh(
    mesh_shape, method, batch, block_size, seed, logit_scale, target_scale, **options
):
    form = {"method": method, "mesh": make_mesh(mesh_shape), "block_size": block_size}
    pairs = make_pairs(batch, 8, seed)
    assert_equals_dense(soft_clip(**options), pairs, logit_scale, target_scale, **form)


FORMS = [
    {"method": "blockwise", "block_size": 5},
    {"method": "gather", "mesh": (4, 2), "block_size": 2},
    {"method": "ring", "mesh": (4, 2), "block_size": 2},
    {"method": "ring", "mesh": (1, 8), "block_size": 8},
    {"method": "dense", "mesh": (8, 1)},
]


def in_form(form):
    return form | {"mesh": make_mesh(form["mesh"])} if "mesh" in form else form


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_clip_in_every_form(form):
    assert_equals_dense(clip_loss, make_pairs(24, 8, seed=1), 2.6, **in_form(form))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_siglip_in_every_form(form):
    # 24 pairs in blocks of 5 are five blocks of 5, the last one with a padded row.
    assert_equals_dense(siglip_loss, make_pairs(24, 8, seed=2), 2.3, -4.0, **in_form(form))


@few(4)
@hypothesis.given(
    batch=st.integers(1, 40),
    block_size=st.integers(1, 50),
    logit_scale=st.floats(0.0, 4.5, width=32),
    logit_bias=st.floats(-12.0, 2.0, width=32),
)
def test_blockwise_siglip_of_any_shape(batch, block_size, logit_scale, logit_bias):
    pairs = make_pairs(batch, 6, seed=batch)
    form = {"method": "blockwise", "block_size": block_size}
    assert_equals_dense(siglip_loss, pairs, logit_scale, logit_bias, **form)


def test_sharp_logits_lose_no_digits():
    # At temperature 0.01 these pairs are all told apart: the loss is small, its logits are not.
    arguments = (*make_pairs(40, 96, seed=1), jnp.float32(np.log(100.0)))
    dense = clip_loss(*arguments, method="dense")
    assert 1e-4 < dense < 1e-3
    blockwise = clip_loss(*arguments, method="blockwise", block_size=16)
    np.testing.assert_allclose(blockwise, dense, atol=1e-7)


def test_a_lone_pair_has_nothing_to_learn():
    loss = functools.partial(soft_clip(hard_weight=0.3, detach_targets=False), method="blockwise")
    arguments = (*make_pairs(1, 4, seed=4), jnp.float32(2.0), jnp.float32(5.0))
    # Here the gradient is taken outside of jit as well.
    value, gradients = jax.value_and_grad(jax.jit(loss), argnums=(0, 1, 2, 3))(*arguments)
    assert value == 0.0
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_gradients_have_the_type_of_the_embeddings():
    loss = soft_clip(targets="row", detach_targets=False, hard_weight=0.3)
    pairs = make_pairs(13, 8, seed=5, dtype=jnp.bfloat16)
    arguments = (*pairs, jnp.float32(2.0), jnp.float32(5.0))
    results = [
        value_and_gradients(loss, **form)(arguments)
        for form in ({"method": "dense"}, {"method": "blockwise", "block_size": 5})
    ]
    (expected, expected_gradients), (value, gradients) = results
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        assert gradient.dtype == reference.dtype
        gradient, reference = (np.asarray(array, np.float32) for array in (gradient, reference))
        # One unit in the last of bfloat16's eight places.
        assert np.max(np.abs(gradient - reference)) <= 2**-7 * np.max(np.abs(reference))
