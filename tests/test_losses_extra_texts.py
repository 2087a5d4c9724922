"""Extra texts: negatives that one image alone meets, in every form of every loss."""

import re

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss
from tests.test_losses_forms import (
    FORMS,
    assert_equals_dense,
    few,
    in_form,
    make_pairs,
    value_and_gradients,
)
from tests.test_losses_groups import BATCH, GROUPS, LOSSES, features

# 24 pairs in blocks of 5 are five blocks, the last one with a padded row.
IN_BLOCKS = {"method": "blockwise", "block_size": 5}


def make_rows(batch, seed, extras=3, dtype=np.float32):
    """Unit embeddings of pairs of 8 features, and extra texts about as near as the own text."""
    images, texts = make_pairs(batch, 8, seed)
    noise = np.random.default_rng(seed).normal(size=(batch, extras, 8)) / 8**0.5
    negatives = np.asarray(images)[:, None, :] + noise
    negatives /= np.linalg.norm(negatives, axis=-1, keepdims=True)
    return images, texts, jnp.asarray(negatives, dtype)


def loss_of(name: str, **options):
    """`loss(images, texts, extra texts, logit_scale, other scalar, **form)`."""

    def loss(images, texts, extras, logit_scale, other, **form):
        form = {**options, **form, "extra_texts": extras}
        if name == "clip":
            return clip_loss(images, texts, logit_scale, **form)
        if name == "siglip":
            return siglip_loss(images, texts, logit_scale, other, **form)
        form = {"hard_weight": 0.3, **form}
        return soft_clip_loss(images, texts, logit_scale, target_scale=other, **form)

    return loss


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_extra_texts_in_every_form(name, form):
    hardest = {"targets": "transposed", "detach_targets": False} if name == "soft_clip" else {}
    loss = loss_of(name, **hardest)
    assert_equals_dense(loss, make_rows(BATCH, seed=1), 2.3, 4.0, **in_form(form))


@pytest.mark.parametrize("targets", ["row", "transposed"])
@pytest.mark.parametrize("detach_targets", [True, False])
@pytest.mark.parametrize("hard_weight", [0.0, 0.3, 1.0])
def test_extra_texts_beside_every_kind_of_target(targets, detach_targets, hard_weight):
    options = {"targets": targets, "detach_targets": detach_targets, "hard_weight": hard_weight}
    loss = loss_of("soft_clip", **options)
    assert_equals_dense(loss, make_rows(13, seed=2), 2.3, 4.0, **IN_BLOCKS)


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids=str)
@pytest.mark.parametrize("name", ["soft_clip", "siglip"])
def test_extra_texts_beside_groups(name, form):
    options = {"targets": "transposed", "detach_targets": False} if name == "soft_clip" else {}
    loss = loss_of(name, groups=GROUPS, **options)
    assert_equals_dense(loss, make_rows(BATCH, seed=3), 2.3, 4.0, **in_form(form))


@pytest.mark.parametrize("form", [FORMS[0], FORMS[1]], ids=str)
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["alone", "grouped"])
def test_extra_texts_beside_a_likeness(groups, form):
    loss = loss_of("soft_clip", groups=groups, likeness=(features(0), features(1)))
    assert_equals_dense(loss, make_rows(BATCH, seed=4), 2.3, 2.0, **in_form(form))


@few(4)
@hypothesis.given(
    name=st.sampled_from(LOSSES),
    batch=st.integers(1, 20),
    extras=st.integers(1, 5),
    block_size=st.integers(1, 25),
    logit_scale=st.floats(0.0, 3.0, width=32),
)
def test_extra_texts_of_any_shape(name, batch, extras, block_size, logit_scale):
    rows = make_rows(batch, batch, extras)
    form = {"method": "blockwise", "block_size": block_size}
    assert_equals_dense(loss_of(name), rows, logit_scale, 4.0, **form)


@pytest.mark.parametrize("form", [{"method": "dense"}, IN_BLOCKS], ids=str)
@pytest.mark.parametrize("targets", ["row", "transposed"])
def test_they_are_columns_of_one_image_without_a_target(targets, form):
    """By hand: targets over the texts of the batch, costs from all columns of the image."""
    images, texts, extras = make_rows(4, seed=5)
    scale, target_scale = 5.0, 6.0
    likeness = images @ images.T + texts @ texts.T
    of_texts = jax.nn.softmax(target_scale / 2 * likeness, axis=1)
    of_images = of_texts if targets == "row" else of_texts.T
    expected = -np.sum(of_texts * jax.nn.log_softmax(scale * texts @ images.T, axis=1))
    for image, own_extras, target in zip(images, extras, of_images, strict=True):
        columns = jnp.concatenate([texts @ image, own_extras @ image])
        expected -= np.sum(target * jax.nn.log_softmax(scale * columns)[: len(texts)])
    options = {"targets": targets, "hard_weight": 0.0}
    scalars = (np.log(scale), target_scale)
    loss = loss_of("soft_clip", **options)(images, texts, extras, *scalars, **form)
    np.testing.assert_allclose(loss, expected / 8, rtol=1e-6)


