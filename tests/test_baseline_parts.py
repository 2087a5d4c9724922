"""The parts of the PyTorch baseline against those of the JAX package, and its errors."""

import dataclasses
import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax import images, sharding
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import optim

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from lumbarclip_jax.bench.compare.baseline.images import augment_images, resample
from lumbarclip_jax.bench.compare.baseline.loss import objective as torch_objective
from lumbarclip_jax.bench.compare.baseline.optimizer import make_schedule
from lumbarclip_jax.bench.compare.baseline.trainer import check

RNG = np.random.default_rng(0)
SLICES = RNG.integers(0, 256, (3, 24, 24, 1), dtype=np.uint8)


def to_torch(array) -> "torch.Tensor":
    return torch.tensor(np.asarray(array)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("size", "crop"), [(24, 24), (16, 16), (8, 16), (20, 10), (12, 30)])
def test_without_draws_images_are_prepared_alike(size, crop):
    config = base.get_config().data
    config.update(image_size_px=size, crop_px=crop)
    config.augment.update(scale=0.0, translate=0.0, gamma=0.0, noise=0.0)
    expected = to_torch(jax.jit(lambda x: images.prepare_images(x, config))(SLICES))
    actual = augment_images(to_torch(SLICES), config)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-5)


def test_zoom_and_shift_move_the_square_as_in_jax():
    zoom, shift = np.float32([0.9, 1.0, 1.2]), np.float32([[0, 0], [0.2, -0.1], [-0.5, 0.5]])
    size, crop = 12, 18
    scale = (zoom * size / crop)[:, None] * np.ones((1, 2), np.float32)
    translation = size / 2 - scale * (12 + shift * crop)

    def one(image, scale, translation):
        return jax.image.scale_and_translate(
            image, (size, size, 1), (0, 1), scale, translation, method="linear", antialias=True
        )

    expected = to_torch(jax.vmap(one)(SLICES / np.float32(255), scale, translation))
    actual = resample(to_torch(SLICES), torch.tensor(zoom), torch.tensor(shift), size, crop)
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-5)


def test_augmentation_draws_every_image_differently():
    config = base.get_config().data
    config.update(image_size_px=16, crop_px=20)
    config.augment.mirror = True
    twice = torch.cat([to_torch(SLICES[:1])] * 2)
    out = augment_images(twice, config)
    assert out.shape == (2, 1, 16, 16)
    assert not torch.allclose(out[0], out[1], atol=0.1)
    torch.testing.assert_close(out.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("targets", ["row", "transposed"])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("hard_weight", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("grouped", [True, False])
def test_the_loss_and_its_gradients_are_those_of_the_jax_objective(
    targets, detach, hard_weight, grouped
):
    config = base.get_config().objective
    config.group_reports, config.clip.weight = grouped, 0.25
    config.soft_clip.update(targets=targets, detach_targets=detach, hard_weight=hard_weight)
    embeds = RNG.normal(size=(2, 6, 4)).astype(np.float32)
    embeds /= np.linalg.norm(embeds, axis=-1, keepdims=True)
    groups = jnp.array([0, 3, 0, 1, 2, 0])
    terms, mesh = Objective(config), sharding.make_mesh(devices=jax.devices()[:1])

    def ours_of(images, texts, logit_scale):
        outputs = {"image_embeds": images[:, None], "text_embeds": texts[:, None]}
        params = {"logit_scale": logit_scale}
        return terms(params, outputs, {"report_group": groups}, mesh)[0]

    ours, gradients = jax.value_and_grad(ours_of, argnums=(0, 1, 2))(*embeds, jnp.float32(2.0))
    inputs = [torch.tensor(x, requires_grad=True) for x in (*embeds, np.float32(2.0))]
    theirs = torch_objective(*inputs, torch.tensor(np.asarray(groups)), config)
    theirs.backward()
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-5)
    for expected, actual in zip(gradients, inputs, strict=True):
        np.testing.assert_allclose(actual.grad, expected, atol=1e-5, rtol=1e-4)


def test_the_schedule_is_that_of_the_jax_run():
    config = base.get_config().optim
    config.update(lr=1e-3, warmup_steps=3, final_lr_fraction=0.1)
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=config.lr)
    schedule = make_schedule(optimizer, config, total_steps=8)
    for step in range(10):
        expected = optim.learning_rate(config, step, 8)
        assert schedule.get_last_lr()[0] == pytest.approx(expected, rel=1e-12)
        optimizer.step()
        schedule.step()


@dataclasses.dataclass(frozen=True)
class Unknown:
    field: str
    value: object
    message: str


UNKNOWN = [
    Unknown("objective.siglip.weight", 0.5, "no term objective.siglip: it knows soft_clip and"),
    Unknown("objective.soft_clip.schedule", ((0.0, 1.0),), "no objective.soft_clip.schedule="),
    Unknown("model.projection.kind", "convirt", "no model.projection.kind='convirt'"),
    Unknown("model.image_encoder.drop_path", 0.1, "drop_path=0.1: it knows 0.0"),
    Unknown("optim.accumulation_steps", 2, "no optim.accumulation_steps=2: it knows 1"),
    Unknown("optim.frozen", ("text_encoder/.*",), "no optim.frozen="),
]


@pytest.mark.parametrize("unknown", UNKNOWN, ids=lambda unknown: unknown.field)
def test_what_the_baseline_does_not_do_is_refused_by_name(unknown):
    config = base.get_config()
    check(config)
    config.update_from_flattened_dict({unknown.field: unknown.value})
    with pytest.raises(ValueError, match=unknown.message):
        check(config)


def test_without_torch_one_sentence_names_the_extra(monkeypatch):
    for name in [
        name for name in sys.modules if name.startswith("lumbarclip_jax.bench.compare.baseline")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'lumbarclip_jax\[torch\]'$"):
        importlib.import_module("lumbarclip_jax.bench.compare.baseline")
