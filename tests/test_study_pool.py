"""Pooling of the images of a study: against NumPy, in a model, and in a train step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import cxr_clip_resnet, vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.evaluators import study_pooling
from lumbarclip_jax.models import build_model
from lumbarclip_jax.models.study_pool import GatedAttentionPool, study_pool
from lumbarclip_jax.training import config_check, train_step
from tests import test_accumulation

STUDIES, IMAGES, WIDTH, HIDDEN = 3, 4, 5, 6
rng = np.random.default_rng(0)
FEATURES = rng.normal(size=(STUDIES, IMAGES, WIDTH)).astype(np.float32)
COUNTS = np.array([1, 3, 4])
MASK = np.arange(IMAGES) < COUNTS[:, None]
PARAMS = {
    "attended": {"kernel": rng.normal(size=(WIDTH, HIDDEN)).astype(np.float32)},
    "gate": {"kernel": rng.normal(size=(WIDTH, HIDDEN)).astype(np.float32)},
    "scores": rng.normal(size=HIDDEN).astype(np.float32),
}


@jax.jit
def attended(params, features, mask):
    return GatedAttentionPool(HIDDEN).apply({"params": params}, features, mask)


def test_attention_is_that_of_ilse_et_al():
    """Equation 7 with the weights of equation 9, an image at a time in float64."""
    of = jax.tree.map(np.float64, PARAMS)
    expected = []
    for images, count in zip(np.float64(FEATURES), COUNTS, strict=True):
        hidden = [
            np.tanh(h @ of["attended"]["kernel"]) / (1 + np.exp(-h @ of["gate"]["kernel"]))
            for h in images[:count]
        ]
        weights = np.exp([of["scores"] @ one for one in hidden])
        expected.append(weights @ images[:count] / weights.sum())
    np.testing.assert_allclose(attended(PARAMS, FEATURES, MASK), expected, rtol=1e-5, atol=1e-6)


def test_its_gradient_is_that_of_the_formula():
    direction = rng.normal(size=(STUDIES, WIDTH)).astype(np.float32)

    def plain(params, features):
        total = 0.0
        for images, count, along in zip(features, COUNTS, direction, strict=True):
            h = images[:count]
            gated = jnp.tanh(h @ params["attended"]["kernel"])
            gated *= jax.nn.sigmoid(h @ params["gate"]["kernel"])
            weights = jnp.exp(gated @ params["scores"])
            total += (weights @ h / weights.sum()) @ along
        return total

    def pooled(params, features):
        return jnp.sum(attended(params, features, jnp.asarray(MASK)) * direction)

    expected, found = (
        jax.jit(jax.grad(of, argnums=(0, 1)))(PARAMS, FEATURES) for of in (plain, pooled)
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, found, expected)


def test_padding_and_order_change_nothing():
    filled = np.where(MASK[..., None], FEATURES, 1e6)
    pooled = attended(PARAMS, FEATURES, MASK)
    np.testing.assert_array_equal(attended(PARAMS, filled, MASK), pooled)
    order = np.array([[0, 1, 2, 3], [2, 0, 1, 3], [3, 1, 0, 2]])  # padding stays the last
    turned = attended(PARAMS, np.take_along_axis(FEATURES, order[..., None], axis=1), MASK)
    np.testing.assert_allclose(turned, pooled, rtol=1e-5, atol=1e-6)


def test_new_attention_is_the_mean_and_learns():
    mean, pool = study_pool("mean"), study_pool("attention")
    given = jnp.asarray(FEATURES), jnp.asarray(MASK)
    variables = sharding.unbox(pool.init(jax.random.key(0), *given))
    expected = [images[:count].mean(axis=0) for images, count in zip(FEATURES, COUNTS, strict=True)]
    for found in (mean.apply({}, *given), pool.apply(variables, *given)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda of: pool.apply(of, *given)[1].sum())(variables)
    assert np.abs(slope["params"]["scores"]).max() > 1e-4


def test_on_the_host_studies_of_any_number_are_pooled_in_one_shape(monkeypatch):
    monkeypatch.setattr(study_pooling, "BATCH", 2)
    study = np.array([2, 0, 1, 2, 1, 2, 2, 1])  # in no order, three batches' worth
    rows = {s: np.flatnonzero(study == s) for s in range(STUDIES)}
    shapes = set()

    def pool(features, mask):
        shapes.add(features.shape)
        return {"image_embeds": attended(PARAMS, features, mask), "image_features": features[:, 0]}

    features = rng.normal(size=(len(study), WIDTH)).astype(np.float32)
    found = study_pooling.learnt(pool, features, study)
    assert shapes == {(2, IMAGES, WIDTH)}
    for s, own in rows.items():
        alone = attended(PARAMS, features[None, own], np.ones((1, len(own)), bool))[0]
        np.testing.assert_allclose(found["image_embeds"][s], alone, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["image_features"][s], features[own[0]])


def model_config(pooling="attention", **options):
    config = test_accumulation.tiny_config(**options)
    config.model.study_pooling = pooling
    config.data.update(image_views=2, level_prefix=False, other_images=("level",))
    return config


def batch(views=2):
    pairs = test_accumulation.batch()
    images = np.concatenate([np.roll(pairs["images"], view, axis=0) for view in range(views)], 1)
    return {**pairs, "images": images, "report_group": test_accumulation.GROUPS}


@functools.cache
def made(pooling="attention"):
    config = model_config(pooling)
    model = build_model(config.model, test_accumulation.WORDS, jnp.float32)
    state, _ = train_step.create_train_state(model, config, test_accumulation.one_device())
    params = jax.device_get(state.params)
    if pooling == "attention":
        params["study_pool"]["scores"] = rng.normal(size=128).astype(np.float32)
    return model, {"params": jax.tree.map(jnp.asarray, params)}


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_model_embeds_a_study_of_one_as_its_image(pooling):
    model, variables = made(pooling)
    images = jnp.asarray(rng.normal(size=(2, 16, 16, 1)), jnp.float32)
    alone = model.apply(variables, images, method="encode_image")
    study = model.apply(variables, images[:, None], method="encode_study")
    for name, of in alone.items():
        np.testing.assert_allclose(study[name], of, rtol=1e-5, atol=1e-6)
    # Of two images it is what is made of both features.
    both = model.apply(variables, images[None], method="encode_study")
    features = alone["image_features"][None]
    pooled = model.apply(variables, features, jnp.ones((1, 2), bool), method="pool_study")
    np.testing.assert_allclose(both["image_embeds"], pooled["image_embeds"], rtol=1e-5, atol=1e-6)
    assert np.abs(both["image_embeds"] - alone["image_embeds"]).max() > 1e-3


@functools.cache
def gradient(devices=1, fsdp=1, parts=1):
    """(loss, gradient) of a step on studies of two images, its attention no longer the mean."""
    config = model_config(steps=parts)
    mesh = sharding.make_mesh(fsdp, jax.devices()[:devices])
    model, variables = made()
    state, _ = train_step.create_train_state(model, config, mesh)
    state = train_step.replace_variables(state, variables)
    placed = sharding.shard_batch(batch(), mesh)
    step = jax.jit(train_step.make_gradient(model, config, mesh))
    (loss, _), grads = step(state, placed, jax.random.key(1), 0.0)
    return jax.device_get((loss, grads))


@pytest.mark.parametrize("form", [(1, 1, 4), (8, 1, 1), (8, 2, 1)], ids=["parts", "8x1", "4x2"])
def test_a_step_is_the_same_in_parts_and_over_devices(form):
    (loss, grads), (expected, of) = gradient(*form), gradient()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-6)
    jax.tree.map(close, grads, of)
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(of["study_pool"])) > 1e-6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data.image_views": 1}, "data.image_views=1 is one of them: set data.image_views to at"),
        ({"data.level_prefix": True}, "begin with a single one: set data.level_prefix=False"),
        ({"objective.icl.weight": 1.0}, r"objective\.icl compares the images of a study"),
        ({"model.study_pooling": "max"}, "study_pooling='max' is not one of '', 'mean', 'att"),
        ({"eval.unit": "patient"}, "eval.unit='patient' is not one of 'auto', 'image', 'study'"),
    ],
)
def test_what_contradicts_a_study_as_one_is_refused(change, sentence):
    config = cxr_clip_resnet.get_config("quick")
    config.model.study_pooling = "attention"
    config.objective.icl.weight = 0.0
    config_check.validated(config)
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=sentence):
        config_check.validated(config)


def test_what_no_study_is_asked_chooses_no_step():
    config = cxr_clip_resnet.get_config("quick")
    config.eval.update(unit="study", every_steps=1, on_the_way=("label_heads",))
    config.data.other_images = ("same",)
    config.objective.labels.update(weight=1.0, tasks=("muscle_spasm",))
    config_check.validated(config)
    config.eval.choose_by = "-validation/label_heads/muscle_spasm/log_loss"
    with pytest.raises(ValueError, match=r"is measured of images, .* set eval\.unit='image'"):
        config_check.validated(config)


def test_studies_are_not_measured_with_texts_of_a_single_disc():
    config = vit_linear.get_config("quick")
    config.eval.unit = "study"
    with pytest.raises(ValueError, match=r"eval\.unit='study' takes the discs of a study together"):
        config_check.validated(config)
