"""The CPU sum guard: right sums with it, and a probe that is wrong where the fault exists."""

import os
import subprocess
import sys
from importlib import metadata

import pytest

from lumbarclip_jax.process import xla_guard

# The last row of this reduction is 0.8 % off on an affected jaxlib (jax#39103).
PROBE = """
{guard}
import jax, jax.numpy as jnp
rows = jnp.arange(32769 * 3, dtype=jnp.float32).reshape(32769, 3) / 1000
sums = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
last = [float(x) for x in rows[-1]]
print(abs(float(sums[-1]) / sum(x * x for x in last) - 1))
"""


def relative_error(guard: str) -> float:
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    env["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    code = PROBE.format(guard=guard)
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return float(out.stdout)


def test_sums_are_right_with_the_guard():
    assert relative_error("import lumbarclip_jax") < 1e-5


def test_the_probe_fails_without_the_guard():
    if metadata.version("jaxlib") not in xla_guard.AFFECTED_JAXLIB:
        pytest.skip("this jaxlib is not affected")
    assert relative_error("") > 1e-3


def test_a_flag_set_by_the_user_wins(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"{xla_guard.FLAG}=dot")
    xla_guard.install()
    assert os.environ["XLA_FLAGS"] == f"{xla_guard.FLAG}=dot"
