"""The encoders against the published PyTorch models at a tiny size.

Against arrays recorded in tests/golden everywhere, and against PyTorch itself where installed.
"""

import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.models.pretrained import key_tables
from tests.golden.cases import CASES, inputs, probe

GOLDEN = Path(__file__).parent / "golden"
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
live = pytest.param(
    "live", marks=pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
)

pytestmark = [
    pytest.mark.parametrize("name", CASES),
    pytest.mark.parametrize("source", ["recorded", live]),
]


@functools.cache
def reference(name: str, source: str) -> dict[str, np.ndarray]:
    if source == "recorded":
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return dict(arrays)
    from tests.golden import reference as published

    model = published.tiny_model(name).train(CASES[name].train)
    return published.run(model, inputs(CASES[name]))


def part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


@functools.cache
def ours(name: str, source: str) -> dict:
    """Our outputs, levels, gradients and updated statistics with the reference's weights."""
    case, arrays = CASES[name], reference(name, source)
    variables, unknown = key_tables.to_flax(part(arrays, "weights/"), case.table)
    assert unknown == []
    variables, args = jax.tree.map(jnp.asarray, (variables, part(arrays, "inputs/")))
    stats = {key: tree for key, tree in variables.items() if key != "params"}

    def loss(params):
        out, changed = case.module.apply(
            {"params": params} | stats,
            **args,
            train=case.train,
            mutable=["intermediates", "batch_stats"],
        )
        last = out["last_hidden_state"]
        if "attention_mask" in args:
            last = last * args["attention_mask"][..., None]
        value = jnp.sum(out["pooled"] * probe(out["pooled"].shape))
        return value + jnp.sum(last * probe(last.shape)), (out, changed)

    gradients, (out, changed) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    return {
        "gradients": key_tables.to_published({"params": gradients}, case.table)[0],
        "out": out,
        "levels": levels(changed["intermediates"]),
        "batch_stats": changed.get("batch_stats"),
    }


def levels(intermediates: dict) -> list[jax.Array]:
    layers = sorted(key for key in intermediates if key.startswith("layer_"))
    stages = intermediates["hidden_states"]
    return [*stages, *(intermediates[key]["hidden_states"][0] for key in layers)]


def relative_error(actual, expected) -> float:
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def test_outputs(name, source):
    expected, out = reference(name, source), ours(name, source)["out"]
    assert relative_error(out["last_hidden_state"], expected["last_hidden_state"]) <= 1e-5
    assert relative_error(out["pooled"], expected["pooled"]) <= 1e-5


def test_every_level(name, source):
    expected = part(reference(name, source), "levels/")
    actual = ours(name, source)["levels"]
    assert len(actual) == len(expected)
    for index, level in enumerate(actual):
        assert relative_error(level, expected[str(index)]) <= 1e-5, index


def test_gradients(name, source):
    expected = part(reference(name, source), "gradients/")
    actual = ours(name, source)["gradients"]
    # Buffers have no gradient and are in the recorded checkpoint as they were.
    expected = {key: value for key, value in expected.items() if "running_" not in key}
    assert sorted(actual) == sorted(expected)
    largest = max(np.linalg.norm(gradient) for gradient in expected.values())
    for key, gradient in expected.items():
        # Some gradients are zero by symmetry (the attention key bias) and rounding noise in both.
        error = np.linalg.norm(actual[key] - gradient)
        assert error <= 1e-4 * np.linalg.norm(gradient) + 1e-6 * largest, key


def test_running_statistics(name, source):
    case, arrays = CASES[name], reference(name, source)
    stats = {"batch_stats": ours(name, source)["batch_stats"] or {}}
    updated, _ = key_tables.to_published(stats, case.table)
    before = part(arrays, "weights/")
    assert len(updated) == sum("running_" in key for key in before)
    for key, value in updated.items():
        if case.train:
            assert relative_error(value, arrays[f"after/{key}"]) <= 1e-5, key
            assert relative_error(before[key], arrays[f"after/{key}"]) > 1e-3, key
        else:
            np.testing.assert_array_equal(value, before[key])
