"""What is held to its annotations under test, see annotations.py: a wrong shape fails."""

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from lumbarclip_jax.losses.soft_clip import soft_clip_loss


@pytest.mark.parametrize("shape", [(4, 6), (3, 8), (4, 8, 1)])
def test_embeddings_that_do_not_belong_together_break_the_annotation(shape):
    with pytest.raises(jaxtyping.TypeCheckError, match="'text_embeds'"):
        soft_clip_loss(jnp.zeros((4, 8)), jnp.zeros(shape), 0.0, target_scale=1.0)


def test_shapes_are_checked_as_a_program_is_traced():
    with pytest.raises(jaxtyping.TypeCheckError, match="'text_embeds'"):
        jax.eval_shape(
            lambda images, texts: soft_clip_loss(images, texts, 0.0, target_scale=1.0),
            jnp.zeros((4, 8)),
            jnp.zeros((4, 6)),
        )


def test_a_type_is_checked_as_well_and_an_int_is_a_float():
    ones = jnp.ones((2, 2)) / 2**0.5
    assert soft_clip_loss(ones, ones, 0, target_scale=1) > 0
    with pytest.raises(jaxtyping.TypeCheckError, match="'target_scale'"):
        soft_clip_loss(ones, ones, 0.0, target_scale="1.0")


@pytest.mark.usefixtures("annotations_off")
def test_with_annotations_off_a_call_meets_the_checks_of_production():
    with pytest.raises(ValueError, match="must have the same shape"):
        soft_clip_loss(jnp.zeros((4, 8)), jnp.zeros((4, 6)), 0.0, target_scale=1.0)
