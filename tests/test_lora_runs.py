"""A run with LoRA adapters: whoever opens it, goes on with it or starts from it sees their sum."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import linen as nn

import lumbarclip_jax
from lumbarclip_jax import loop, train
from lumbarclip_jax.export import export
from lumbarclip_jax.finetune import initial_encoder
from lumbarclip_jax.inference import Model
from lumbarclip_jax.models import block_sequence, build_model
from lumbarclip_jax.models.layers import Dense
from lumbarclip_jax.models.stacking import unstack_layers
from lumbarclip_jax.run_folder import start
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.training import lora, train_step
from lumbarclip_jax.training.model_state import ModelState, merged
from tests import test_train, test_trajectories, tiny_runs

pytestmark = pytest.mark.usefixtures("plain_page")

SLICES = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
TEXT = "disc protrusion"


def adapted_config(dataset):
    config = test_train.tiny_config(dataset)
    config.model.image_encoder.sizes = test_trajectories.CONFIGS["vit"][1]
    config.model.text_encoder.sizes = test_trajectories.BERT
    config.model.lora.update(rank=3, alpha=6.0)
    config.optim.update(frozen=(".*_encoder/.*",), lr=1e-2, ema_decay=0.5)
    return config


@pytest.fixture(scope="module")
def finished(plain_page, tiny_dataset, tmp_path_factory):
    """A run that was never stopped, and the metrics it returned."""
    workdir = tmp_path_factory.mktemp("adapted")
    return workdir, train.train_and_evaluate(adapted_config(tiny_dataset), workdir)


@pytest.fixture(scope="module")
def opened(finished):
    return lumbarclip_jax.load(finished[0])


@pytest.fixture(scope="module")
def saved(finished, opened):
    """The state that training would go on with."""
    run = opened.run
    abstract, _ = train_step.abstract_train_state(run.model, run.config, run.mesh)
    with Checkpointer(finished[0]) as checkpointer:
        return checkpointer.restore(abstract)[0]


def assert_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_a_run_is_opened_with_what_two_products_give(opened, saved, monkeypatch):
    params, scale = saved.averaged["params"], 6.0 / 3
    seen = set()

    def with_adapters(next_function, args, kwargs, context):
        out, adapters = next_function(*args, **kwargs), params["lora"]
        for name in context.module.path:
            adapters = adapters.get(name, {})
        if type(context.module) is Dense and "kernel" in adapters:
            seen.add(context.module.path)
            of = adapters["kernel"]
            out += scale * (args[0] @ of["a"]) @ of["b"]
        return out

    state = dataclasses.replace(opened.run.state, params=lora.without_adapters(params))
    plain = dataclasses.replace(opened.run, state=state)
    before = Model(plain).encode_text(TEXT)
    # Else layers that differ in their weights alone are the first one, with its adapters.
    monkeypatch.setattr(block_sequence, "traced_once", lambda step, module: step)
    with nn.intercept_methods(with_adapters):
        model = Model(plain)
        images, texts = model.encode_image(SLICES), model.encode_text(TEXT)
    assert len(seen) == 6 * (2 + 1)
    np.testing.assert_allclose(opened.encode_image(SLICES), images, atol=1e-5)
    np.testing.assert_allclose(opened.encode_text(TEXT), texts, atol=1e-5)
    assert np.abs(texts - before).max() > 1e-3


def test_its_export_is_the_same_model(finished, opened, tmp_path):
    export(finished[0], "safetensors", tmp_path / "exported")
    exported = lumbarclip_jax.load(tmp_path / "exported")
    assert "lora" not in exported.run.state.params
    np.testing.assert_array_equal(exported.encode_image(SLICES), opened.encode_image(SLICES))
    np.testing.assert_array_equal(exported.encode_text(TEXT), opened.encode_text(TEXT))


def test_stopped_it_continues_as_if_it_had_not(finished, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "Progress", tiny_runs.StoppedAfterThree)
    assert train.train_and_evaluate(adapted_config(tiny_dataset), tmp_path) == {}
    monkeypatch.undo()
    metrics = train.train_and_evaluate(adapted_config(tiny_dataset), tmp_path)
    assert test_train.training_rows(tmp_path) == test_train.training_rows(finished[0])
    np.testing.assert_equal(metrics, finished[1])


def test_it_goes_on_in_stacked_layers(finished, opened):
    config = opened.run.config.copy_and_resolve_references()
    config.model.scan_layers = True
    model = build_model(config.model, opened.run.tokenizer.vocab_size)
    abstract, _ = train_step.abstract_train_state(model, config, opened.run.mesh)
    with Checkpointer(finished[0]) as checkpointer:
        state, _ = checkpointer.restore(abstract)
    assert "layers" in state.params["lora"]["image_encoder"]
    averaged = ModelState(state.step, state.averaged["params"], {})
    stacked = unstack_layers(jax.device_get(merged(averaged, config).params))
    assert_equal(stacked, opened.run.state.params)


def test_another_run_starts_at_the_sum_with_adapters_of_its_own(finished, opened, tiny_dataset):
    config = adapted_config(tiny_dataset)
    config.model.pretrained, config.model.lora.rank = str(finished[0]), 2
    config, found = start.adopt(config)
    assert config.model.lora.rank == 2
    state, _ = train_step.create_train_state(opened.run.model, config, opened.run.mesh)
    state = train_step.replace_variables(state, found.variables(opened.run.model))
    assert_equal(lora.without_adapters(state.params), opened.run.state.params)
    assert_equal(lora.merged(config.model.lora, state.params), opened.run.state.params)
    kernel = state.params["lora"]["text_encoder"]["layer_0"]["mlp"]["fc1"]["kernel"]
    assert kernel["a"].shape == (32, 2)


def test_a_classifier_starts_from_the_sum(opened, saved):
    brought = initial_encoder.from_run(opened.run).variables["params"]
    settings = opened.run.config.model.lora
    expected = lora.merged(settings, saved.averaged["params"])["image_encoder"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), brought, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("evaluate", ("--resamples=100", "--evaluators=retrieval", "--out={}/more.json")),
        (
            "finetune",
            (
                *("--task=pfirrmann_ge_3", "--recipe.epochs=1", "--resamples=100"),
                *("--recipe.data.global_batch_size=8", "--out={}/classifier"),
            ),
        ),
        ("export", ("--format=hf", "--out={}/hf")),
        ("export", ("--format=stablehlo", "--out={}/stablehlo")),
    ],
    ids=["evaluate", "finetune", "hf", "stablehlo"],
)
def test_commands_take_it_like_any_other(finished, tmp_path, command, options):
    arguments = [f"--workdir={finished[0]}", *(option.format(tmp_path) for option in options)]
    result = subprocess.run(
        [sys.executable, "-m", f"lumbarclip_jax.{command}", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
