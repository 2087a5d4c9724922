"""Targets by labels: MedCLIP's loss, several texts of a pair, and what two classes can teach."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from configs import base
from lumbarclip_jax import sharding
from lumbarclip_jax.losses import forms
from lumbarclip_jax.losses.soft_clip import soft_clip_loss
from lumbarclip_jax.objectives.objective import Objective

ROWS, EMBED = 24, 6
SCALE = float(np.log(1 / 0.07))
FORMS = [("dense", 1, 1), ("blockwise", 1, 1), ("gather", 8, 1), ("ring", 8, 1), ("ring", 8, 2)]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def medclip(images, texts, image_labels, text_labels, logit_scale):
    """(value, gradients by images, texts and scale) in float64: MedCLIP, equations 3 to 5."""
    scale = np.exp(logit_scale)
    logits = scale * images @ texts.T
    alike = image_labels @ text_labels.T
    of_images = scipy.special.softmax(alike, axis=1)
    of_texts = scipy.special.softmax(alike.T, axis=1)
    value = -(of_images * scipy.special.log_softmax(logits, axis=1)).sum() / len(images)
    value -= (of_texts * scipy.special.log_softmax(logits.T, axis=1)).sum() / len(images)
    slope = scipy.special.softmax(logits, axis=1) - of_images
    slope += (scipy.special.softmax(logits.T, axis=1) - of_texts).T
    slope /= 2 * len(images)
    by_images, by_texts = scale * slope @ texts, scale * slope.T @ images
    return value / 2, by_images, by_texts, (slope * logits).sum()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: " ".join(map(str, form)))
def test_it_is_the_loss_of_medclip(form, monkeypatch):
    method, devices, fsdp = form
    for exchange in ("OneDevice", "Gather", "Ring"):
        made = functools.partial(getattr(forms, exchange), 5)  # an uneven tail of every block
        monkeypatch.setattr(forms, exchange, lambda _, *mesh, made=made: made(*mesh))
    rng = np.random.default_rng(0)
    images, texts = unit(rng.normal(size=(2, ROWS, EMBED)))
    image_labels, text_labels = rng.integers(-1, 2, size=(2, ROWS, 4)).astype(float)
    expected = medclip(images, texts, image_labels, text_labels, SCALE)
    mesh = sharding.make_mesh(fsdp, jax.devices()[:devices])

    def loss(images, texts, logit_scale):
        return soft_clip_loss(
            images,
            texts,
            logit_scale,
            target_scale=1.0,
            likeness=tuple(jnp.float32(labels) for labels in (image_labels, text_labels)),
            method=method,
            mesh=None if method == "blockwise" else mesh,
        )

    value_and_grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    value, slopes = value_and_grad(*map(jnp.float32, (images, texts, SCALE)))
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    for slope, known in zip(slopes, expected[1:], strict=True):
        np.testing.assert_allclose(slope, known, rtol=0, atol=1e-6 * max(1, np.abs(known).max()))


def objective(**settings) -> Objective:
    config = base.get_config().objective
    config.group_reports = False
    config.soft_clip.update(hard_weight=0.0, target_scale=1.0, **settings)
    return Objective(config)


def value(made: Objective, images, texts, logit_scale=SCALE, **batch) -> float:
    """Of images [B, V, E] and texts [B, W, E]."""
    outputs = {"image_embeds": jnp.float32(images), "text_embeds": jnp.float32(texts)}
    fields = {name.replace("__", "/"): jnp.float32(leaf) for name, leaf in batch.items()}
    params = {"logit_scale": jnp.float32(logit_scale)}
    return float(made(params, outputs, fields, sharding.make_mesh(1, jax.devices()[:1]))[0])


@pytest.mark.parametrize("size", [20, 128])
def test_two_classes_teach_a_ratio_of_e_to_1_and_nothing_else(size):
    """The floor is reached where all of a class embed alike: pairs are not told apart at all."""
    made = objective(likeness=(("classes", ("lbp",), 1.0),))
    classes = np.eye(2)[np.arange(size) % 2]
    labels = {"classes__lbp": classes, "text__classes__lbp": classes[:, None]}
    floor = np.log(size / 2) + np.log(np.e + 1) - np.e / (np.e + 1)
    assert floor == pytest.approx({20: 2.885, 128: 4.741}[size], abs=5e-4)
    by_class = classes[:, None]
    assert value(made, by_class, by_class, logit_scale=0.0, **labels) == pytest.approx(floor)
    rng = np.random.default_rng(size)
    by_pair = unit(classes[:, None] + 0.5 * unit(rng.normal(size=(size, 1, 2))))
    assert value(made, by_pair, by_pair, **labels) > floor + 0.1


def test_the_loss_of_several_texts_is_the_mean_over_them_each_with_its_labels():
    made = objective(likeness=(("classes", ("a", "b"), 1.0),))
    assert {"classes/a", "classes/b", "text/classes/a", "text/classes/b"} <= set(made.fields)
    rng = np.random.default_rng(2)
    images, texts = unit(rng.normal(size=(ROWS, 1, EMBED))), unit(rng.normal(size=(ROWS, 2, EMBED)))
    of_images = {name: np.eye(3)[rng.integers(3, size=ROWS)] for name in "ab"}
    of_texts = {name: np.eye(3)[rng.integers(3, size=(ROWS, 2))] for name in "ab"}

    def joined(labels, *which):
        return np.concatenate([labels[name][which] for name in "ab"], axis=-1)

    batch = {f"classes__{name}": labels for name, labels in of_images.items()}
    batch |= {f"text__classes__{name}": labels for name, labels in of_texts.items()}
    every = slice(None)
    expected = [
        medclip(
            images[:, 0], texts[:, view], joined(of_images), joined(of_texts, every, view), SCALE
        )[0]
        for view in range(2)
    ]
    assert abs(expected[0] - expected[1]) > 1e-3
    assert value(made, images, texts, **batch) == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (("classes", "lbp", 1.0), "each is (form, tasks, weight)"),
        (("clases", ("lbp",), 1.0), "a form of classes, signs, jaccard"),
        (("signs", ("lbp",), -1.0), "each is (form, tasks, weight)"),
        ("classes", "each is (form, tasks, weight)"),
    ],
)
def test_a_likeness_that_cannot_be_is_refused(kind, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        objective(likeness=(kind,))


def test_a_likeness_of_labels_has_constant_targets_by_row():
    with pytest.raises(ValueError, match="set targets='row' and detach_targets=True"):
        objective(likeness=(("signs", ("lbp",), 1.0),), targets="transposed")
