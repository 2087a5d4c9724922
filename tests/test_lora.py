"""LoRA adapters: what the model computes with them, what they leave as it is, what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict

from configs import base
from lumbarclip_jax import sharding
from lumbarclip_jax.models import build_model
from lumbarclip_jax.training import config_check, lora, optim, train_step
from lumbarclip_jax.training.encoding import learned
from lumbarclip_jax.training.model_state import merged
from lumbarclip_jax.training.parameter_paths import map_paths
from tests import test_trajectories

TOWERS = (".*_encoder/.*",)
STEPS = 2


def tiny_config(**settings) -> ConfigDict:
    config = test_trajectories.tiny_config("vit")
    config.model.lora.update(rank=2, **settings)
    config.optim.frozen = TOWERS
    return config


def made(config, devices: int = 1, fsdp: int = 1):
    """(model, mesh, initial state, optimizer)."""
    mesh = sharding.make_mesh(fsdp, jax.devices()[:devices])
    model = build_model(config.model, test_trajectories.VOCABULARY_SIZE)
    return model, mesh, *train_step.create_train_state(model, config, mesh)


@functools.cache
def trained(devices: int, fsdp: int, scan_layers: bool):
    """(config, parameters before, state after two steps, losses)."""
    config = tiny_config()
    config.model.scan_layers = scan_layers
    model, mesh, state, optimizer = made(config, devices, fsdp)
    before, losses = jax.device_get(state.params), []
    step = train_step.make_train_step(model, optimizer, config, mesh)
    for batch, _ in zip(test_trajectories.batches(), range(STEPS), strict=False):
        placed = sharding.shard_batch(batch, mesh)
        state, metrics = step(state, placed, 1e-2, jax.random.key(1), 0.0)
        losses.append(float(metrics["loss"]))
    return config, before, state, losses


def by_path(params) -> dict[str, np.ndarray]:
    found = {}
    map_paths(lambda path, leaf: found.update({path: np.asarray(leaf)}), params)
    return found


def test_training_starts_from_the_model_as_it_is():
    config, start, *_ = trained(1, 1, False)
    plain = tiny_config()
    plain.model.lora.rank = 0
    expected = by_path(made(plain)[2].params)
    used = by_path(lora.merged(config.model.lora, jax.tree.map(jnp.asarray, start)))
    assert used.keys() == expected.keys()
    for path, leaf in expected.items():
        assert used[path].tobytes() == leaf.tobytes(), path
    drawn = [
        start["lora"]["image_encoder"][layer]["mlp"]["fc2"]["kernel"]["a"]
        for layer in ("layer_0", "layer_1")
    ]
    np.testing.assert_allclose(np.std(drawn), 64**-0.5, rtol=0.2)  # fc2 is 64 x 32
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize("layers", [(), (3,)], ids=["one kernel", "stacked kernels"])
def test_value_and_gradient_are_those_of_the_sum_of_two_products(layers):
    shapes = {"kernel": (6, 5), "a": (6, 2), "b": (2, 5), "x": (4, 6)}
    rng = np.random.default_rng(0)
    kernel, a, b, x = (
        jnp.asarray(rng.normal(size=(*layers, *s)), jnp.float32) for s in shapes.values()
    )
    config = ConfigDict({"model": {"lora": {"rank": 2, "alpha": 3.0}}, "optim": {"frozen": ()}})

    def by_merging(kernel, a, b, x):
        params = {"fc": {"kernel": kernel}, "lora": {"fc": {"kernel": {"a": a, "b": b}}}}
        return jnp.sin(x @ learned(config, params)["fc"]["kernel"])

    def apart(kernel, a, b, x):
        return jnp.sin(x @ kernel + 3.0 / 2 * ((x @ a) @ b))

    numbers = []
    for function in (by_merging, apart):
        value, pull_back = jax.vjp(function, kernel, a, b, x)
        numbers.append((value, *pull_back(jnp.cos(value))))
    (value, by_kernel, *ours), (expected, _, *theirs) = numbers
    np.testing.assert_allclose(value, expected, atol=1e-5)
    assert not np.asarray(by_kernel).any()
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_adapters_and_what_is_not_frozen_move_and_nothing_else(scan_layers):
    _, before, state, _ = trained(1, 1, scan_layers)
    before, after = by_path(before), by_path(state.params)
    still = {path for path in before if before[path].tobytes() == after[path].tobytes()}
    assert still == {path for path in before if path.split("/")[0].endswith("_encoder")}
    assert sum(path.startswith("lora/") for path in before) == 2 * 6 * (2 if scan_layers else 3)


def test_the_optimizer_keeps_moments_of_what_is_trained_alone():
    config, _, state, _ = trained(1, 1, False)
    is_trained = by_path(optim.trainable(config.optim, state.params))
    of_trained = [leaf.size for path, leaf in by_path(state.params).items() if is_trained[path]]
    moments = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim)
    scalars = 2  # moments of the temperature, which have no axis
    assert moments + scalars == 2 * sum(of_trained)


def test_kernels_with_adapters_are_frozen_and_what_lies_beside_them_is_not():
    config = tiny_config(paths=("text_encoder/.*/query/kernel",))
    config.optim.frozen = ()
    model = build_model(config.model, test_trajectories.VOCABULARY_SIZE)
    state, _ = train_step.abstract_train_state(model, config, sharding.make_mesh())
    is_trained = by_path(optim.trainable(config.optim, state.params))
    frozen = {path for path, trained in is_trained.items() if not trained}
    assert frozen == {"text_encoder/layer_0/attention/query/kernel"}


def test_eight_devices_with_split_parameters_follow_one():
    *_, one, losses = trained(1, 1, False)
    *_, eight, others = trained(8, 2, False)
    np.testing.assert_allclose(others, losses, rtol=1e-5)
    kernel = eight.params["lora"]["text_encoder"]["layer_0"]["mlp"]["fc1"]["kernel"]
    assert kernel["a"].sharding.spec == PartitionSpec("fsdp", None)
    assert kernel["b"].sharding.spec == PartitionSpec(None, "fsdp")
    # Outside a program, too, the sum is where its kernel is.
    ours, theirs = (by_path(merged(state, tiny_config()).params) for state in (eight, one))
    for path, leaf in theirs.items():
        np.testing.assert_allclose(ours[path], leaf, atol=1e-3, err_msg=path)
    used = merged(eight, tiny_config()).params
    jax.tree.map(
        lambda leaf, own: np.testing.assert_equal(leaf.sharding, own.sharding),
        used,
        lora.without_adapters(eight.params),
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"paths": ("txt_encoder/.*",)},
            r"model\.lora\.paths: the pattern 'txt_enc.* no parameter",
        ),
        ({"paths": (".*/attention/.*",)}, r"attention/key/bias, which is no kernel of a linear"),
        ({"paths": ("image_encoder/norm/scale",)}, "norm/scale, which is no kernel of a linear"),
        ({"paths": (".*_encoder/.*kernel",)}, "patch_embed/kernel, which is no kernel of a lin"),
        ({"paths": (".*/word_embedding/embedding",)}, "embedding, which is no kernel of a linear"),
        (
            {"rank": 33},
            r"model\.lora\.rank=33 is more than the 32 of image_encoder/layer_0/.*lower",
        ),
    ],
)
def test_what_no_adapter_can_sit_on_is_refused(settings, told):
    config = tiny_config()
    config.model.lora.update(settings)
    model = build_model(config.model, test_trajectories.VOCABULARY_SIZE)
    with pytest.raises(ValueError, match=told):
        train_step.abstract_train_state(model, config, sharding.make_mesh())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rank": -1}, r"model\.lora\.rank=-1 must be at least 0"),
        ({"rank": 4, "alpha": 0.0}, r"model\.lora\.alpha=0\.0 must be a number above 0"),
        ({"rank": 4, "paths": ()}, r"model\.lora\.rank=4 needs kernels .* set model\.lora\.paths"),
        ({"rank": 4, "paths": ("(",)}, r"the pattern '\(' is not a regular expression"),
    ],
)
def test_settings_that_cannot_run_are_named(settings, told):
    config = base.get_config()
    config.model.lora.update(settings)
    with pytest.raises(ValueError, match=told):
        config_check.validated(config)


PARAMS = {
    "text_encoder": {"fc": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}},
    "lora": {"text_encoder": {"fc": {"kernel": {"a": jnp.ones((2, 1)), "b": jnp.ones((1, 2))}}}},
}


def test_an_encoder_without_adapters_is_named():
    params = PARAMS | {"image_encoder": {"conv": {"kernel": jnp.ones((3, 3, 1, 2))}}}
    assert lora.counted(params) == "0 kernels of image_encoder, 1 kernels of text_encoder"
    assert lora.counted(lora.without_adapters(params)) == ""


@pytest.mark.parametrize(
    ("patterns", "trains"),
    [
        ((".*text_encoder/.*",), {"a", "b"}),
        ((".*",), {"a", "b"}),
        (("lora/text_encoder/.*",), {"bias"}),
        (("lora/.*/a",), {"b", "bias"}),
    ],
)
def test_a_pattern_means_adapters_only_if_it_begins_with_lora(patterns, trains):
    config = base.get_config().optim
    config.frozen = patterns
    config.lr_multipliers = tuple((pattern, 0.5) for pattern in patterns)
    is_trained = by_path(optim.trainable(config, PARAMS))
    assert {path.rpartition("/")[2] for path, trained in is_trained.items() if trained} == trains
    slower = {path for path, by in by_path(optim.lr_multipliers(config, PARAMS)).items() if by < 1}
    assert {path.startswith("lora/") for path in slower} == {patterns[0].startswith("lora/")}


def test_adapters_decay_as_kernels_do():
    config = base.get_config().optim
    config.weight_decay = 0.5
    optimizer = optim.make_optimizer(config, PARAMS)
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = optimizer.update(zeros, optimizer.init(PARAMS), PARAMS)
    updates = by_path(updates)
    for name in "ab":
        assert (updates[f"lora/text_encoder/fc/kernel/{name}"] == 0.5).all()
    assert not updates["text_encoder/fc/bias"].any()
    assert not updates["text_encoder/fc/kernel"].any()  # it is frozen
