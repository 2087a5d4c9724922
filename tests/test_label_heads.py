"""Heads for labels beside the contrast: what they are given, how they are trained and measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, multitask_retrieval
from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.evaluators.label_heads import LabelHeads
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.train import train_and_evaluate
from lumbarclip_jax.training import config_check, label_heads, train_step
from tests.tiny_runs import tiny_config

TASK = "disc_displacement"


def config_of(dataset, *, tasks=(TASK, "pfirrmann"), **labels):
    config = tiny_config(dataset)
    config.objective.soft_clip.weight = 0.0
    config.objective.clip.weight = 1.0
    config.objective.labels.update(weight=2.0, tasks=tasks, **labels)
    return config


def test_heads_are_those_of_the_tasks_of_the_objective(tiny_dataset):
    config = config_of(tiny_dataset)
    adopted = label_heads.adopt(config, TASKS)
    assert adopted.model.heads.tasks == ((TASK, 2), ("pfirrmann", 5))
    assert adopted.model.heads.cosine_scale is None
    assert not config.model.heads.tasks
    assert label_heads.adopt(base.get_config(), TASKS).model.heads.tasks == ()
    with pytest.raises(ValueError, match="there is no task disc_displacment"):
        label_heads.adopt(config_of(tiny_dataset, tasks=("disc_displacment",)), TASKS)


def test_a_strategy_on_cosines_has_heads_on_cosines(tiny_dataset):
    config = label_heads.adopt(config_of(tiny_dataset, strategy="ldam"), TASKS)
    assert config.model.heads.cosine_scale == 30.0


def test_classes_are_counted_on_what_is_trained_on(tiny_dataset):
    columns = Dataset(tiny_dataset).columns("train")
    objective = Objective(config_of(tiny_dataset).objective)
    counts = label_heads.counts(objective, columns, TASKS)
    labels = TASKS["pfirrmann"].labels(columns)
    assert counts["pfirrmann"].tolist() == [int((labels == grade).sum()) for grade in range(5)]


def test_the_step_gives_heads_and_encoder_the_gradient_of_their_labels(tiny_dataset):
    config = label_heads.adopt(config_of(tiny_dataset, tasks=(TASK,)), TASKS)
    config.objective.clip.weight = 0.0
    config.data.augment.update(noise=0.0, gamma=0.0, scale=0.0, translate=0.0)
    mesh = sharding.make_mesh(1, jax.devices()[:1])
    model = build_model(config.model, 20)
    state, _ = train_step.create_train_state(model, config, mesh)
    rng = np.random.default_rng(0)
    batch = {
        "images": jnp.asarray(rng.integers(255, size=(6, 2, 32, 32, 1)), jnp.uint8),
        "input_ids": jnp.ones((6, 1, 12), jnp.int32),
        "attention_mask": jnp.ones((6, 1, 12), jnp.int32),
        "level": jnp.eye(3)[jnp.arange(6) % 3],
        f"label/{TASK}": jnp.array([0, 1, -1, 1, 0, 1]),
    }
    gradient = jax.jit(train_step.make_gradient(model, config, mesh))
    (loss, (terms, _)), grads = gradient(state, batch, jax.random.key(0), 0.0)
    sizes = {
        name: max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(of))
        for name, of in grads.items()
    }
    assert min(sizes["image_encoder"], sizes["image_projection"], sizes[f"head_{TASK}"]) > 1e-6
    assert sizes["text_encoder"] == sizes["text_projection"] == 0.0
    # A new head says the same of both classes, up to the size of its first weights.
    assert float(loss) == pytest.approx(2 * float(terms["labels"]))
    assert 0.3 < float(terms["labels"]) < 1.2
    # The unlabelled row counts for nothing.
    others = {**batch, "images": batch["images"].at[2].set(0)}
    assert float(gradient(state, others, jax.random.key(0), 0.0)[0][0]) == pytest.approx(
        float(loss), rel=1e-6
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"strategy": "mixup_drw"}, "blends images, whose texts no blend describes"),
        ({"tasks": ()}, "names no task"),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny_dataset, change, sentence):
    config = config_of(tiny_dataset)
    config.objective.labels.update(change)
    with pytest.raises(ValueError, match=sentence):
        config_check.validated(config)


def test_heads_that_there_are_none_of_are_not_measured():
    config = base.get_config()
    config.eval.at_the_end = ("label_heads",)
    with pytest.raises(ValueError, match=r"'label_heads', which measures the heads of objective"):
        config_check.validated(config)
    with pytest.raises(ValueError, match="this model has none: train with"):
        LabelHeads(type("Embedder", (), {"heads": ()}), split="test")


def test_a_run_with_heads_is_trained_measured_and_opened_again(tiny_dataset, tmp_path):
    config = multitask_retrieval.get_config("quick")
    config.data.update(tiny_config(tiny_dataset).data.to_dict(), global_batch_size=8)
    config.model.embed_dim = 16
    config.total_steps, config.optim.warmup_steps = 4, 1
    config.eval.update(at_the_end=("label_heads",), batch_size=8, bootstrap_resamples=20)
    config.eval.every_steps = 0
    metrics = train_and_evaluate(config, tmp_path)
    name = f"test/label_heads/{TASK}"
    assert 0 <= metrics[f"{name}/auroc"] <= 1
    run = load_run(tmp_path)
    assert run.config.model.heads.tasks == ((TASK, 2),) or run.config.model.heads.tasks == [
        [TASK, 2]
    ]
    embedder = run.embedder(run.dataset())
    found, kept = LabelHeads(embedder, split="test", resamples=20).run(run.state)
    assert found[f"{name}/auroc"] == pytest.approx(metrics[f"{name}/auroc"])
    probabilities = kept.predictions[name].probabilities
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
