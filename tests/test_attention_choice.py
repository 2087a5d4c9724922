"""The choice between two forms of attention, with forms made up: no GPU is at hand in tests."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lumbarclip_jax.models import attention, attention_choice
from lumbarclip_jax.models.attention_choice import takes_cudnn, wins_trial

SHAPE = (2, 3, 5, 4)
PLAIN = attention.attend_by_rows


def clock(candidate_s: float, plain_s: float):
    """A clock on which the two forms take these seconds, in turn."""
    times = itertools.accumulate(itertools.cycle([0.0, candidate_s, 0.0, plain_s]))
    return lambda: next(times)


def other_order(query, key, value):
    logits = jnp.einsum("bnqh,bnkh->bnqk", query, key) * query.shape[-1] ** -0.5
    return jnp.einsum("bnqk,bnkh->bnqh", jax.nn.softmax(logits), value)


@pytest.mark.parametrize(("candidate_s", "wins"), [(1e-3, True), (3e-3, False)])
def test_the_faster_of_two_equal_forms_wins(candidate_s, wins, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    found = wins_trial(other_order, PLAIN, SHAPE, jnp.float32, clock(candidate_s, 2e-3))
    assert found is wins
    expected = f"{'cuDNN' if wins else 'XLA'}; cuDNN {1e3 * candidate_s:.2f} ms, XLA 2.00 ms"
    assert expected in caplog.text


def wrong_values(query, key, value):
    return 1.1 * other_order(query, key, value)


def wrong_gradients(query, key, value):
    return other_order(lax.stop_gradient(query), key, value)


def no_numbers(query, key, value):
    return other_order(query, key, value) * jnp.nan


def unsupported(query, key, value):
    raise NotImplementedError("no engine for this shape\nand a long trace")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (wrong_values, "other numbers"),
        (wrong_gradients, "other numbers"),
        (no_numbers, "other numbers"),
        (unsupported, "has none (no engine for this shape)"),
    ],
)
def test_a_form_that_fails_or_differs_does_not_win_however_fast(form, reason, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    assert not wins_trial(form, PLAIN, SHAPE, jnp.float32, clock(0.0, 1.0))
    assert reason in caplog.text


def test_a_trial_leaves_nothing_in_the_program_that_is_traced():
    def program(tried, x):
        def layer(x, _):
            if tried:
                assert wins_trial(other_order, PLAIN, SHAPE, jnp.float32, clock(0.0, 1.0))
            return other_order(x, x, x), None

        return jnp.sum(lax.scan(jax.checkpoint(layer), x, length=2)[0])

    x = jnp.ones(SHAPE)
    gradients = [jax.grad(functools.partial(program, tried)) for tried in (False, True)]
    without, tried = (str(jax.make_jaxpr(gradient)(x)) for gradient in gradients)
    assert tried == without
    assert np.isfinite(jax.jit(gradients[1])(x)).all()


def test_only_half_precision_on_a_gpu_of_its_own_is_tried_and_once(monkeypatch):
    trials = []

    def trial(candidate, plain, shape, dtype):
        trials.append(shape)
        return True

    def form(query, key, value):
        """A form of this test alone, since answers are kept."""

    monkeypatch.setattr(attention_choice, "wins_trial", trial)
    shape, half = (128, 12, 197, 64), jnp.dtype(jnp.bfloat16)
    assert not takes_cudnn(shape, half, form)  # on CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not takes_cudnn(shape, jnp.dtype(jnp.float32), form)
    assert not trials
    assert takes_cudnn(shape, half, form)
    assert takes_cudnn((256, *shape[1:]), half, form)
    assert trials == [(64, 12, 197, 64)]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert not takes_cudnn(shape, half, form)


@pytest.mark.parametrize("tokens", [5, 6])
def test_the_arguments_of_cudnn_are_in_its_order(monkeypatch, tokens):
    """By JAX's own reference, which takes what cuDNN takes."""
    reference = jax.nn.dot_product_attention

    def same_by_xla(query, *others, implementation, **lengths):
        assert implementation == "cudnn"
        # JAX refuses to differentiate an odd number.
        assert query.shape[1] == 6
        return reference(query, *others, **lengths, implementation="xla")

    monkeypatch.setattr(jax.nn, "dot_product_attention", same_by_xla)
    inputs = jax.random.normal(jax.random.key(0), (4, 2, 3, tokens, 4))

    def with_gradients(form):
        out, pull_back = jax.vjp(form, *inputs[:3])
        return out, *pull_back(inputs[3])

    for found, expected in zip(
        with_gradients(attention_choice.attend_by_cudnn), with_gradients(PLAIN), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_winner_is_what_a_gpu_computes(monkeypatch):
    monkeypatch.setattr(attention, "takes_cudnn", lambda shape, dtype, plain: True)
    monkeypatch.setattr(attention, "attend_by_cudnn", lambda query, key, value: query + 1_234.0)
    heads = jax.ShapeDtypeStruct(SHAPE, jnp.float32)

    def lowered(platform: str, *, has_bias: bool) -> str:
        bias = jnp.zeros((2, 1, 1, 5)) if has_bias else None
        function = jax.jit(lambda q, k, v: attention.attend(q, k, v, bias, None))
        traced = function.trace(heads, heads, heads)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    assert "1.234000e+03" in lowered("cuda", has_bias=False)
    assert "1.234000e+03" not in lowered("cuda", has_bias=True)
    assert "1.234000e+03" not in lowered("tpu", has_bias=False)
    assert "1.234000e+03" not in lowered("cpu", has_bias=False)
