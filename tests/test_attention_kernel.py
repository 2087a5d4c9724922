"""The attention kernel against the plain formula, by Pallas's interpreter: tests have no GPU."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lumbarclip_jax.models.attention.kernel import attend_by_kernel
from lumbarclip_jax.models.attention.xla import attend_by_rows

by_interpreter = functools.partial(attend_by_kernel, interpret=True)


def made_up(shape, bias_shape, is_dropped, dtype=jnp.float32):
    """Query, key, value and gradient of the output; bias; what is kept."""
    heads = jax.random.normal(jax.random.key(0), (4, *shape), dtype)
    bias = None
    if bias_shape is not None:
        bias = jax.random.normal(jax.random.key(1), bias_shape)
    kept = None
    if is_dropped:
        kept = jax.random.bernoulli(jax.random.key(2), 0.8, (*shape[:-1], shape[-2]))
    return heads, bias, kept


def by_formula(form, query, key, value, by_out, bias, kept):
    """The output and the gradients of query, key, value and bias."""
    out, pull_back = jax.vjp(
        lambda q, k, v, b: form(q, k, v, b, kept, 0.8), query, key, value, bias
    )
    return out, *pull_back(by_out)


def with_gradients(form, *case):
    heads, bias, kept = made_up(*case)
    return by_formula(form, *heads, bias, kept)


@pytest.mark.parametrize("is_dropped", [False, True])
@pytest.mark.parametrize(
    ("shape", "bias_shape"),
    [
        pytest.param((3, 2, 16, 16), None, id="no bias"),
        pytest.param((2, 3, 37, 16), (2, 1, 1, 37), id="BERT: a row for each text"),
        pytest.param(
            (2, 2, 130, 16),
            (2, 2, 1, 130),
            id="a row for each head, in three blocks",
            marks=pytest.mark.slow,
        ),
        pytest.param((2, 2, 200, 16), None, id="four blocks"),
        pytest.param(
            (2, 4, 3, 49, 32),
            (1, 1, 3, 49, 49),
            id="Swin: one bias for all windows",
            marks=pytest.mark.slow,
        ),
        pytest.param((4, 4, 3, 49, 32), (1, 4, 3, 49, 49), id="Swin: shifted windows"),
        pytest.param(
            (3, 1, 2, 49, 16),
            (1, 1, 1, 49, 49),
            id="one bias for all heads",
            marks=pytest.mark.slow,
        ),
        pytest.param((3, 5, 2, 9, 16), (3, 5, 2, 9, 9), id="each its own", marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_are_those_of_the_formula(shape, bias_shape, is_dropped):
    case = (shape, bias_shape, is_dropped)
    found, expected = (with_gradients(form, *case) for form in (by_interpreter, attend_by_rows))
    names = ("out", "query", "key", "value", "bias")
    for name, ours, theirs in zip(names, found, expected, strict=True):
        if theirs is None:
            assert ours is None
            continue
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("is_dropped", [False, True])
@pytest.mark.parametrize(
    ("shape", "bias_shape"),
    [
        pytest.param((8, 2, 19, 16), None, id="no bias"),
        pytest.param((8, 2, 19, 16), (8, 1, 1, 19), id="BERT"),
        pytest.param((8, 4, 3, 9, 16), (1, 1, 3, 9, 9), id="Swin"),
        pytest.param((8, 4, 3, 9, 16), (1, 4, 3, 9, 9), id="Swin, shifted"),
    ],
)
def test_devices_take_their_own_sequences(shape, bias_shape, is_dropped):
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=2 * (jax.sharding.AxisType.Auto,))

    def place(x):
        spec = ("data", "fsdp") if x.shape[0] == shape[0] else None
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec(spec)))

    heads, bias, kept = made_up(shape, bias_shape, is_dropped)
    expected = by_formula(attend_by_rows, *heads, bias, kept)
    heads, bias, kept = jax.tree.map(place, ([*heads], bias, kept))
    compiled = jax.jit(functools.partial(by_formula, by_interpreter)).lower(*heads, bias, kept)
    compiled = compiled.compile()
    for ours, theirs in zip(compiled(*heads, bias, kept), expected, strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert "all-gather" not in compiled.as_text()


def test_a_batch_that_devices_cannot_share_is_whole_on_each():
    """Two images of four windows among eight devices, each of which would get one window."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_window = NamedSharding(mesh, PartitionSpec(None, "data"))
    heads, bias, _ = made_up((2, 8, 3, 9, 16), (1, 8, 3, 9, 9), False)
    expected = by_formula(attend_by_rows, *heads, bias, None)
    found = jax.jit(functools.partial(by_formula, by_interpreter), in_shardings=by_window)(
        *heads, bias, None
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_bfloat16_stays_within_its_rounding():
    case = ((2, 4, 3, 49, 32), (1, 4, 3, 49, 49), False, jnp.bfloat16)
    found, expected = (with_gradients(form, *case) for form in (by_interpreter, attend_by_rows))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        ours, theirs = (np.asarray(x, np.float32) for x in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, atol=0.01 * abs(theirs).max())


def test_a_query_that_may_see_one_key_alone_gets_its_value():
    query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 1, 20, 16))
    bias = jnp.where(jnp.arange(20) == 7, 0.0, -1e30)[None, None, None]
    out = by_interpreter(query, key, value, bias)
    np.testing.assert_allclose(out, jnp.broadcast_to(value[:, :, 7:8], out.shape), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "bias_shape"),
    [
        pytest.param((1, 1, 257, 16), None, id="too long"),
        pytest.param((1, 1, 9, 24), None, id="no power of two"),
        pytest.param((1, 1, 9, 8), None, id="too narrow"),
        pytest.param((1, 1, 80, 16), (1, 1, 80, 80), id="a bias in several blocks"),
        pytest.param((2, 3, 1, 9, 16), (2, 1, 1, 9, 9), id="a bias for each image"),
    ],
)
def test_what_it_does_not_do_is_said(shape, bias_shape):
    bias = None if bias_shape is None else jnp.zeros(bias_shape)
    with pytest.raises(ValueError, match="no attention kernel for"):
        by_interpreter(*3 * [jnp.zeros(shape)], bias)


@pytest.mark.skipif(
    not any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)),
    reason="needs JAX's CUDA plugin",
)
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
def test_a_gpu_compiler_takes_it(monkeypatch):
    """Compiled for a GPU that is not there."""
    from jax._src.pallas.triton import pallas_call_registration

    from lumbarclip_jax.bench.absent import devices_of

    gpu_info = getattr(pallas_call_registration, "gpu_info_lib", None)
    if gpu_info:  # since JAX 0.11, which asks the GPU that is there
        h200 = gpu_info.get_gpu_info_from_version(gpu_info.GpuVersion.H200)
        monkeypatch.setattr(gpu_info, "get_gpu_info", lambda: h200)
    place = jax.sharding.SingleDeviceSharding(devices_of("h200:1")[0])

    def arrays(*shape, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

    heads = arrays(2, 4, 3, 49, 32)
    bias = arrays(1, 4, 3, 49, 49, dtype=jnp.float32)
    kept = arrays(2, 4, 3, 49, 49, dtype=jnp.bool_)

    def run(query, key, value, by_out, bias, kept):
        form = functools.partial(attend_by_kernel, kept=kept, keep_rate=0.8)
        out, pull_back = jax.vjp(form, query, key, value, bias)
        return out, *pull_back(by_out)

    traced = jax.jit(run).trace(*4 * [heads], bias, kept)
    compiled = traced.lower(lowering_platforms=("cuda",)).compile()
    assert compiled.as_text().count("triton") >= 2
