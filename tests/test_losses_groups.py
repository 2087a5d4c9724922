"""Equal reports as each other's positives, and targets from a likeness of constant features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.likeness import Likeness, of_images, of_pairs, of_texts
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import hard_targets, soft_clip_loss
from tests.test_losses_forms import FORMS, assert_equals_dense, in_form, make_pairs

BATCH = 24
# Groups of 1, 2, 3 and 5 pairs, which lie in different blocks and on different devices.
GROUPS = jnp.array([7, 0, 1, 2, 3, 4, 5, 7, 0, 9, 9, 11, 12, 7, 14, 5, 16, 7, 18, 7, 9, 21, 22, 23])
LOSSES = ("soft_clip", "clip", "siglip")


def features(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(BATCH, 3)), jnp.float32)


def loss_of(name: str, *, groups=None, likeness=None, **options):
    """`loss(images, texts, logit_scale, other scalar, **form)`."""

    def loss(images, texts, logit_scale, other, **form):
        if name == "clip":
            return clip_loss(images, texts, logit_scale, groups=groups, **form)
        if name == "siglip":
            return siglip_loss(images, texts, logit_scale, other, groups=groups, **form)
        options["hard_weight"] = options.get("hard_weight", 0.3)
        return soft_clip_loss(
            *(images, texts, logit_scale),
            target_scale=other,
            groups=groups,
            likeness=likeness,
            **options,
            **form,
        )

    return loss


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_groups_in_every_form(name, form):
    loss = loss_of(name, groups=GROUPS)
    assert_equals_dense(loss, make_pairs(BATCH, 8, seed=1), 2.3, 4.0, **in_form(form))


@pytest.mark.parametrize("targets", ["row", "transposed"])
@pytest.mark.parametrize("detach_targets", [True, False])
def test_groups_in_blocks_with_every_kind_of_target(targets, detach_targets):
    loss = loss_of("soft_clip", groups=GROUPS, targets=targets, detach_targets=detach_targets)
    form = {"method": "blockwise", "block_size": 5}
    assert_equals_dense(loss, make_pairs(BATCH, 8, seed=2), 2.3, 4.0, **form)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["alone", "grouped"])
@pytest.mark.parametrize("hard_weight", [0.0, 0.4])
def test_a_likeness_in_every_form(hard_weight, groups, form):
    likeness = (features(0), features(1))
    loss = loss_of("soft_clip", groups=groups, likeness=likeness, hard_weight=hard_weight)
    assert_equals_dense(loss, make_pairs(BATCH, 8, seed=3), 2.3, 2.0, **in_form(form))


def sets(seed: int) -> jax.Array:
    """Findings of every row, of some none."""
    return jnp.asarray(np.random.default_rng(seed).random((BATCH, 5)) < 0.3, jnp.float32)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["alone", "grouped"])
def test_a_blend_of_likenesses_in_every_form(groups, form):
    blend = (
        Likeness(features(0), features(1), weight=0.3),
        Likeness(sets(2), sets(3), weight=1.5, kind="jaccard"),
    )
    loss = loss_of("soft_clip", groups=groups, likeness=blend, hard_weight=0.2)
    assert_equals_dense(loss, make_pairs(BATCH, 8, seed=3), 2.3, 2.0, **in_form(form))


def test_the_jaccard_likeness_by_hand():
    texts = jnp.array([[1.0, 1, 0], [0, 0, 0], [0, 1, 1]])
    images = jnp.array([[1.0, 0, 0], [0, 0, 0], [1, 1, 1]])
    blend = (Likeness(images, texts, kind="jaccard"),)
    expected = [[1 / 2, 0, 2 / 3], [0, 1, 0], [0, 0, 2 / 3]]
    np.testing.assert_allclose(of_texts(blend, blend), expected, rtol=1e-6)
    np.testing.assert_allclose(of_images(blend, blend), np.transpose(expected), rtol=1e-6)
    np.testing.assert_allclose(of_pairs(blend), np.diagonal(expected), rtol=1e-6)


def test_a_sum_of_inner_products_is_that_of_features_side_by_side():
    pairs, weights = make_pairs(BATCH, 8, seed=6), (0.5, 2.0)
    kinds = [(features(seed), features(seed + 1)) for seed in (0, 2)]
    blend = [Likeness(*of, weight=weight) for of, weight in zip(kinds, weights, strict=True)]
    side = [
        jnp.concatenate([w**0.5 * of[i] for of, w in zip(kinds, weights, strict=True)], axis=1)
        for i in range(2)
    ]
    found, expected = (
        soft_clip_loss(*pairs, 2.0, target_scale=1.5, likeness=likeness)
        for likeness in (blend, tuple(side))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("likeness", "sentence"),
    [
        ((), "a likeness of no kind"),
        ((jnp.ones((BATCH, 3)), jnp.ones((BATCH, 2))), r"must both be \[24, F\]"),
        ((jnp.ones((3, 2)), jnp.ones((3, 2))), r"must both be \[24, F\]"),
        ((Likeness(features(0), features(1), weight=-1.0),), "weight of a likeness must be at"),
        ("dice", "one of inner, jaccard, not 'dice'"),
    ],
)
@pytest.mark.usefixtures("annotations_off")
def test_a_likeness_that_cannot_be_is_told(likeness, sentence):
    if likeness == "dice":
        likeness = (Likeness(features(0), features(1), kind="dice"),)
    with pytest.raises(ValueError, match=sentence):
        soft_clip_loss(*make_pairs(BATCH, 8, seed=0), 2.0, target_scale=1.0, likeness=likeness)


@pytest.mark.parametrize("form", [{"method": "dense"}, *FORMS[:2]], ids=str)
def test_the_likeness_of_the_embeddings_is_that_of_their_features(form):
    images, texts = make_pairs(BATCH, 8, seed=4)
    side = jnp.concatenate([images, texts], axis=1) / 2**0.5
    options = {"target_scale": 8.0, "groups": GROUPS, **in_form(form)}
    own, given = (
        jax.value_and_grad(
            lambda *pairs, likeness=likeness: soft_clip_loss(
                *pairs, 2.0, likeness=likeness, **options
            ),
            argnums=(0, 1),
        )(images, texts)
        for likeness in (None, (side, side))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), own, given)


def test_each_direction_has_the_likeness_of_its_own_rows():
    """By hand: image 0 is like text 1, and text 0 like no image more than another."""
    images = jnp.array([[1.0], [0.0]])
    texts = jnp.array([[0.0], [1.0]])
    logits = jnp.array([[0.0, 0.0], [1.0, 0.0]])  # of texts, f·t of rows t: [[0, 0], [1, 0]]
    eye = jnp.eye(2)
    loss = soft_clip_loss(eye, eye, 0.0, target_scale=1.0, likeness=(images, texts))
    of_texts, of_images = jax.nn.softmax(logits, axis=1), jax.nn.softmax(logits.T, axis=1)
    costs = -jax.nn.log_softmax(eye, axis=1)
    np.testing.assert_allclose(loss, ((of_texts + of_images) * costs).sum() / 4, rtol=1e-6)


def test_hard_targets_are_shared_by_a_group():
    np.testing.assert_array_equal(
        hard_targets(3, jnp.array([4, 2, 4])), [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]
    )


@pytest.mark.parametrize("name", LOSSES)
def test_pairs_without_equals_are_what_they_were(name):
    """To the bit: a batch in which every report is alone trains as one without groups."""
    pairs = make_pairs(BATCH, 8, seed=5)
    alone = jnp.arange(BATCH)[::-1] * 3
    found, expected = (
        jax.value_and_grad(lambda *x, groups=groups: loss_of(name, groups=groups)(*x), (0, 1))(
            *pairs, 2.0, 3.0
        )
        for groups in (alone, None)
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_pushes_equal_reports_apart(name):
    """Two images of one report, each equally near to it: nothing is to be gained by moving."""
    images = jnp.eye(4)
    texts = jnp.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    groups = jnp.array([0, 0, 1, 2])

    def by_similarity(groups):
        """The gradient of the loss by each similarity of the two pairs, texts as rows."""
        by_texts = jax.grad(
            lambda texts: loss_of(name, groups=groups, hard_weight=1.0)(images, texts, 0.0, 0.0)
        )(texts)
        return np.asarray(by_texts[:2, :2])

    grouped, alone = by_similarity(groups), by_similarity(None)
    assert (grouped < 0).all()  # both images are drawn to both texts
    np.testing.assert_allclose(grouped[0], grouped[1], rtol=1e-6)
    assert alone[0, 1] > 0 > alone[0, 0]  # without groups, from the other's


@pytest.mark.parametrize("options", [{"targets": "transposed"}, {"detach_targets": False}])
def test_a_likeness_has_detached_targets_by_row(options):
    loss = loss_of("soft_clip", likeness=(features(0), features(1)), **options)
    with pytest.raises(ValueError, match="a likeness of features has targets="):
        loss(*make_pairs(BATCH, 8, seed=0), 2.0, 3.0)


def test_two_one_hot_classes_teach_a_ratio_and_no_more():
    """The floor of the loss is the entropy of targets whose classes are e to 1 in weight."""
    labels = jax.nn.one_hot(jnp.arange(4) % 2, 2)
    of_classes = jax.nn.softmax(labels @ labels.T, axis=1)
    np.testing.assert_allclose(of_classes[0, 0] / of_classes[0, 1], np.e, rtol=1e-6)
    entropy = -(of_classes * jnp.log(of_classes)).sum(axis=1).mean()

    def loss(scale):
        return soft_clip_loss(labels, labels, scale, target_scale=1.0, likeness=(labels, labels))

    # Of embeddings that are the labels, the floor is reached where the temperature is 1.
    np.testing.assert_allclose(loss(0.0), entropy, rtol=1e-6)
    assert all(loss(scale) > entropy for scale in (-2.0, -0.1, 0.1, 4.0))
    assert loss(7.0) > 100 * entropy  # classes that are wholly told apart are what it punishes
