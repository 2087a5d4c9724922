"""What docs/objectives.md shows is what happens."""

import dataclasses
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from lumbarclip_jax import objectives, sharding
from lumbarclip_jax.losses.similarity import similarity
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.objectives.term import Term, pairs
from tests import test_objectives

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "objectives.md").read_text()


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def with_the_example(monkeypatch):
    """The config of its own run file, with its file and its line in the registry."""
    _, _, example, line, settings = blocks()
    names = {"dataclasses": dataclasses, "jnp": jnp, "similarity": similarity}
    names |= {"Term": Term, "pairs": pairs, "__name__": __name__}
    exec(example, names)
    monkeypatch.setitem(globals(), "Margin", names["Margin"])
    ((name, place),) = eval(f"{{{line}}}").items()
    module, _, called = place.partition(":")
    assert module.rpartition(".")[0] == objectives.__name__
    monkeypatch.setitem(objectives.TERMS, name, f"{__name__}:{called}")
    config = base.get_config()
    exec(settings, {"config": config})
    return config


def test_the_first_example_of_the_page_runs():
    config = base.get_config()
    exec(blocks()[0], {"config": config})
    objective = Objective(config.objective)
    assert [(each.name, each.weight) for each in objective.terms] == [
        ("siglip", 0.5),
        ("soft_clip", 1.0),
    ]


def test_the_example_of_targets_by_labels_is_an_objective():
    config = base.get_config()
    exec(blocks()[1], {"config": config})
    assert "text/classes/pfirrmann" in Objective(config.objective).fields


def test_every_term_of_the_page_is_one():
    stated = dict(re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", PAGE, re.MULTILINE))
    assert set(stated) == set(objectives.TERMS)
    assert set(re.findall(r"`(\w+)`", stated["labels"])) == {"tasks", "strategy"}
    shared = {objectives.WEIGHT, objectives.SCHEDULE}
    for name, settings in base.get_config().objective.items():
        if objectives.is_term(settings):
            assert set(re.findall(r"`(\w+)`", stated[name])) == set(settings) - shared


def test_the_example_is_a_term_like_the_others(with_the_example):
    objective = Objective(with_the_example.objective)
    rng = np.random.default_rng(0)
    images, texts = jnp.asarray(rng.normal(size=(2, 6, 4)), jnp.float32)
    outputs = {"image_embeds": images[:, None], "text_embeds": texts[:, None]}
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    batch = {"report_group": jnp.arange(6)}
    total, terms = objective(test_objectives.PARAMS, outputs, batch, mesh)
    likeness = np.asarray(images) @ np.asarray(texts).T
    excess = [
        max(likeness[i, k] - likeness[i, i] + 0.3, 0.0) if i != k else 0.0
        for i in range(6)
        for k in range(6)
    ]
    np.testing.assert_allclose(terms["margin"], np.mean(excess), rtol=1e-5)
    np.testing.assert_allclose(total, 0.5 * terms["margin"] + terms["soft_clip"], rtol=1e-6)


@pytest.mark.parametrize("form", [("dense", 8, 2), ("dense", 2, 1)], ids=str)
@pytest.mark.parametrize("parts", [1, 2])
def test_the_example_holds_on_a_mesh_and_in_parts(with_the_example, monkeypatch, form, parts):
    monkeypatch.setattr(base, "get_config", lambda: with_the_example)
    expected = test_objectives.result("margin", ("dense", 1, 1), False, 1)
    found = test_objectives.result("margin", form, False, parts)
    np.testing.assert_allclose(found[0][0], expected[0][0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found[1], expected[1])


def test_the_example_has_a_largest_batch(with_the_example):
    with pytest.raises(ValueError, match=r"objective\.margin compares all pairs"):
        Objective(with_the_example.objective).require_room(10_000)
