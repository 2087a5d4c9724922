"""Weights, margins and mixing rules against numbers worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.losses.imbalance import losses, mixing, weighting
from lumbarclip_jax.losses.imbalance.mixing import Mixture
from lumbarclip_jax.losses.imbalance.strategy import class_balanced, effective_number

COUNTS = jnp.array([400.0, 80.0, 20.0])


def close(actual, desired, tolerance=1e-6):
    np.testing.assert_allclose(actual, desired, rtol=0, atol=tolerance)


def test_class_balanced_weights_of_a_small_cohort_are_inverse_counts():
    close(class_balanced(COUNTS), [0.117, 0.578, 2.305], 5e-4)
    inverse = 3 / COUNTS / (1 / COUNTS).sum()
    close(inverse, [0.115, 0.577, 2.308], 5e-4)


def test_effective_numbers_saturate_at_one_over_one_minus_beta():
    # Effective numbers 98.205, 55.248 and 18.209, from exact powers of 0.99.
    effective = np.array([(1 - 0.99**n) / 0.01 for n in (400, 80, 20)])
    close(effective_number(COUNTS), 3 / effective / (1 / effective).sum(), 1e-5)
    close(effective_number(jnp.array([4000.0, 8000.0])), [1, 1])


def test_a_class_that_does_not_occur_weighs_nothing_and_moves_no_other():
    close(class_balanced(jnp.array([50.0, 0.0, 50.0])), [1, 0, 1])


def test_uniform_weights():
    close(weighting.uniform(COUNTS), [1, 1, 1])


def test_ldam_margins():
    close(losses.ldam_margins(COUNTS), [0.236, 0.354, 0.5], 5e-4)
    close(losses.ldam_margins(jnp.array([0.0, 16.0, 1.0])), [0, 0.25, 0.5])


def test_ldam_is_cross_entropy_with_the_margin_taken_off_the_label():
    # Cosines 0.6 and 0.4, counts 16 and 1: the label's margin is 0.25, so 30 * (0.35 - 0.4).
    loss = losses.ldam(jnp.array([[18.0, 12.0]]), jnp.array([0]), jnp.array([16.0, 1.0]))
    close(loss, [math.log(1 + math.exp(1.5))], 1e-5)


def test_focal_loss_of_even_odds():
    # p = 0.5: (1 - p)^2 * log 2; p = 0.9: 0.01 * -log 0.9.
    logits = jnp.array([[0.0, 0.0], [math.log(9.0), 0.0]])
    loss = losses.focal(logits, jnp.array([1, 0]), COUNTS[:2])
    close(loss, [0.25 * math.log(2), 0.01 * -math.log(0.9)])


def test_cross_entropy():
    logits = jnp.array([[math.log(3.0), 0.0]] * 2)
    close(
        losses.cross_entropy(logits, jnp.array([0, 1]), COUNTS[:2]), [math.log(4 / 3), math.log(4)]
    )


def one(rule, share, own, other):
    image, label = rule(jnp.float32(share), jnp.array([own]), jnp.array([other]))
    return float(image[0]), float(label[0])


def test_alone_and_mixup():
    assert one(mixing.alone, 0.25, 9.0, 1.0) == (1, 1)
    assert one(mixing.mixup, 0.25, 9.0, 1.0) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("share", "own", "other", "label"),
    [
        (0.4, 300.0, 100.0, 0.0),  # own is the majority and the smaller part: all partner
        (0.6, 300.0, 100.0, 0.6),  # the majority is the larger part: as mixup
        (0.6, 100.0, 300.0, 1.0),  # own is the minority, its partner the smaller part: all own
        (0.4, 100.0, 300.0, 0.4),  # the minority is the smaller part: as mixup
        (0.4, 299.0, 100.0, 0.4),  # less than three times as many: as mixup
        (0.5, 300.0, 100.0, 0.5),  # tau is excluded
    ],
)
def test_remix(share, own, other, label):
    assert one(mixing.remix, share, own, other) == pytest.approx((share, label))


def test_margin_aware_mixup_turns_early_into_the_minority():
    # 5000^-1/4 / (5000^-1/4 + 50^-1/4) = 0.11892 / (0.11892 + 0.37606) = 0.24025
    turn = 0.24025
    assert one(mixing.mamix, 1 - turn, 5000.0, 50.0)[1] == pytest.approx(0.5, abs=1e-4)
    assert one(mixing.mamix, 1 - turn / 2, 5000.0, 50.0)[1] == pytest.approx(0.75, abs=1e-4)
    halfway = one(mixing.mamix, (1 - turn) / 2, 5000.0, 50.0)[1]
    assert halfway == pytest.approx(0.25, abs=1e-4)
    assert one(mixing.mamix, 1.0, 5000.0, 50.0) == (1, 1)
    assert one(mixing.mamix, 0.0, 5000.0, 50.0) == (0, 0)


def test_margin_aware_mixup_is_the_same_blend_seen_from_the_partner():
    _, from_majority = one(mixing.mamix, 0.8, 5000.0, 50.0)
    _, from_minority = one(mixing.mamix, 0.2, 50.0, 5000.0)
    assert from_majority + from_minority == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_margin_aware_mixup_of_equal_classes_is_mixup(share):
    assert one(mixing.mamix, share, 70.0, 70.0) == pytest.approx((share, share), abs=1e-6)


def test_blend_weighs_own_and_partner():
    mixture = Mixture(jnp.array([1, 0]), jnp.array([0.75, 1.0]), jnp.array([0.5, 1.0]))
    images = jnp.array([[[4.0, 8.0]], [[0.0, 4.0]]])
    close(mixture.blend(images), [[[3.0, 7.0]], [[0.0, 4.0]]])


def test_draws_share_one_weight_and_pair_a_permutation():
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    mixture = mixing.draw(jax.random.key(3), labels, COUNTS, mixing.mamix)
    assert sorted(mixture.partner.tolist()) == list(range(6))
    assert len(set(mixture.image_weight.tolist())) == 1
    own, other = COUNTS[labels], COUNTS[labels[mixture.partner]]
    close(mixture.label_weight, mixing.mamix(mixture.image_weight[0], own, other)[1])


def test_an_unknown_label_is_as_common_as_its_partner_s():
    """Else -1 would be the last class, which may not occur at all: its weights were not finite."""
    counts, labels = jnp.array([90.0, 10.0, 0.0]), jnp.array([-1, 0, 1, -1, 0, -1, -1, 1])
    for rule in (mixing.mamix, mixing.remix):
        for seed in range(4):
            drawn = mixing.draw(jax.random.key(seed), labels, counts, rule)
            assert bool(jnp.isfinite(drawn.label_weight).all())
            unknown = (labels < 0) | (labels[drawn.partner] < 0)
            plain = mixing.draw(jax.random.key(seed), labels, counts, mixing.mixup)
            np.testing.assert_allclose(
                drawn.label_weight[unknown], plain.label_weight[unknown], rtol=1e-5
            )
