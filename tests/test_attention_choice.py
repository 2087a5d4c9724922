"""The choice between two forms of attention, with forms made up: no GPU is at hand in tests."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lumbarclip_jax.models.attention import choice, xla
from lumbarclip_jax.models.attention.choice import fastest, made_up_inputs, trial
from lumbarclip_jax.models.attention.kernel import attend_by_kernel

SHAPE = (2, 3, 5, 4)
PLAIN = xla.attend_by_rows


def clock(*seconds: float):
    """A clock on which the forms take these seconds, in turn."""
    times = itertools.accumulate(itertools.cycle(x for s in seconds for x in (0.0, s)))
    return lambda: next(times)


def other_order(query, key, value, bias=None, kept=None, keep_rate=1.0):
    logits = jnp.einsum("bnqh,bnkh->bnqk", query, key) * query.shape[-1] ** -0.5
    weights = jax.nn.softmax(logits if bias is None else logits + bias)
    weights = weights if kept is None else jnp.where(kept, weights / keep_rate, 0)
    return jnp.einsum("bnqk,bnkh->bnqh", weights, value)


def winner(candidates: dict, *seconds: float, bias_shape=None, is_dropped=False) -> str:
    inputs = made_up_inputs(SHAPE, jnp.float32, bias_shape, is_dropped)
    return trial("attention", {"XLA": PLAIN, **candidates}, inputs, clock(*seconds))


@pytest.mark.slow
@pytest.mark.parametrize("case", [{}, {"bias_shape": (2, 1, 1, 5)}, {"is_dropped": True}])
def test_the_fastest_of_equal_forms_wins(case, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    forms = {"other": other_order, "third": other_order}
    assert winner(forms, 2e-3, 1e-3, 3e-3, **case) == "other"
    assert "attention: other; XLA 2.00 ms, other 1.00 ms, third 3.00 ms" in caplog.text
    assert winner(forms, 1e-3, 2e-3, 3e-3, **case) == "XLA"
    assert winner(forms, 2e-3, 3e-3, 1e-3, **case) == "third"


def wrong_values(query, key, value, *others):
    return 1.1 * other_order(query, key, value)


def wrong_gradients(query, key, value, *others):
    return other_order(lax.stop_gradient(query), key, value)


def no_numbers(query, key, value, *others):
    return other_order(query, key, value) * jnp.nan


def unsupported(query, key, value, *others):
    raise RuntimeError("no engine for this shape\nand a long trace")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (wrong_values, "candidate gives other numbers"),
        (wrong_gradients, "candidate gives other numbers"),
        (no_numbers, "candidate gives other numbers"),
        (unsupported, "candidate has none (no engine for this shape)"),
    ],
)
def test_a_form_that_fails_or_differs_does_not_win_however_fast(form, reason, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    assert winner({"candidate": form}, 1.0, 0.0) == "XLA"
    assert reason in caplog.text
    assert winner({"candidate": form, "other": other_order}, 1.0, 0.5) == "other"


def test_a_form_is_wrong_by_the_gradient_of_its_bias():
    def bias_untaught(query, key, value, bias, *others):
        return other_order(query, key, value, lax.stop_gradient(bias))

    case = {"bias_shape": (1, 3, 5, 5)}
    assert winner({"candidate": bias_untaught}, 1.0, 0.5, **case) == "XLA"
    assert winner({"candidate": other_order}, 1.0, 0.5, **case) == "candidate"


@pytest.fixture
def on_gpu(monkeypatch):
    """Trials as on a GPU, in which "other" wins; the list of their shapes."""
    trials = []

    def made_up_trial(named, forms, inputs):
        trials.append([None if x is None else x.shape for x in inputs])
        return "other"

    monkeypatch.setattr(choice, "trial", made_up_trial)
    monkeypatch.setattr(choice, "CANDIDATES", {"other": other_order})
    monkeypatch.setattr(choice, "_winners", {})
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    return trials


def heads(*shape, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.usefixtures("annotations_off")  # shapes stand in for arrays
def test_only_half_precision_on_a_gpu_of_its_own_is_tried(on_gpu, monkeypatch):
    query = heads(128, 12, 197, 64)
    assert fastest(query, None, None, 1.0, PLAIN) is other_order
    assert fastest(heads(128, 12, 197, 64, dtype=jnp.float32), None, None, 1.0, PLAIN) is PLAIN
    monkeypatch.setattr(choice, "_winners", {})
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert fastest(query, None, None, 1.0, PLAIN) is PLAIN
    assert len(on_gpu) == 1
    monkeypatch.undo()
    assert fastest(query, None, None, 1.0, PLAIN) is PLAIN  # on CPU


@pytest.mark.usefixtures("annotations_off")  # shapes stand in for arrays
def test_a_kind_of_attention_is_tried_once_with_a_part_of_the_batch(on_gpu):
    def ask(query, bias=None, kept=None):
        assert fastest(query, bias, kept, 0.9, PLAIN) is other_order

    for batch in (128, 256):
        ask(heads(batch, 2, 9, 8), heads(batch, 1, 1, 9))
    assert on_gpu == [4 * [(64, 9, 2, 8)] + [(64, 1, 1, 9), None]]
    # Of Swin: windows of a stage with more heads, then those with a bias of their own each.
    ask(heads(4, 16, 3, 9, 8), heads(1, 1, 3, 9, 9))
    ask(heads(4, 4, 6, 9, 8), heads(1, 1, 6, 9, 9))
    ask(heads(4, 4, 6, 9, 8), heads(1, 4, 6, 9, 9))
    assert [shapes[4] for shapes in on_gpu[1:]] == [(1, 1, 3, 9, 9), (1, 4, 6, 9, 9)]
    kept = heads(128, 2, 9, 9, dtype=jnp.bool_)
    ask(heads(128, 2, 9, 8), None, kept)
    assert on_gpu[3] == 4 * [(64, 9, 2, 8)] + [None, (64, 2, 9, 9)]
    assert len(on_gpu) == 4


def test_a_trial_leaves_nothing_in_the_program_that_is_traced(monkeypatch, caplog):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(choice, "_winners", {})
    kernel = functools.partial(attend_by_kernel, interpret=True)
    monkeypatch.setattr(choice, "CANDIDATES", {"kernel": kernel})
    made, real = [], trial

    def seen(*arguments):
        made.append(real(*arguments))
        return made[-1]

    monkeypatch.setattr(choice, "trial", seen)

    def program(is_tried, x):
        def layer(x, _):
            form = fastest(x, None, None, 1.0, PLAIN) if is_tried else PLAIN
            return form(x, x, x), None

        return jnp.sum(lax.scan(jax.checkpoint(layer), x, length=2)[0])

    caplog.set_level("INFO", "lumbarclip_jax")
    x = jnp.ones((2, 1, 9, 16), jnp.bfloat16)
    gradients = [jax.grad(functools.partial(program, tried)) for tried in (False, True)]
    without, tried = (str(jax.make_jaxpr(gradient)(x)) for gradient in gradients)
    assert made == ["XLA"]  # much faster than an interpreter
    assert " ms, kernel " in caplog.text
    assert tried == without
    assert np.isfinite(jax.jit(gradients[1])(x)).all()


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
        with_gradients(choice.attend_by_cudnn), with_gradients(PLAIN), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_winner_is_what_a_gpu_computes(monkeypatch):
    def shifted(query, key, value, bias, kept, keep_rate):
        return query + 1_234.0

    monkeypatch.setattr(choice, "fastest", lambda *arguments: shifted)
    heads = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    function = jax.jit(lambda q, k, v: xla.attend(q, k, v, None, None))

    def lowered(platform: str) -> str:
        traced = function.trace(heads, heads, heads)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    assert "1.234000e+03" in lowered("cuda")
    assert "1.234000e+03" not in lowered("tpu")
    assert "1.234000e+03" not in lowered("cpu")
