"""Terms over several views: CXR-CLIP's loss, and supervised contrast over all views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax import objectives, sharding
from lumbarclip_jax.losses.sup_con import sup_con_loss
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import accumulation, config_check

ROWS, EMBED, SCALE = 16, 6, 1.7


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def outputs(images=2, texts=2, seed=0) -> dict:
    rng = np.random.default_rng(seed)
    shapes = {"image_embeds": (ROWS, images, EMBED), "text_embeds": (ROWS, texts, EMBED)}
    return {
        name: jnp.asarray(unit(rng.normal(size=of)), jnp.float32) for name, of in shapes.items()
    }


def objective(method="auto", **weights) -> Objective:
    config = base.get_config().objective
    config.group_reports = False
    config.method = method
    for name, of in config.items():
        if objectives.is_term(of):
            of.weight = weights.get(name, 0.0)
    return Objective(config)


def value(weights: dict, said: dict, batch=None):
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    params = {"logit_scale": jnp.float32(SCALE)}
    return objective(**weights)(params, said, batch or {}, mesh)[0]


def cross_entropy(rows, keys, logit_scale):
    """H of CXR-CLIP: of every row against all keys, the one of its number being right."""
    logits = jnp.exp(logit_scale) * rows @ keys.T
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits))


def cxr_clip(params, said):
    """L_CLIP + 1.0 ICL + 0.5 TCL of two images and two texts, by its formulas."""
    (i1, i2), (t1, t2) = ([of[:, view] for view in range(2)] for of in said.values())

    def contrast(rows, keys):
        ways = (rows, keys), (keys, rows)
        return sum(cross_entropy(*way, params["logit_scale"]) for way in ways) / 2

    of_pairs = sum(contrast(image, text) for image in (i1, i2) for text in (t1, t2)) / 4
    return of_pairs + 1.0 * contrast(i1, i2) + 0.5 * contrast(t1, t2)


@pytest.fixture(scope="module")
def by_its_formulas():
    """The loss and its gradients, in float64."""
    with jax.enable_x64(True):
        exact = ({"logit_scale": SCALE}, {name: np.float64(of) for name, of in outputs().items()})
        return jax.device_get(jax.value_and_grad(cxr_clip, (0, 1))(*exact))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    ("method", "devices", "fsdp"),
    [("dense", 1, 1), *((method, 8, fsdp) for method in ("gather", "ring") for fsdp in (1, 2))],
)
def test_the_three_terms_are_the_loss_of_cxr_clip(method, devices, fsdp, parts, by_its_formulas):
    whole = objective(method, clip=1.0, icl=1.0, tcl=0.5)
    mesh = sharding.make_mesh(fsdp, jax.devices()[:devices])

    def encode(params, batch_stats, batch, key):
        del key
        # What is differentiated by is the same in every part: each takes its rows of it.
        return {name: jnp.take(params[name], batch["row"], axis=0) for name in said}, batch_stats

    def loss(params, outputs, batch):
        return whole(params, outputs, batch, mesh)

    said = outputs()
    params = said | {"logit_scale": jnp.float32(SCALE)}
    gradient = accumulation.value_and_grad(encode, loss, parts, mesh)
    rows = sharding.shard_batch({"row": np.arange(ROWS)}, mesh)
    (found, _), by = jax.jit(gradient)(params, {}, rows, jax.random.key(0))
    expected, (by_scale, by_outputs) = by_its_formulas
    assert float(found) == pytest.approx(expected, rel=1e-6)
    for name, of in (by_scale | by_outputs).items():
        np.testing.assert_allclose(by[name], of, rtol=1e-6, atol=1e-6)


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
    labels, said = jnp.array([0, 1, -1, 1] * 4), outputs(1, 1)
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
