"""Operations whose gradients are written out, against autodiff of the plain formula."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lumbarclip_jax.models.attention.xla import attend, attend_by_rows
from lumbarclip_jax.models.batch_norm import BatchNorm
from lumbarclip_jax.models.layers import ACTIVATIONS, Dense, Dropout, keep_mask, layer_norm
from lumbarclip_jax.xla_cpu.convolution import max_pool
from lumbarclip_jax.xla_cpu.normalisation import batch_norm

B, N, T, H = 2, 3, 5, 4


def draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def plain_attention(query, key, value, bias, kept, keep_rate):
    logits = jnp.einsum("bnqh,bnkh->bnqk", query, key) / H**0.5
    if bias is not None:
        logits = logits + bias
    weights = jax.nn.softmax(logits, axis=-1)
    if kept is not None:
        weights = jnp.where(kept, weights / keep_rate, 0)
    return jnp.einsum("bnqk,bnkh->bnqh", weights, value)


@pytest.mark.parametrize("form", [attend, attend_by_rows])
@pytest.mark.parametrize("bias_shape", [None, (B, 1, 1, T), (1, N, T, T)])
@pytest.mark.parametrize("drops", [False, True])
def test_attention(form, bias_shape, drops):
    arguments = [draw(seed, B, N, T, H) for seed in range(3)]
    bias = None if bias_shape is None else draw(3, *bias_shape)
    kept = keep_mask(jax.random.key(0), 0.5, (B, N, T, T)) if drops else None
    cotangent = draw(4, B, N, T, H)

    def pulled_back(attention):
        out, pull_back = jax.vjp(lambda *x: attention(*x, kept, 0.5), *arguments, bias)
        return out, pull_back(cotangent)

    found, expected = jax.jit(lambda: (pulled_back(form), pulled_back(plain_attention)))()
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=2e-5, atol=2e-6), found, expected
    )


def test_no_product_of_a_half_precision_gradient_is_in_float32():
    heads = [draw(seed, B, N, T, H).astype(jnp.bfloat16) for seed in range(3)]

    def total(*heads):
        return attend_by_rows(*heads, None, None, 1.0).astype(jnp.float32).sum()

    gradient = str(jax.make_jaxpr(jax.grad(total, argnums=(0, 1, 2)))(*heads))
    products = [line for line in gradient.splitlines() if "dot_general" in line]
    # Forwards the logits and the weighted values, backwards two of each.
    assert len(products) == 6
    assert sum(":f32" in line.partition("=")[0] for line in products) == 1  # the logits


def test_masked_keys_have_no_weight_however_large():
    query, key, value = (draw(seed, B, N, T, H) for seed in range(3))
    mask = jnp.arange(T)[None, None, None] < 3
    bias = jnp.where(mask, 0.0, jnp.finfo(jnp.float32).min)
    out = attend(query, key, value, bias, None)
    shorter = attend(query, key[:, :, :3], value[:, :, :3], None, None)
    np.testing.assert_allclose(out, shorter, rtol=1e-5, atol=1e-6)
    far = attend(query, key.at[:, :, 3:].set(1e4), value.at[:, :, 3:].set(1e4), bias, None)
    np.testing.assert_array_equal(far, out)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_layer_norm(offset):
    x, cotangent = draw(0, B, T, 6) + offset, draw(1, B, T, 6)
    params = {"scale": draw(2, 6), "bias": draw(3, 6)}
    ours = layer_norm(1e-6, dtype=jnp.float32, name="norm")
    linens = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False)

    def pulled_back(module):
        out, pull_back = jax.vjp(lambda p, x: module.apply({"params": p}, x), params, x)
        return out, pull_back(cotangent)

    tolerance = {"rtol": 1e-4, "atol": 1e-5 if offset == 0 else 2e-3}
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, **tolerance),
        pulled_back(ours),
        pulled_back(linens),
    )


def test_only_a_gpu_stores_the_row_sums_of_layer_norm():
    norm = layer_norm(1e-6, dtype=jnp.float32, name="norm")
    x = jnp.ones((4, 8))
    variables = norm.init(jax.random.key(0), x)
    traced = jax.jit(jax.grad(lambda x: norm.apply(variables, x).sum())).trace(x)

    def has_barrier(platform: str) -> bool:
        return "optimization_barrier" in traced.lower(lowering_platforms=(platform,)).as_text()

    assert [has_barrier(platform) for platform in ("cuda", "cpu", "tpu")] == [True, False, False]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense(dtype, use_bias):
    x, cotangent = draw(0, B, T, 6), draw(1, B, T, 4)
    x, cotangent = x.astype(dtype), cotangent.astype(dtype)
    params = {"kernel": draw(2, 6, 4)} | ({"bias": draw(3, 4)} if use_bias else {})

    def pulled_back(module):
        out, pull_back = jax.vjp(lambda p, x: module.apply({"params": p}, x), params, x)
        return out, pull_back(cotangent)

    found = pulled_back(Dense(4, (None, None), use_bias, dtype))
    expected = pulled_back(nn.Dense(4, use_bias, dtype))
    unit = 1e-6 if dtype == jnp.float32 else 2**-7

    def compare(f, e):
        assert f.dtype == e.dtype
        f, e = np.asarray(f, np.float32), np.asarray(e, np.float32)
        np.testing.assert_allclose(f, e, rtol=unit, atol=unit * np.abs(e).max())

    jax.tree.map(compare, found, expected)


def test_gelu_in_both_precisions():
    x = jnp.linspace(-6, 6, 101)
    expected = nn.gelu(x, approximate=False)
    np.testing.assert_allclose(ACTIVATIONS["gelu"](x), expected, atol=5e-7)
    halves = ACTIVATIONS["gelu"](x.astype(jnp.bfloat16))
    assert halves.dtype == jnp.bfloat16
    rounded = nn.gelu(x.astype(jnp.bfloat16).astype(jnp.float32), approximate=False)
    # Half a unit of bfloat16's last place, and the cancellation of 1 + erf(x) far below 0.
    np.testing.assert_allclose(halves.astype(jnp.float32), rounded, rtol=2**-8, atol=5e-7)


def test_kept_shares():
    key = jax.random.key(0)
    for rate in (0.25, 0.9):
        kept = keep_mask(key, rate, (300, 101))  # an odd width
        assert kept.shape == (300, 101)
        assert abs(float(kept.mean()) - rate) < 0.01
        # Four come from one block, 26 blocks a row, and must not know of each other.
        quarters = [kept[:, first : first + 23] for first in range(0, 101, 26)]
        for one, other in itertools.combinations(quarters, 2):
            assert abs(float((one & other).mean()) - rate**2) < 0.015
        # Nor may neighbours or rows.
        assert abs(float((kept[:, 1:] & kept[:, :-1]).mean()) - rate**2) < 0.015
        assert abs(float((kept[1:] & kept[:-1]).mean()) - rate**2) < 0.015
    assert keep_mask(key, 1.0, (40, 40)).all()
    assert not (keep_mask(key, 0.5, (40, 40)) == keep_mask(jax.random.key(1), 0.5, (40, 40))).all()


def test_devices_draw_what_one_draws_of_their_own_rows():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    by_rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    draw = jax.jit(lambda key: keep_mask(key, 0.5, (16, 3, 10)), out_shardings=by_rows)
    program = draw.lower(jax.random.key(0)).compile()
    np.testing.assert_array_equal(
        program(jax.random.key(0)), keep_mask(jax.random.key(0), 0.5, (16, 3, 10))
    )
    assert "all-" not in program.as_text()


def test_dropout_keeps_the_mean_and_rests_outside_training():
    x = jnp.ones((200, 200))
    dropout = Dropout(0.2)
    assert dropout.apply({}, x, train=False) is x
    out = dropout.apply({}, x, train=True, rngs={"dropout": jax.random.key(1)})
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.8)}
    assert abs(float(out.mean()) - 1) < 0.01


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_batch_norm(offset):
    x, cotangent = draw(0, B, T, T, 6) + offset, draw(1, B, T, T, 6)
    scale, bias = draw(2, 6), draw(3, 6)

    def plain(x, scale, bias):
        variance = x.var((0, 1, 2), keepdims=True)
        normed = (x - x.mean((0, 1, 2), keepdims=True)) / jnp.sqrt(variance + 1e-5)
        return normed * scale[None, None, None] + bias[None, None, None]

    def pulled_back(norm):
        out, pull_back = jax.vjp(norm, x, scale, bias)
        return out, pull_back(cotangent)

    fast = pulled_back(lambda *x: batch_norm(1e-5, *x)[0])
    tolerance = 2e-6 if offset == 0 else 2e-3
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=tolerance, atol=tolerance),
        fast,
        pulled_back(plain),
    )


def test_batch_norm_in_half_precision_gives_gradients_of_its_input_s_type():
    x = draw(0, B, T, T, 6).astype(jnp.bfloat16)
    module = BatchNorm(dtype=jnp.bfloat16)
    variables = module.init(jax.random.key(0), x, train=False)

    def loss(x):
        out, _ = module.apply(variables, x, train=True, mutable="batch_stats")
        return out.astype(jnp.float32).sum()

    assert jax.grad(loss)(x).dtype == jnp.bfloat16


@pytest.mark.parametrize("sides", [(6, 8), (7, 5), (1, 2)])
def test_max_pool(sides):
    x = draw(0, B, *sides, 3)

    def plain(x):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    expected, pull_back = jax.vjp(plain, x)
    found, pull_back_fast = jax.vjp(max_pool, x)
    np.testing.assert_array_equal(found, expected)
    cotangent = draw(1, *expected.shape)
    np.testing.assert_allclose(
        pull_back_fast(cotangent)[0], pull_back(cotangent)[0], rtol=1e-6, atol=1e-6
    )


def test_equal_maxima_share_no_gradient_twice():
    """Sixteen equal pixels, four windows: the gradient that comes in is the one that goes out."""
    by_x = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((1, 4, 4, 1)))
    assert by_x.sum() == 4
    assert set(np.unique(by_x)) <= {0.0, 1.0, 2.0}
