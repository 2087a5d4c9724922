"""The terms of an objective: their sum, their weights, and every term in every form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax import objectives, sharding
from lumbarclip_jax.data.fields import IMAGES, TOKENS
from lumbarclip_jax.losses import forms
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import DENSE_ROWS, Objective, weighted_mean
from lumbarclip_jax.objectives.term import MADE_OF, RowTerm, Term
from lumbarclip_jax.training import accumulation, earlier, train_step
from tests import annotations, test_accumulation

ROWS, EMBED = 64, 8
BLOCK = 5  # which divides the rows of no device: every walk over blocks has an uneven tail
PARAMS = {"logit_scale": jnp.float32(1.5), "logit_bias": jnp.float32(-2.0)}
# Of 1, 2, 3 and 5 rows, which lie on different devices and in different parts.
GROUPS = np.where(np.arange(ROWS) % 7 < 4, np.arange(ROWS), np.arange(ROWS) % 5).astype(np.int32)
# On all devices the dense form is partitioned by the compiler.
FORMS = [
    pytest.param(form, id=" ".join(map(str, form)))
    for form in [
        ("blockwise", 1, 1),
        ("dense", 2, 1),
        ("gather", 2, 1),
        ("ring", 2, 1),
        ("gather", 8, 1),
        ("ring", 8, 1),
        ("gather", 8, 2),
        ("ring", 8, 2),
    ]
]


def only(name: str, **settings):
    """`config.objective` of one term."""
    config = base.get_config().objective
    for term, of in config.items():
        if objectives.is_term(of):
            of.weight = float(term == name)
    config.update(settings)
    return config


def mesh_of(devices: int, fsdp: int):
    return sharding.make_mesh(fsdp, jax.devices()[:devices])


def field(name: str) -> np.ndarray:
    assert name == "report_group", f"a value for {name} is missing here"
    return GROUPS


def comparing_terms() -> list[str]:
    return [name for name in objectives.TERMS if not issubclass(term_class(name), RowTerm)]


def term_class(name: str) -> type[Term]:
    return objectives.term_class(name)


def inputs(objective: Objective) -> tuple[dict, dict]:
    """What there is to differentiate by, weights of a linear layer, and the batch."""
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=(EMBED, EMBED)) for name in objective.outputs}
    images, texts = np.max([each.term.least_views for each in objective.terms], axis=0)
    views = {name: images if name.startswith("image") else texts for name in objective.outputs}
    batch = {name: rng.normal(size=(ROWS, count, EMBED)) for name, count in views.items()}
    fields = [name for name in objective.fields if name not in (IMAGES, *TOKENS)]
    as_float = functools.partial(jax.tree.map, lambda leaf: leaf.astype(np.float32))
    return as_float(params), as_float(batch) | {name: field(name) for name in fields}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for exchange in ("OneDevice", "Gather", "Ring"):
        made = getattr(forms, exchange)

        def smaller(block_size, *mesh, made=made):
            return made(min(block_size, BLOCK), *mesh)

        monkeypatch.setattr(forms, exchange, smaller)


@functools.cache
def result(name: str, form: tuple, grouped: bool, parts: int):
    """((loss, terms), gradient by parameters) of one term, through a linear layer an output."""
    method, devices, fsdp = form
    config, mesh = only(name, method=method, group_reports=grouped), mesh_of(devices, fsdp)
    objective = Objective(config)
    weights, batch = inputs(objective)
    params = PARAMS | {"layers": weights}

    def encode(params, batch_stats, batch, key):
        del key

        def unit(x):
            return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

        layers = params["layers"].items()
        said = {output: unit(batch[output] @ kernel) for output, kernel in layers}
        return objective.rows(said, batch), batch_stats

    def loss(params, outputs, batch):
        return objective(params, outputs, batch, mesh)

    gradient = accumulation.value_and_grad(encode, loss, parts, mesh)
    placed = sharding.shard_batch(batch, mesh)
    (value, (terms, _)), grads = jax.jit(gradient)(params, {}, placed, jax.random.key(0))
    return jax.device_get(((value, terms), grads))


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "grouped"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", comparing_terms())
def test_every_term_is_what_its_dense_form_on_one_device_says(name, form, grouped, parts):
    if not term_class(name).is_streamed:
        form = ("dense", *form[1:])
    expected = result(name, ("dense", 1, 1), grouped, 1)
    found = result(name, form, grouped, parts)
    np.testing.assert_allclose(found[0][0], expected[0][0], rtol=1e-5)

    def compare(leaf, other):
        np.testing.assert_allclose(leaf, other, rtol=0, atol=1e-5 * max(1.0, np.abs(other).max()))

    jax.tree.map(compare, found[1], expected[1])
    for scalar in PARAMS:
        is_learned = scalar in term_class(name).learned
        assert (np.abs(found[1][scalar]) > 1e-4) == is_learned


@pytest.mark.parametrize("name", comparing_terms())
def test_groups_matter_to_every_term_that_reads_them(name):
    alone, grouped = (result(name, ("dense", 1, 1), which, 1)[0][0] for which in (False, True))
    assert ("report_group" in Objective(only(name)).fields) == (abs(alone - grouped) > 1e-3)


def test_the_fields_of_every_term_stand_in_the_base_config():
    config = base.get_config().objective
    for name in comparing_terms():
        stated = {*config[name]} - {objectives.WEIGHT, objectives.SCHEDULE}
        shared = {"method", "group_reports"}
        assert (
            stated | shared
            >= {field.name for field in dataclasses.fields(term_class(name))}
            >= stated
        )


def values(config, progress=0.0):
    objective = Objective(config)
    rng = np.random.default_rng(1)
    outputs = {name: jnp.asarray(rng.normal(size=(6, 1, EMBED)), jnp.float32) for name in MADE_OF}
    batch = {"report_group": jnp.array([0, 1, 2, 3, 0, 5])}
    return objective(PARAMS, outputs, batch, mesh_of(1, 1), progress)


def test_the_loss_is_the_weighted_sum_of_the_terms():
    config = base.get_config().objective
    config.soft_clip.weight, config.siglip.weight = 0.5, 2.0
    total, terms = values(config)
    assert set(terms) == {"soft_clip", "siglip"}
    assert float(total) == pytest.approx(0.5 * terms["soft_clip"] + 2.0 * terms["siglip"])
    for name in terms:
        assert float(values(only(name))[0]) == pytest.approx(float(terms[name]))


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.1, 0.25), (0.3, 0.75), (1, 1.0)])
def test_a_schedule_is_a_factor_that_is_linear_between_its_points(progress, factor):
    config = only("clip")
    config.clip.update(weight=3.0, schedule=((0.0, 0.0), (0.2, 0.5), (0.4, 1.0)))
    total, terms = values(config, progress)
    assert float(total) == pytest.approx(3.0 * factor * float(terms["clip"]))


def test_a_term_of_weight_0_is_not_computed(monkeypatch):
    monkeypatch.setitem(objectives.TERMS, "siglip", "no.such.module:SigLip")
    assert [each.name for each in Objective(base.get_config().objective).terms] == ["soft_clip"]


def test_an_objective_names_what_it_reads():
    objective = Objective(only("clip"))
    assert objective.outputs == ("image_embeds", "text_embeds")
    assert objective.fields == ("images", "input_ids", "attention_mask", "report_group")
    assert "report_group" not in Objective(only("clip", group_reports=False)).fields


def test_a_term_of_images_alone_is_given_all_that_the_model_takes(monkeypatch):
    """The model has two towers: what nothing reads of the other is not computed by the step."""

    @dataclasses.dataclass(frozen=True)
    class Spread(Term):
        reads = ("image_embeds",)

        def __call__(self, params, outputs, batch, mesh):
            return jnp.mean(outputs["image_embeds"].sum(axis=0) ** 2)

    monkeypatch.setitem(globals(), "Spread", Spread)
    monkeypatch.setitem(objectives.TERMS, "spread", f"{__name__}:Spread")
    config = test_accumulation.tiny_config()
    config.objective.soft_clip.weight = 0.0
    config.objective.spread = {"weight": 1.0}
    fields = Objective(config.objective).fields
    assert fields == ("images", "input_ids", "attention_mask")
    mesh, model = mesh_of(1, 1), build_model(config.model, test_accumulation.WORDS)
    state, _ = train_step.create_train_state(model, config, mesh)
    gradient = jax.jit(train_step.make_gradient(model, config, mesh))
    (_, (terms, _)), grads = gradient(state, test_accumulation.batch(), jax.random.key(0), 0.0)
    assert set(terms) == {"spread"}
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads["text_encoder"]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(grads["image_encoder"]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"soft_clip": {"weight": 0.0}}, "nothing is trained: set objective.soft_clip.weight or"),
        ({"soft_clip": {"weight": float("nan")}}, "soft_clip.weight=nan must be a finite number"),
        ({"clip": {"weight": 1.0, "hard_weight": 0.1}}, "clip.hard_weight: the term has no such"),
        ({"soft_clip": {"weight": 1.0, "hard_wieght": 0.1}}, "did you mean hard_weight?"),
        ({"sigclip": {"weight": 1.0}}, "objective.sigclip: there is no such term, only soft_clip,"),
        ({"soft_clip": {"schedule": [[0.2, 1.0], [0.1, 0]]}}, "soft_clip.schedule=.* must be poin"),
        ({"soft_clip": {"schedule": [0.2]}}, "soft_clip.schedule=.* must be points"),
        ({"soft_clip": {"schedule": [[0.0, -1.0]]}}, "soft_clip.schedule=.* must be points"),
        ({"metod": "dense"}, "objective.metod: there is no such setting or term, did you mean me"),
        ({"soft_clip": {"weight": "1"}}, "weight=1 must be a finite number"),
        ({"soft_clip": {"schedule": None}}, "schedule=None must be points"),
        ({"soft_clip": {"schedule": [["a", "b"]]}}, "must be points"),
        ({"labels": {"weight": 1.0, "tasks": "pfirrmann"}}, "tasks='pfirrmann' must be several"),
        ({"method": "dens"}, "objective.soft_clip.method='dens' is not one of 'auto'"),
    ],
)
def test_faults_of_an_objective_are_told(change, sentence):
    config = base.get_config().objective.to_dict()
    for name, value in change.items():
        config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
    with annotations.off(), pytest.raises(ValueError, match=sentence):
        Objective(config)


def test_a_term_without_a_streamed_form_has_a_largest_batch(monkeypatch):
    Objective(only("clip")).require_room(10 * DENSE_ROWS)
    monkeypatch.setattr(term_class("clip"), "is_streamed", False)
    Objective(only("clip")).require_room(DENSE_ROWS)
    with pytest.raises(ValueError, match=r"objective\.clip compares all pairs .* of 8192 rows"):
        Objective(only("clip")).require_room(DENSE_ROWS + 8)


def test_rows_of_weight_0_count_as_nothing():
    losses, weights = jnp.array([1.0, jnp.e, 3.0]), jnp.array([1.0, 0.0, 1.0])
    assert float(weighted_mean(losses, weights)) == 2.0
    assert float(weighted_mean(losses, jnp.zeros(3))) == 0.0
    both = jnp.stack([losses, losses], axis=1), jnp.stack([weights, jnp.zeros(3)], axis=1)
    assert float(weighted_mean(*both)) == 2.0  # the second question was asked of nobody


@pytest.mark.parametrize("name", ["soft_clip", "clip", "siglip"])
def test_configs_of_one_loss_are_upgraded(name):
    loss = {"name": name, "method": "ring", "target_scale": 3.0, "hard_weight": 0.5}
    config = {"seed": 1, "loss": loss}
    new = earlier.upgraded(config)
    assert config["loss"] is loss
    assert "loss" not in new
    (each,) = Objective(new["objective"]).terms
    assert (each.name, each.weight, each.term.method) == (name, 1.0, "ring")
    assert not each.term.group_reports  # which those runs did not know
    if name == "soft_clip":
        assert (each.term.target_scale, each.term.hard_weight) == (3.0, 0.5)
    assert earlier.upgraded(new) == new
