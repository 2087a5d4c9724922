"""Encoding in parts gives the gradient of the whole batch, and moves no row to another device."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax import sharding
from lumbarclip_jax.images import augment_images
from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss
from lumbarclip_jax.models import build_model
from lumbarclip_jax.training import accumulation, train_step
from tests import slow

PAIRS, TOKENS, WORDS = 32, 6, 30
IMAGE_ENCODERS = {
    "vit": {"width": 8, "depth": 1, "heads": 1, "mlp_width": 16, "patch_size": 8},
    "swin": {"width": 8, "stage_depths": (1,), "stage_heads": (1,), "window": 2},
    "resnet": {"stem_width": 4, "stage_widths": (8,), "stage_depths": (1,)},
}


def tiny_config(image_encoder="vit", steps=1, dropout=0.0, loss="soft_clip"):
    config = base.get_config()
    config.data.update(image_size_px=16, crop_px=20, max_tokens=TOKENS)
    config.data.global_batch_size = PAIRS
    config.model.embed_dim = 8
    config.model.image_encoder.update(name=image_encoder, pooling="mean")
    config.model.image_encoder.sizes = IMAGE_ENCODERS[image_encoder]
    config.model.text_encoder.sizes = {
        **{"width": 8, "depth": 1, "heads": 1, "mlp_width": 16},
        **{"dropout": dropout, "attention_dropout": dropout},
    }
    config.objective.soft_clip.weight = 0.0
    config.objective[loss].weight = 1.0
    # Mild: untrained embeddings are alike, and the gradient of a sharp loss of them cancels.
    config.model.logit_scale_init = 1.0
    if loss == "siglip":
        config.model.logit_bias_init = -2.0
    config.optim.accumulation_steps = steps
    return config


def batch():
    rng = np.random.default_rng(0)
    words = rng.integers(5, WORDS, (PAIRS, TOKENS), dtype=np.int32)
    mask = (np.arange(TOKENS) < rng.integers(2, TOKENS + 1, (PAIRS, 1))).astype(np.int32)
    images = rng.integers(0, 256, (PAIRS, 24, 24, 1), dtype=np.uint8)
    pairs = {"images": images, "input_ids": words, "attention_mask": mask}
    return {name: of[:, None] for name, of in pairs.items()}  # of one view


GROUPS = (np.arange(PAIRS) % 5).astype(np.int32)


def one_device():
    return sharding.make_mesh(1, jax.devices()[:1])


@functools.cache
def initial_state(image_encoder, loss):
    config = tiny_config(image_encoder, loss=loss)
    model = build_model(config.model, WORDS, jnp.float32)
    return jax.device_get(train_step.create_train_state(model, config, one_device())[0])


@functools.cache
def compiled(image_encoder="vit", steps=1, dropout=0.0, loss="soft_clip", fsdp=None, groups=False):
    """The compiled gradient and its arguments, on one device or on eight."""
    config = tiny_config(image_encoder, steps, dropout, loss)
    config.objective.group_reports = groups
    mesh = sharding.make_mesh(fsdp) if fsdp else one_device()
    model = build_model(config.model, WORDS, jnp.float32)
    abstract, _ = train_step.abstract_train_state(model, config, mesh)
    state = jax.tree.map(
        lambda leaf, like: jax.device_put(leaf, like.sharding),
        initial_state(image_encoder, loss),
        abstract,
    )
    rows = batch() | ({"report_group": GROUPS} if groups else {})
    arguments = state, sharding.shard_batch(rows, mesh), jax.random.key(1), 0.0
    gradient = jax.jit(train_step.make_gradient(model, config, mesh))
    return gradient.lower(*arguments).compile(), arguments


def gradient_of(**options):
    """((loss, running statistics), gradient)."""
    program, arguments = compiled(**options)
    return jax.device_get(program(*arguments))


def assert_same(result, expected, rtol=1e-5):
    """To `rtol` of a leaf's largest number, or of what rounding leaves of gradients that are 0."""
    (loss, *_), gradient = result
    (expected_loss, *_), expected_gradient = expected
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected_gradient))

    def compare(path, leaf, other):
        tolerance = rtol * max(np.abs(other).max(), 1e-4 * largest)
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(leaf, other, rtol=0, atol=tolerance, err_msg=name)

    jax.tree_util.tree_map_with_path(compare, gradient, expected_gradient)
    assert np.abs(gradient["logit_scale"]) > 1e-3


@pytest.mark.parametrize("image_encoder", slow.but_first(["vit", "swin"]))
@pytest.mark.parametrize(
    ("steps", "fsdp"),
    [
        pytest.param(4, None, id="4"),
        pytest.param(16, None, id="16", marks=pytest.mark.slow),
        pytest.param(4, 1, id="4@8x1", marks=pytest.mark.slow),
        pytest.param(4, 2, id="4@4x2"),
    ],
)
def test_parts_give_the_gradient_of_the_whole_batch(image_encoder, steps, fsdp):
    """With augmentation, whose draws are those of the whole batch."""
    expected = gradient_of(image_encoder=image_encoder)
    assert_same(gradient_of(image_encoder=image_encoder, steps=steps, fsdp=fsdp), expected)


@pytest.mark.parametrize("options", [{"steps": 4}, {"steps": 4, "fsdp": 2}], ids=str)
def test_equal_reports_are_those_of_the_whole_batch(options):
    """Not of a part, nor of a device: some of one group are in every part."""
    expected = gradient_of(groups=True)
    assert_same(gradient_of(groups=True, **options), expected)
    alone = gradient_of()
    assert abs(alone[0][0] - expected[0][0]) > 1e-3


