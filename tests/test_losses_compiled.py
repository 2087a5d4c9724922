"""What the compiler makes of the losses: memory, communication, and the choice of a form."""

import math
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lumbarclip_jax.losses.blockwise import OneDevice
from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.forms import choose_exchange
from lumbarclip_jax.losses.sharded import Gather, Ring
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss

FEATURES = 512


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def compile_gradient(batch, mesh=None, extras=0, **form):
    """Value and gradient of the costliest setting: transposed targets that learn."""
    rows = mesh and NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    embeds = jax.ShapeDtypeStruct((batch, FEATURES), jnp.float32, sharding=rows)
    extra_texts = jax.ShapeDtypeStruct((batch, extras, FEATURES), jnp.float32, sharding=rows)
    scalar = jax.ShapeDtypeStruct((), jnp.float32)

    def loss(images, texts, logit_scale, target_scale, extra_texts):
        return soft_clip_loss(
            images,
            texts,
            logit_scale,
            target_scale=target_scale,
            targets="transposed",
            detach_targets=False,
            extra_texts=extra_texts,
            mesh=mesh,
            **form,
        )

    arguments = (embeds, embeds, scalar, scalar, extra_texts if extras else None)
    gradient = jax.value_and_grad(loss, argnums=(0, 1, 2, 3, 4))
    return jax.jit(gradient).lower(*arguments).compile()


def largest_array(compiled):
    """Elements of the largest array anywhere in the program of one device."""
    shapes = re.findall(r"\b(?:f32|s32|pred)\[([\d,]+)\]", compiled.as_text())
    return max(math.prod(map(int, shape.split(","))) for shape in shapes)


def all_collectives(compiled):
    """The result and the kind of each collective in the program of one device."""
    kinds = r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?"
    return sorted(re.findall(rf"= (.+?) {kinds}\(", compiled.as_text()))


def collectives(compiled):
    """The kinds of collectives, and the result of each all-reduce."""
    found = all_collectives(compiled)
    return {kind for _, kind in found}, [shape for shape, kind in found if kind == "all-reduce"]


def test_the_dense_form_is_what_the_others_avoid():
    compiled = compile_gradient(2048, method="dense")
    assert largest_array(compiled) == 2048 * 2048
    # About ten such matrices at once, which is what the choice by bytes counts with.
    assert compiled.memory_analysis().temp_size_in_bytes == pytest.approx(40 * 2048**2, rel=0.2)


@pytest.mark.parametrize("extras", [0, 1, 4])
def test_blockwise_memory_at_131072_pairs(extras):
    compiled = compile_gradient(131_072, extras=extras, method="blockwise")
    # Nothing is larger than what is embedded, whose gradients are outputs, not temporaries.
    assert largest_array(compiled) == 131_072 * FEATURES * max(extras, 1)
    assert compiled.memory_analysis().temp_size_in_bytes <= 64 * 2**20


def test_gather_sends_no_gradient(mesh):
    compiled = compile_gradient(8192, mesh, method="gather")
    kinds, all_reduced = collectives(compiled)
    assert kinds == {"all-gather", "all-reduce"}
    # The loss and the gradients of its two scales: every embedding gradient is born whole.
    assert sum(shape.count("f32[]") for shape in all_reduced) == 3
    assert not any(re.search(r"\[\d", shape) for shape in all_reduced)
    # The gathered embeddings; the 1024 local rows by 8192 keys would be twice that.
    assert largest_array(compiled) == 8192 * FEATURES


def test_ring_never_holds_the_batch(mesh):
    compiled = compile_gradient(8192, mesh, method="ring", block_size=512)
    kinds, all_reduced = collectives(compiled)
    assert kinds == {"collective-permute", "all-reduce"}
    assert not any(re.search(r"\[\d", shape) for shape in all_reduced)
    # A device's share of the embeddings.
    assert largest_array(compiled) == 8192 // 8 * FEATURES


@pytest.mark.parametrize("method", ["gather", "ring"])
def test_extra_texts_are_never_sent(mesh, method):
    alone, beside_extras = (
        all_collectives(compile_gradient(512, mesh, extras=extras, method=method, block_size=32))
        for extras in (0, 3)
    )
    assert alone == beside_extras


def test_one_hot_targets_cost_nothing():
    def products(**options):
        embeds = jax.ShapeDtypeStruct((64, FEATURES), jnp.float32)
        scale = jax.ShapeDtypeStruct((), jnp.float32)
        loss = jax.grad(
            lambda *embeds_and_scale: soft_clip_loss(
                *embeds_and_scale, target_scale=5.0, method="blockwise", **options
            ),
            argnums=(0, 1),
        )
        return str(jax.make_jaxpr(loss)(embeds, embeds, scale)).count("dot_general")

    # Forward: two orientations of logits, two products for the likeness. Backward: the same, two
    # products for the gradients of the embeddings and two more through the targets.
    assert products(hard_weight=1.0) == 2 + 2 + 2
    assert products(hard_weight=0.5) == 4 + 4 + 2
    assert products(hard_weight=0.5, detach_targets=False) == 4 + 4 + 2 + 2


def choose(batch, features=FEATURES, method="auto", mesh=None, dtype=jnp.float32):
    embeds = jax.ShapeDtypeStruct((batch, features), dtype)
    return choose_exchange(method, mesh, 1024, embeds, embeds)


def test_the_form_is_chosen_by_bytes(mesh):
    one = jax.make_mesh((1, 1), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    # 40 bytes a pairing and 1 GiB: sqrt(2³⁰ / 40) = 5181.06.
    for single in (None, one):
        assert choose(5181, mesh=single) is None
        assert choose(5182, mesh=single) == OneDevice(1024)
    # 2 · 2²⁰ · 512 · 4 bytes are 4 GiB.
    assert choose(2**20, mesh=mesh) == Gather(1024, mesh)
    assert choose(2**20 + 8, mesh=mesh) == Ring(1024, mesh)
    assert choose(2**20 + 8, mesh=mesh, dtype=jnp.bfloat16) == Gather(1024, mesh)
    assert choose(64, method="dense", mesh=mesh) is None


@pytest.mark.usefixtures("annotations_off")
@pytest.mark.parametrize("loss", [clip_loss, siglip_loss])
@pytest.mark.parametrize(
    ("batch", "form", "message"),
    [
        (8, {"method": "tiles"}, "method must be one of auto, dense, .*, not 'tiles'"),
        (8, {"method": "gather"}, 'method "gather" works over a mesh; pass mesh='),
        (8, {"method": "blockwise", "mesh": True}, "on a mesh of 8 use"),
        (12, {"mesh": True}, "12 pairs cannot be shared equally by the 8 devices"),
        (8, {"method": "blockwise", "block_size": 0}, "block_size must be at least 1, not 0"),
    ],
)
def test_a_form_that_cannot_be_says_why(mesh, loss, batch, form, message):
    embeds = jnp.ones((batch, 4))
    scalars = (0.0,) if loss is clip_loss else (0.0, 0.0)
    if "mesh" in form:
        form = form | {"mesh": mesh}
    with pytest.raises(ValueError, match=message):
        loss(embeds, embeds, *scalars, **form)
