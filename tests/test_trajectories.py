"""Training follows the same losses on one device and on eight, whatever the mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import resnet_linear, swin_linear, vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model
from lumbarclip_jax.training import train_step

pytestmark = pytest.mark.slow

CONFIGS = {
    "vit": (vit_linear, {"width": 32, "depth": 2, "heads": 2, "mlp_width": 64, "patch_size": 8}),
    "swin": (swin_linear, {"width": 16, "stage_depths": [1, 2], "stage_heads": [1, 2]}),
    "resnet": (resnet_linear, {"stem_width": 8, "stage_widths": [16, 32], "stage_depths": [1, 1]}),
}
BERT = {"width": 32, "depth": 1, "heads": 2, "mlp_width": 64}
STEPS, BATCH, TOKENS, VOCABULARY_SIZE = 20, 16, 12, 50
# Adam divides small gradients by their own size, rounding included: at ten times this rate ResNet
# leaves the trajectory after eight steps, on every mesh.
LR = 1e-4


def tiny_config(name: str):
    run_file, sizes = CONFIGS[name]
    config = run_file.get_config("quick")
    config.data.update(global_batch_size=BATCH, image_size_px=32, crop_px=40, max_tokens=TOKENS)
    config.model.embed_dim = 16
    config.model.image_encoder.sizes = sizes
    config.model.text_encoder.sizes = BERT
    return config


def batches():
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        lengths = rng.integers(3, TOKENS + 1, (BATCH, 1))
        mask = np.arange(TOKENS) < lengths
        yield {
            "images": rng.integers(0, 256, (BATCH, 1, 48, 48, 1), dtype=np.uint8),
            "input_ids": np.where(mask, rng.integers(5, VOCABULARY_SIZE, mask.shape), 0)[:, None],
            "attention_mask": mask.astype(np.int32)[:, None],
            "report_group": np.minimum(np.arange(BATCH), BATCH - 2).astype(np.int32),
        }


def losses(name: str, devices: int, fsdp: int) -> list[float]:
    config = tiny_config(name)
    mesh = sharding.make_mesh(fsdp, jax.devices()[:devices])
    model = build_model(config.model, VOCABULARY_SIZE, jnp.float32)
    state, optimizer = train_step.create_train_state(model, config, mesh)
    step = train_step.make_train_step(model, optimizer, config, mesh)
    values = []
    for batch in batches():
        placed = sharding.shard_batch(batch, mesh)
        state, metrics = step(state, placed, LR, jax.random.key(1), 0.0)
        values.append(float(metrics["loss"]))
    assert step._cache_size() == 1, "the step was compiled more than once"
    return values


@pytest.mark.parametrize(("name", "meshes"), [("vit", (1, 2)), ("swin", (1,)), ("resnet", (1,))])
def test_eight_devices_follow_one(name, meshes):
    one = losses(name, devices=1, fsdp=1)
    assert one[-1] != one[0]
    for fsdp in meshes:
        eight = losses(name, devices=8, fsdp=fsdp)
        np.testing.assert_allclose(eight, one, rtol=1e-5)
