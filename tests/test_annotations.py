"""What is held to its annotations under test: a wrong shape fails in every room that states one."""

import ast
import pathlib

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from lumbarclip_jax.losses.soft_clip import soft_clip_loss
from lumbarclip_jax.models.projection import Projection
from tests.conftest import SHAPED

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("shape", [(4, 6), (3, 8), (4, 8, 1)])
def test_embeddings_that_do_not_belong_together_break_the_annotation(shape):
    with pytest.raises(jaxtyping.TypeCheckError, match="'text_embeds'"):
        soft_clip_loss(jnp.zeros((4, 8)), jnp.zeros(shape), 0.0, target_scale=1.0)


def test_shapes_are_checked_as_a_program_is_traced():
    with pytest.raises(jaxtyping.TypeCheckError, match=r"Projection\.__call__"):
        jax.eval_shape(Projection(8).init, jax.random.key(0), jnp.zeros((2, 3, 4)))


def test_a_type_is_checked_as_well_and_an_int_is_a_float():
    ones = jnp.ones((2, 2)) / 2**0.5
    assert soft_clip_loss(ones, ones, 0, target_scale=1) > 0
    with pytest.raises(jaxtyping.TypeCheckError, match="'target_scale'"):
        soft_clip_loss(ones, ones, 0.0, target_scale="1.0")


@pytest.mark.usefixtures("annotations_off")
def test_with_annotations_off_a_call_meets_the_checks_of_production():
    with pytest.raises(ValueError, match="must have the same shape"):
        soft_clip_loss(jnp.zeros((4, 8)), jnp.zeros((4, 6)), 0.0, target_scale=1.0)


def test_no_room_states_shapes_that_nobody_checks():
    stating = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in (REPOSITORY / "lumbarclip_jax").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
    }
    assert stating
    assert not {
        name for name in stating if not f"{name}.".startswith(tuple(f"{s}." for s in SHAPED))
    }
