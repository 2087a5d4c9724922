"""How the initial state is made."""

import jax
import pytest
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.training import train_step

FLAG = "jax_threefry_gpu_kernel_lowering"


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_gpu_draws_it_by_one_kernel_and_nothing_else(monkeypatch, is_failing):
    seen = []

    def init(key):
        seen.append(getattr(jax.config, FLAG))
        if is_failing:
            raise ValueError("no model")
        return {"weights": jax.random.normal(key, (3,))}

    monkeypatch.setattr(train_step, "_state_plan", lambda *arguments: (init, "AdamW", None))
    config = ConfigDict({"seed": 0})
    if is_failing:
        with pytest.raises(ValueError, match="no model"):
            train_step.create_train_state(None, config, sharding.make_mesh(1))
    else:
        state, _ = train_step.create_train_state(None, config, sharding.make_mesh(1))
        assert (state["weights"] == jax.random.normal(jax.random.key(0), (3,))).all()
    assert seen == [True]
    assert not getattr(jax.config, FLAG)