def encoded_in_parts(image_encoder, steps, dropout, loss):
    """Plain differentiation of the encoders run on one part after another."""
    config = tiny_config(image_encoder, steps, dropout)
    model = build_model(tiny_config(image_encoder, steps, dropout, loss).model, WORDS, jnp.float32)
    augment_key, dropout_key = jax.random.split(jax.random.key(1))
    rows = {name: jnp.asarray(of[:, 0]) for name, of in batch().items()}
    pixels = augment_images(augment_key, rows["images"], config.data)
    inputs = pixels, rows["input_ids"], rows["attention_mask"]

    def loss_fn(params, batch_stats):
        embeds = []
        for k, key in enumerate(jax.random.split(dropout_key, steps)):
            outputs, updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                *(x[k * PAIRS // steps : (k + 1) * PAIRS // steps] for x in inputs),
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            batch_stats = updated.get("batch_stats", {})
            embeds.append((outputs["image_embeds"], outputs["text_embeds"]))
        images, texts = (jnp.concatenate(side) for side in zip(*embeds, strict=True))
        if loss == "clip":
            return clip_loss(images, texts, params["logit_scale"]), batch_stats
        if loss == "siglip":
            scalars = params["logit_scale"], params["logit_bias"]
            return siglip_loss(images, texts, *scalars), batch_stats
        value = soft_clip_loss(
            images, texts, params["logit_scale"], target_scale=10.0, hard_weight=0.9
        )
        return value, batch_stats

    return jax.jit(jax.value_and_grad(loss_fn, has_aux=True))


@pytest.mark.parametrize(
    ("image_encoder", "steps", "dropout", "loss"),
    slow.but_first(
        [
            ("vit", 2, 0.3, "soft_clip"),
            ("vit", 2, 0.0, "clip"),
            ("vit", 2, 0.0, "siglip"),
            ("resnet", 2, 0.0, "soft_clip"),
        ]
    ),
)
def test_parts_are_encoded_with_their_own_keys_and_statistics(image_encoder, steps, dropout, loss):
    options = {"image_encoder": image_encoder, "steps": steps, "dropout": dropout, "loss": loss}
    state = initial_state(image_encoder, loss)
    expected = encoded_in_parts(**options)(state.params, state.batch_stats)
    result = gradient_of(**options)
    # Batch normalisation of few channels: its gradients nearly cancel.
    assert_same(result, expected, rtol=1e-4 if image_encoder == "resnet" else 1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        result[0][1][1],
        jax.device_get(expected[0][1]),
    )
    if loss == "siglip":
        assert np.abs(result[1]["logit_bias"]) > 1e-3


@pytest.mark.parametrize("fsdp", [1, 2])
def test_no_row_of_the_batch_leaves_its_device(fsdp):
    """What is exchanged has the shape of embeddings, statistics of rows or parameters."""

    def exchanged(steps):
        text = compiled(steps=steps, fsdp=fsdp)[0].as_text()
        lines = re.findall(r"= (.*) (all-gather|all-to-all|collective-permute)\(", text)
        return {(kind, re.sub(r"\{[\d,]*\}", "", shapes)) for shapes, kind in lines}

    images, tokens = r"\[(\d+,)*16,16,1\]|\[(\d+,)*24,24,1\]", r"[su]32\[(\d+,)*6\]"
    shapes = [shape for _, shape in exchanged(4)]
    assert not [shape for shape in shapes if re.search(f"{images}|{tokens}", shape)]
    if fsdp == 1:
        assert exchanged(4) == exchanged(1)


def test_a_part_takes_a_share_of_every_devices_rows():
    """Two devices with rows 0..3 and 4..7: the first part is the first half of both."""
    config = tiny_config()
    mesh, config.data.global_batch_size = sharding.make_mesh(1, jax.devices()[:2]), 8
    seen = []

    def encode(params, batch_stats, rows, key):
        jax.debug.callback(lambda x: seen.append(x.tolist()), rows, ordered=False)
        return {"embeds": rows[:, None] * params}, batch_stats

    def loss(params, outputs, batch):
        del batch
        return jnp.sum(outputs["embeds"] * jnp.arange(8.0)[:, None]) * params, {}

    f = accumulation.value_and_grad(encode, loss, 2, mesh)
    rows = jax.device_put(jnp.arange(8.0), jax.NamedSharding(mesh, sharding.BATCH))
    (value, _), gradient = jax.jit(f)(jnp.float32(3.0), {}, rows, jax.random.key(0))
    # Joined in the order of the batch: 9 Σ i², of which the gradient is 2 · 3 Σ i².
    assert (float(value), float(gradient)) == (9 * 140, 6 * 140)
    assert sorted(seen[:2]) == [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]


def test_batches_that_do_not_divide_into_parts_are_named():
    config = tiny_config(steps=3)
    with pytest.raises(
        ValueError,
        match=r"data.global_batch_size=32 .* optim.accumulation_steps=3 .* 8 devices: try 48",
    ):
        accumulation.check_batch_size(config, sharding.make_mesh())
    with pytest.raises(ValueError, match="batch_size=32 does not divide over the 3 devices"):
        accumulation.check_batch_size(config, sharding.make_mesh(1, jax.devices()[:3]))
    config.optim.accumulation_steps = 4
    accumulation.check_batch_size(config, sharding.make_mesh())
