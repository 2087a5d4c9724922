"""Supervised contrast: its formula, and its forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.losses.sup_con import sup_con_loss
from tests.test_losses_forms import FORMS, in_form

ROWS = 24
# Classes of 1, 2, 3 and more rows in different blocks and on different devices; -1 is unknown.
CLASSES = np.array([7, 0, 1, -1, 3, 3, 5, 7, 0, 9, 9, 11, -1, 7, 9, 5, 0, 7, 1, 7, 9, -1, 22, 23])
CLASSES = jnp.asarray(CLASSES, jnp.int32)


def embeds(rows=ROWS, seed=0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, 8))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def by_hand(z: np.ndarray, classes, temperature: float) -> float:
    """Equation 2 of arXiv 2004.11362, a row at a time in float64."""
    losses = []
    classes = np.asarray(classes)
    for i, own in enumerate(classes):
        others = [a for a in range(len(z)) if a != i and classes[a] >= 0]
        positives = [p for p in others if classes[p] == own]
        if own >= 0 and positives:
            denominator = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
            shares = [np.exp(z[i] @ z[p] / temperature) / denominator for p in positives]
            losses.append(-np.mean(np.log(shares)))
    return float(np.mean(losses)) if losses else 0.0


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_it_is_the_formula_of_its_paper(temperature):
    found = sup_con_loss(jnp.asarray(embeds(), jnp.float32), CLASSES, temperature)
    assert float(found) == pytest.approx(by_hand(embeds(), CLASSES, temperature), rel=2e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_has_the_value_and_the_gradient_of_the_dense_one(form):
    z = jnp.asarray(embeds(seed=1), jnp.float32)

    def loss(z, **form):
        return jax.value_and_grad(lambda z: 3 * sup_con_loss(z, CLASSES, 0.2, **form))(z)

    expected, found = loss(z), loss(z, **in_form(form))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("method", ["dense", "blockwise"])
def test_what_has_no_class_is_no_row(method):
    z, known = jnp.asarray(embeds(seed=2), jnp.float32), np.asarray(CLASSES) >= 0
    form = {"method": method, "block_size": 5}
    value, gradient = jax.value_and_grad(sup_con_loss)(z, CLASSES, 0.2, **form)
    alone = jax.value_and_grad(sup_con_loss)(z[known], CLASSES[known], 0.2, **form)
    assert float(value) == pytest.approx(float(alone[0]), rel=1e-6)
    np.testing.assert_allclose(gradient[known], alone[1], atol=1e-6)
    assert not gradient[~known].any()


@pytest.mark.parametrize("method", ["dense", "blockwise"])
@pytest.mark.parametrize(
    "classes", [jnp.arange(ROWS), jnp.full(ROWS, -1)], ids=["alone", "unknown"]
)
def test_without_a_positive_there_is_nothing_to_learn(method, classes):
    value, gradient = jax.value_and_grad(sup_con_loss)(
        jnp.asarray(embeds(), jnp.float32), classes, 0.1, method=method, block_size=7
    )
    assert float(value) == 0.0
    assert np.isfinite(gradient).all()
    assert not gradient.any()


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        sup_con_loss(jnp.asarray(embeds(), jnp.float32), CLASSES, 0.0)
