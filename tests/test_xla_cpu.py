"""Forms for XLA's CPU compiler: equal to the plain ones, and timed beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.bench import forms, machine
from lumbarclip_jax.bench.form_pairs import PAIRS, arguments, with_gradients
from lumbarclip_jax.xla_cpu import order
from lumbarclip_jax.xla_cpu.convolution import halve


@pytest.mark.parametrize("name", PAIRS)
def test_a_form_has_the_values_and_gradients_of_the_plain_one(name):
    pair = PAIRS[name]
    arrays = arguments(pair.tiny)
    written, plain = (with_gradients(form)(*arrays) for form in (pair.written, pair.plain))
    assert jax.tree.structure(written) == jax.tree.structure(plain)
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=2e-5, atol=2e-5), written, plain
    )


def test_halving_takes_maxima_of_squares():
    x = jnp.arange(25.0).reshape(1, 5, 5, 1)
    np.testing.assert_array_equal(halve(x)[0, :, :, 0], [[6, 8], [16, 18]])


@pytest.mark.parametrize("condition", [True, False])
def test_all_of_one_tree_is_picked(condition):
    new, old = {"a": jnp.ones(3), "b": jnp.nan}, {"a": jnp.zeros(3), "b": jnp.array(2.0)}
    condition = jnp.array(condition)
    picked = jax.jit(order.pick)(condition, new, old)
    jax.tree.map(np.testing.assert_array_equal, picked, new if condition else old)
    jax.tree.map(np.testing.assert_array_equal, picked, order.plain_pick(condition, new, old))


def test_every_form_is_timed_and_on_the_page():
    rows = forms.measure(calls=1, repeats=1, tiny=True)
    assert list(rows) == list(PAIRS)
    rows["GELU"]["plain_of_written"] = 1.05
    row = {
        "command": "python -m lumbarclip_jax.bench.forms",
        "machine": machine.describe(),
        "versions": {"jaxlib": "0.10.2"},
        "calls": 1,
        "repeats": 1,
        "forms": rows,
    }
    page = forms.render(row)
    assert page.count("\n| ") == 1 + len(PAIRS)
    gelu = next(line for line in page.splitlines() if line.startswith("| GELU |"))
    assert gelu.endswith("| 1.05 | try a step without it |")
    assert "jaxlib 0.10.2" in page