@pytest.mark.parametrize("form", [{"method": "dense"}, IN_BLOCKS], ids=str)
def test_siglip_says_no_to_each(form):
    eye = jnp.eye(2)
    # Logits of pairs are 1 and -1; of the extra texts 1, as they are the image, and -1 and -3.
    extras = jnp.stack([eye, jnp.zeros((2, 2)), -eye], axis=1)
    loss = siglip_loss(eye, eye, np.log(2.0), -1.0, extra_texts=extras, **form)
    of_pairs = 4 * np.log1p(np.exp(-1.0))
    of_extras = 2 * np.log1p(np.exp([1.0, -1.0, -3.0])).sum()
    np.testing.assert_allclose(loss, (of_pairs + of_extras) / 2, rtol=1e-6)


@pytest.mark.parametrize("form", [{"method": "dense"}, IN_BLOCKS], ids=str)
def test_a_lone_image_cannot_tell_its_text_from_the_same_text(form):
    images, texts = make_pairs(1, 8, seed=6)
    loss = clip_loss(images, texts, 3.0, extra_texts=texts[:, None, :], **form)
    np.testing.assert_allclose(loss, np.log(2.0) / 2, rtol=1e-6)  # the text has one image only


@pytest.mark.parametrize("form", [{"method": "dense"}, IN_BLOCKS], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_descent_takes_every_extra_text_from_its_image(name, form):
    images, texts, extras = make_rows(BATCH, seed=1)
    arguments = (images, texts, extras, jnp.float32(2.3), jnp.float32(4.0))
    _, gradients = value_and_gradients(loss_of(name), **form)(arguments)
    nearness, change = (jnp.einsum("be,bne->bn", images, rows) for rows in (extras, -gradients[2]))
    assert (nearness > 0).mean() > 0.8
    assert (change < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_extra_texts_that_are_far_change_nothing(name):
    images, texts, _ = make_rows(BATCH, seed=1)
    scalars = (jnp.float32(2.3), jnp.float32(4.0))
    function = value_and_gradients(loss_of(name), **IN_BLOCKS)
    expected, of_pairs = function((images, texts, None, *scalars))
    far = jnp.repeat(-20 * images[:, None, :], 3, axis=1)
    value, (*gradients, by_logit_scale, by_other) = function((images, texts, far, *scalars))
    assert value == expected
    np.testing.assert_array_equal(gradients.pop(2), 0.0)
    found = (*gradients, None, by_logit_scale, by_other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, of_pairs)


def test_sharp_logits_lose_no_digits_to_them():
    # At temperature 0.01 all is told apart: the loss is small, its logits are not.
    images, texts = make_pairs(40, 96, seed=1)
    extras = jnp.stack([texts[::-1], -texts], axis=1)
    arguments = (images, texts, jnp.float32(np.log(100.0)))
    dense = clip_loss(*arguments, extra_texts=extras, method="dense")
    assert 1e-4 < dense < 1e-3
    blockwise = clip_loss(*arguments, extra_texts=extras, method="blockwise", block_size=16)
    np.testing.assert_allclose(blockwise, dense, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_their_gradient_has_their_type(name):
    arguments = (*make_rows(13, seed=8, dtype=jnp.bfloat16), jnp.float32(2.0), jnp.float32(4.0))
    (value, gradients), (expected, expected_gradients) = (
        value_and_gradients(loss_of(name), **form)(arguments)
        for form in (IN_BLOCKS, {"method": "dense"})
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert [leaf.dtype for leaf in gradients[:3]] == [jnp.float32, jnp.float32, jnp.bfloat16]
    found, reference = (np.asarray(leaf[2], np.float32) for leaf in (gradients, expected_gradients))
    # One unit in the last of bfloat16's eight places.
    assert np.max(np.abs(found - reference)) <= 2**-7 * np.max(np.abs(reference))


@pytest.mark.usefixtures("annotations_off")
@pytest.mark.parametrize("shape", [(4, 8), (5, 2, 8), (4, 2, 7), (4, 0, 8), (4, 2, 8, 1)])
@pytest.mark.parametrize("name", LOSSES)
def test_extra_texts_that_do_not_belong_to_the_rows_are_refused(name, shape):
    images, texts = make_pairs(4, 8, seed=9)
    message = f"extra_texts {shape} must be [4, N, 8] with N of at least 1: row i holds"
    with pytest.raises(ValueError, match=re.escape(message)):
        loss_of(name)(images, texts, jnp.zeros(shape), 2.0, 4.0)
