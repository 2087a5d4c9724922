"""The train step is compiled with the options of its backend, and these exist."""

import jax
import jax.numpy as jnp
import pytest

from configs import vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model
from lumbarclip_jax.training import train_step


def lowered_step():
    config = vit_linear.get_config("quick")
    sizes = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 16}
    config.model.image_encoder.sizes = {**sizes, "patch_size": 32}
    config.model.text_encoder.sizes = sizes
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    model = build_model(config.model, 50, jnp.float32)
    state, optimizer = train_step.abstract_train_state(model, config, mesh)
    step = train_step.make_train_step(model, optimizer, config, mesh)
    tokens = jax.ShapeDtypeStruct((2, 1, 8), jnp.int32)
    batch = {
        "images": jax.ShapeDtypeStruct((2, 1, 160, 160, 1), jnp.uint8),
        "input_ids": tokens,
        "attention_mask": tokens,
        "report_group": jax.ShapeDtypeStruct((2,), jnp.int32),
    }
    return step.lower(state, batch, jnp.float32(1e-4), jax.random.key(0), jnp.float32(0))


@pytest.mark.slow
def test_the_step_takes_those_of_its_devices(monkeypatch):
    monkeypatch.setattr(train_step, "COMPILER_OPTIONS", {"cpu": {"xla_no_such_option": True}})
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        lowered_step().compile()
    monkeypatch.setattr(train_step, "COMPILER_OPTIONS", {"gpu": {"xla_no_such_option": True}})
    lowered_step().compile()


@pytest.mark.parametrize("options", train_step.COMPILER_OPTIONS.values())
def test_they_are_options_of_the_compiler(options):
    jax.jit(jnp.sin, compiler_options=options).lower(1.0).compile()
