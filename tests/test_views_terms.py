"""Terms over several views: CXR-CLIP's loss, and supervised contrast over all views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax import objectives, sharding
from lumbarclip_jax.losses.sup_con import sup_con_loss
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import config_check

ROWS, EMBED, SCALE = 12, 6, 1.7


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def outputs(images=2, texts=2, seed=0) -> dict:
    rng = np.random.default_rng(seed)
    shapes = {"image_embeds": (ROWS, images, EMBED), "text_embeds": (ROWS, texts, EMBED)}
    return {
        name: jnp.asarray(unit(rng.normal(size=of)), jnp.float32) for name, of in shapes.items()
    }


def objective(**weights) -> Objective:
    config = base.get_config().objective
    config.group_reports = False
    for name, of in config.items():
        if objectives.is_term(of):
            of.weight = weights.get(name, 0.0)
    return Objective(config)


def value(weights: dict, said: dict, batch=None):
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    params = {"logit_scale": jnp.float32(SCALE)}
    return objective(**weights)(params, said, batch or {}, mesh)[0]


def cross_entropy(rows, keys) -> float:
    """H of CXR-CLIP: of every row against all keys, the one of its number being right."""
    logits = np.exp(SCALE) * rows @ keys.T
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(-np.log(np.diagonal(shares)).mean())


def test_the_three_terms_are_the_loss_of_cxr_clip():
    """L_CLIP + 1.0 ICL + 0.5 TCL of two images and two texts, by its formulas in float64."""
    said = outputs()
    (i1, i2), (t1, t2) = (
        [np.asarray(of[:, view], np.float64) for view in range(2)] for of in said.values()
    )
    pairings = [(image, text) for image in (i1, i2) for text in (t1, t2)]
    of_images = np.mean([cross_entropy(image, text) for image, text in pairings])
    of_texts = np.mean([cross_entropy(text, image) for image, text in pairings])
    icl = (cross_entropy(i1, i2) + cross_entropy(i2, i1)) / 2
    tcl = (cross_entropy(t2, t1) + cross_entropy(t1, t2)) / 2
    expected = (of_images + of_texts) / 2 + 1.0 * icl + 0.5 * tcl
    found = value({"clip": 1.0, "icl": 1.0, "tcl": 0.5}, said)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_of_three_views_all_pairs_count():
    said = outputs(images=3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    views = [{**said, "image_embeds": said["image_embeds"][:, pair]} for pair in pairs]
    expected = np.mean([value({"icl": 1.0}, of) for of in views])
    assert float(value({"icl": 1.0}, said)) == pytest.approx(expected, rel=1e-6)


def test_supervised_contrast_takes_every_view_of_either_kind_as_a_row():
    said = outputs(images=2, texts=1)
    classes = jnp.repeat(jnp.arange(ROWS), 3)
    rows = np.concatenate([said["image_embeds"], said["text_embeds"]], axis=1).reshape(-1, EMBED)
    expected = sup_con_loss(jnp.asarray(rows), classes, 0.1)
    assert float(value({"sup_con": 1.0}, said)) == pytest.approx(float(expected), rel=1e-6)


def test_supervised_contrast_by_a_task_leaves_out_what_has_no_label():
    config = base.get_config().objective
    config.soft_clip.weight, config.sup_con.weight = 0.0, 1.0
    config.sup_con.task = "pfirrmann_ge_3"
    term = Objective(config)
    assert term.fields[-1] == "label/pfirrmann_ge_3"
    labels, said = jnp.array([0, 1, -1] * 4), outputs(1, 1)
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    known = {name: of[labels >= 0] for name, of in said.items()}
    found = term({}, said, {"label/pfirrmann_ge_3": labels}, mesh)[0]
    alone = term({}, known, {"label/pfirrmann_ge_3": labels[labels >= 0]}, mesh)[0]
    assert float(found) == pytest.approx(float(alone), rel=1e-6)


@pytest.mark.parametrize(("term", "field"), [("icl", "image_views"), ("tcl", "text_views")])
def test_a_term_that_compares_views_asks_for_two(term, field):
    config = base.get_config()
    config.objective[term].weight = 1.0
    with pytest.raises(ValueError, match=f"objective.{term} compares views, and data.{field}=1"):
        config_check.validated(config)
    config.data[field] = 2
    config_check.validated(config)


@pytest.mark.parametrize(
    ("weights", "images", "texts", "units"),
    [
        ({"clip": 1.0}, 2, 3, 12 * 6),
        ({"icl": 1.0}, 3, 1, 12 * 3),
        ({"tcl": 1.0}, 1, 2, 12),
        ({"sup_con": 1.0}, 2, 1, 8 * 9),
    ],
)
def test_the_loss_costs_its_comparisons(weights, images, texts, units):
    assert objective(**weights).flops(100, 32, (images, texts)) == units * 100**2 * 32
