"""Fine-tuning on the one trainer: stopped and resumed, in parts, on meshes, in bfloat16."""

import json

import jax
import numpy as np
import pytest

from data_prep.process.signals import Stopped
from lumbarclip_jax import loop
from lumbarclip_jax.finetune import initial_encoder
from lumbarclip_jax.finetune.recipe import upgraded
from lumbarclip_jax.models.vit import ViT
from lumbarclip_jax.process import preemption
from tests.test_finetune_training import dataset, splits, tiny_recipe, tiny_start, train

__all__ = ["dataset", "splits"]  # fixtures


def same(a, b) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(splits, tmp_path, monkeypatch):
    recipe = tiny_recipe(members=2)
    recipe.data.global_batch_size = 8
    assert len(splits[0]) // 8 > 3  # it is stopped twice within an epoch
    whole = train(tiny_start(), *splits[:2], recipe, folder=tmp_path / "whole")
    fit, stops = loop.fit, iter([True, True, False])

    def interrupted(folder, config, *arguments, **options):
        if not next(stops, False):
            return fit(folder, config, *arguments, **options)
        # As a signal after some steps does: all is saved, and None comes back.
        part = config.copy_and_resolve_references()
        part.checkpoint.every_steps = 1
        steps = iter(range(3))

        class Request(preemption.StopRequest):
            def agreed(self, *, wait=False):
                return next(steps, None) is None

        with monkeypatch.context() as patch:
            patch.setattr(preemption, "StopRequest", Request)
            return fit(folder, part, *arguments, **options)

    monkeypatch.setattr(loop, "fit", interrupted)
    for _ in range(2):
        with pytest.raises(Stopped):
            train(tiny_start(), *splits[:2], recipe, folder=tmp_path / "parts")
    parts = train(tiny_start(), *splits[:2], recipe, folder=tmp_path / "parts")
    assert parts.epochs == whole.epochs
    assert same(parts.members, whole.members)
    # Once more: everything is trained, and found again.
    again = train(tiny_start(), *splits[:2], recipe, folder=tmp_path / "parts")
    assert same(again.members, whole.members)


def test_another_training_in_the_same_folder_is_refused(splits, tmp_path):
    recipe = tiny_recipe()
    train(tiny_start(), *splits[:2], recipe, folder=tmp_path)
    recipe.optim.lr = 1e-4
    with pytest.raises(ValueError, match=r"unfinished training with optim.lr=0.002, not 0.0001"):
        train(tiny_start(), *splits[:2], recipe, folder=tmp_path)
    recipe.optim.lr = 2e-3
    part = splits[0].part_of_patients(0.5, seed=0)
    with pytest.raises(ValueError, match=r"data\.image_ids="):
        train(tiny_start(), part, splits[1], recipe, folder=tmp_path)


def losses(tmp_path, splits, name, **fields) -> list[float]:
    """Validation losses of an ensemble of one on the devices that there are."""
    recipe = tiny_recipe()
    recipe.model.dropout = 0.0  # parts draw theirs by themselves
    recipe.data.augment.update(scale=0.0, translate=0.0, gamma=0.0, noise=0.0)
    recipe.update_from_flattened_dict(fields)
    start = initial_encoder.InitialEncoder(ViT(**VIT), crop_px=28, image_size_px=16)
    train(start, *splits[:2], recipe, folder=tmp_path / name)
    rows = (tmp_path / name / "seed_0" / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(row) for row in rows]
    return [row["validation/log_loss"] for row in found if "validation/log_loss" in row]


VIT = {"width": 8, "depth": 1, "heads": 2, "mlp_width": 16, "patch_size": 8}


def test_parts_and_meshes_train_the_same(splits, tmp_path):
    """Mixing draws partners over the whole batch, whatever part of it a device or a pass has."""
    plain = losses(tmp_path, splits, "plain")
    parts = losses(tmp_path, splits, "parts", **{"optim.accumulation_steps": 2})
    split = losses(tmp_path, splits, "split", **{"mesh.fsdp": 2})
    np.testing.assert_allclose(parts, plain, rtol=1e-4)
    np.testing.assert_allclose(split, plain, rtol=1e-4)
    assert len(plain) == 2
    assert plain[0] != plain[1]


def test_recipes_of_the_first_form_are_upgraded():
    old = {
        **{"epochs": 3, "batch_size": 8, "members": 2, "dropout": 0.1, "ema_decay": 0.9},
        **{"encoder_lr": 0.5, "optim": {"lr": 1e-3}, "augment": {"mirror": True}},
    }
    new = upgraded(old)
    assert new["data"] == {"global_batch_size": 8, "augment": {"mirror": True}}
    assert new["model"] == {"dropout": 0.1}
    assert new["optim"] == {"lr": 1e-3, "ema_decay": 0.9, "encoder_lr": 0.5}
    assert upgraded(new) == new
