"""The dense losses against answers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss

IMAGES = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
TEXTS = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
# T Iᵀ = [[1, 1, 0], [0, 0, 1], [0, 0, 1]]: the log-normalisers of its rows and of its columns.
TEXT_NORMALISERS = np.log([2 * np.e + 1, 2 + np.e, 2 + np.e])
IMAGE_NORMALISERS = np.log([2 + np.e, 2 + np.e, 2 * np.e + 1])
# I Iᵀ + T Tᵀ = [[2, 1, 0], [1, 2, 1], [0, 1, 2]]. A target scale of 2 log 2 turns n into 2ⁿ: the
# targets are [4, 2, 1]/7, [2, 4, 2]/8, [1, 2, 4]/7 and their columns sum to 27/28, 30/28, 27/28.
TARGET_SCALE = 2 * np.log(2.0)
TEXT_LOSS = TEXT_NORMALISERS.sum() - (6 / 7 + 1 / 4 + 4 / 7)


@pytest.mark.parametrize(
    ("targets", "image_loss"),
    [
        ("row", IMAGE_NORMALISERS.sum() - (4 / 7 + 1 / 4 + 6 / 7)),
        (
            "transposed",
            np.dot([27 / 28, 30 / 28, 27 / 28], IMAGE_NORMALISERS) - (4 / 7 + 2 / 7 + 23 / 28),
        ),
    ],
)
def test_soft_clip_of_three_pairs(targets, image_loss):
    loss = soft_clip_loss(
        IMAGES, TEXTS, 0.0, target_scale=TARGET_SCALE, targets=targets, method="dense"
    )
    np.testing.assert_allclose(loss, (TEXT_LOSS + image_loss) / 6, rtol=1e-6)


def test_soft_clip_of_two_orthogonal_pairs():
    # L = 2 Id, P = [[3, 1], [1, 3]] / 4: both directions cost log(e² + 1) - 3/4 · 2.
    eye = jnp.eye(2)
    loss, gradient = jax.value_and_grad(
        lambda scale: soft_clip_loss(eye, eye, scale, target_scale=np.log(3.0), method="dense")
    )(np.log(2.0))
    np.testing.assert_allclose(loss, np.log(np.e**2 + 1) - 1.5, rtol=1e-6)
    # d/d log α of log(e^α + 1) - 3/4 α, at α = 2.
    np.testing.assert_allclose(gradient, 2 * (np.e**2 / (np.e**2 + 1) - 0.75), rtol=1e-5)


def test_hard_weight_blends_the_one_hot_targets_in():
    eye = jnp.eye(2)
    blended = soft_clip_loss(
        eye, eye, np.log(2.0), target_scale=np.log(3.0), hard_weight=0.5, method="dense"
    )
    # P = [[7, 1], [1, 7]] / 8.
    np.testing.assert_allclose(blended, np.log(np.e**2 + 1) - 1.75, rtol=1e-6)


def test_clip_of_three_pairs():
    # The diagonal of T Iᵀ is 1, 0, 1.
    expected = (TEXT_NORMALISERS.sum() + IMAGE_NORMALISERS.sum() - 4) / 6
    np.testing.assert_allclose(clip_loss(IMAGES, TEXTS, 0.0, method="dense"), expected, rtol=1e-6)


def test_siglip_of_two_orthogonal_pairs():
    # Logits are 2 - 1 on the diagonal and -1 off it: all four pairings cost log(1 + 1/e).
    loss = siglip_loss(jnp.eye(2), jnp.eye(2), np.log(2.0), -1.0, method="dense")
    np.testing.assert_allclose(loss, 2 * np.log(1 + np.exp(-1.0)), rtol=1e-6)


def test_targets_pass_a_gradient_only_when_asked():
    def gradients(detach_targets):
        return jax.grad(
            lambda images, scale: soft_clip_loss(
                images,
                TEXTS,
                0.0,
                target_scale=scale,
                detach_targets=detach_targets,
                method="dense",
            ),
            argnums=(0, 1),
        )(IMAGES, jnp.float32(TARGET_SCALE))

    detached, attached = gradients(True), gradients(False)
    assert detached[1] == 0.0
    assert abs(attached[1]) > 1e-3
    assert jnp.max(jnp.abs(detached[0] - attached[0])) > 1e-3


def test_bfloat16_embeddings_are_compared_in_float32():
    images = jax.random.normal(jax.random.key(0), (8, 16)).astype(jnp.bfloat16)
    texts = jax.random.normal(jax.random.key(1), (8, 16)).astype(jnp.bfloat16)
    loss = soft_clip_loss(images, texts, 0.0, target_scale=1.0, method="dense")
    same = soft_clip_loss(
        images.astype(jnp.float32),
        texts.astype(jnp.float32),
        0.0,
        target_scale=1.0,
        method="dense",
    )
    assert loss.dtype == jnp.float32
    assert loss == same


@pytest.mark.usefixtures("annotations_off")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "column"}, 'targets must be "row" or "transposed", not \'column\''),
        ({"hard_weight": 1.5}, "hard_weight must lie between 0 and 1, not 1.5"),
        ({"method": "magic"}, "method must be"),
    ],
)
def test_bad_options_say_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        soft_clip_loss(IMAGES, TEXTS, 0.0, target_scale=1.0, **options)


@pytest.mark.usefixtures("annotations_off")
def test_unpaired_embeddings_are_refused():
    with pytest.raises(ValueError, match="must have the same shape"):
        soft_clip_loss(IMAGES[:2], TEXTS, 0.0, target_scale=1.0)
    with pytest.raises(ValueError, match="must have the same shape"):
        siglip_loss(IMAGES[:2], TEXTS, 0.0, 0.0)
