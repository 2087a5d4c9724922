"""Every run file loads, validates and describes a model that can be built; mistakes are named."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import pytest

from configs import authors_swin_t_linear, base, vit_linear
from lumbarclip_jax.models import build_model
from lumbarclip_jax.training import config_check
from tests import annotations

RUN_FILES = sorted(
    path
    for path in (pathlib.Path(__file__).parents[1] / "configs").glob("*.py")
    if path.stem != "base" and "def get_config(" in path.read_text()
)


def load(path: pathlib.Path, size: str):
    return importlib.import_module(f"configs.{path.stem}").get_config(size)


def parameter_counts(config, vocab_size: int) -> dict[str, int]:
    model = build_model(config.model, vocab_size, jnp.float32)
    side, tokens = config.data.image_size_px, config.data.max_tokens
    inputs = (jnp.zeros((1, side, side, 1)), *(2 * [jnp.ones((1, tokens), jnp.int32)]))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs))["params"]
    return {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in params.items()}


@pytest.mark.parametrize("size", ["full", "quick"])
@pytest.mark.parametrize("path", RUN_FILES, ids=lambda path: path.stem)
def test_run_files_describe_a_model(path, size):
    config = load(path, size)
    config_check.validated(config)
    assert config.name == path.stem + ("_quick" if size == "quick" else "")
    assert parameter_counts(config, vocab_size=1000)["logit_scale"] == 1
    assert len(path.read_text().splitlines()) <= 40


def test_full_size_counts_are_the_published_ones():
    counts = parameter_counts(vit_linear.get_config(), vocab_size=30_522)
    # ViT-B/16 at 224 px without its classifier, and BERT-base without its pooler.
    assert counts["image_encoder"] == 85_798_656
    assert counts["text_encoder"] == 109_482_240 - (768 * 768 + 768)
    assert counts["image_projection"] == 768 * 512 + 512


@pytest.mark.parametrize("encoder", ["resnet", "swin_t", "swin_b"])
def test_the_heads_after_the_authors_code_have_its_widths(encoder):
    width = {"resnet": 2048, "swin_t": 768, "swin_b": 1024}[encoder]
    linear, mlp = (
        parameter_counts(load(pathlib.Path(f"authors_{encoder}_{head}"), "full"), vocab_size=1000)
        for head in ("linear", "mlp")
    )
    assert linear["image_reduction"] == mlp["image_reduction"] == width * 512
    assert linear["text_reduction"] == mlp["text_reduction"] == 768 * 512
    last = 512 * 1024 + 1024
    assert linear["image_projection"] == last
    assert mlp["image_projection"] == 512 * 512 + 512 + last
    assert linear["text_projection"] == mlp["text_projection"] == last


def test_texts_pooled_with_their_padding_cannot_be_padded_to_several_lengths():
    config = authors_swin_t_linear.get_config()
    config_check.validated(config)
    config.data.token_buckets = (32,)
    with pytest.raises(ValueError, match=r"token_buckets=\(32,\) pads .*: set token_buckets=\(\)"):
        config_check.validated(config)


def test_zero_shot_by_features_needs_features_of_one_width():
    config = base.get_config()
    config.eval.at_the_end = ("zero_shot_features",)
    with pytest.raises(ValueError, match=r"eval\.at_the_end names .*: set model\.feature_dim"):
        config_check.validated(config)
    config.model.feature_dim = 512
    config_check.validated(config)


def test_an_unknown_size_is_named():
    with pytest.raises(ValueError, match="no :qick form"):
        vit_linear.get_config("qick")


def test_an_unknown_field_is_an_error():
    with pytest.raises(AttributeError, match='Did you mean "lr"'):
        base.get_config().optim.lrr = 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "float16"),
        ("total_steps", 0),
        ("data.global_batch_size", 0),
        ("data.max_tokens", 2),
        ("data.phantom_difficulty", 1.5),
        ("data.image_size_px", -1),
        ("data.augment.rotate_deg", -10.0),
        ("data.augment.brightness", 1.2),
        ("data.augment.contrast", -0.1),
        ("data.augment.scale_up", -0.2),
        ("model.feature_dim", -512),
        ("objective.method", "dens"),
        ("objective.soft_clip.weight", -0.5),
        ("objective.soft_clip.schedule", ((0.5, 1.0), (0.2, 0.0))),
        ("objective.soft_clip.targets", "rows"),
        ("objective.soft_clip.hard_weight", 1.01),
        ("objective.soft_clip.target_scale", -1.0),
        ("optim.lr", -1e-3),
        ("optim.accumulation_steps", 0),
        ("optim.frozen", ("text_encoder/(",)),
        ("mesh.fsdp", 0),
        ("checkpoint.keep", 0),
    ],
)
def test_values_that_cannot_run_are_named(field, value):
    config = base.get_config()
    config.update_from_flattened_dict({field: value})
    with annotations.off(), pytest.raises(ValueError, match="the config cannot run") as error:
        config_check.validated(config)
    assert str(value[0] if isinstance(value, tuple) else value) in str(error.value)


def test_every_broken_rule_is_reported_at_once():
    config = base.get_config()
    config.total_steps, config.dtype = 0, "float8"
    with pytest.raises(ValueError, match=r"dtype='float8'.*; total_steps=0"):
        config_check.validated(config)


def test_siglip_without_a_bias_is_told_where_to_start_it():
    config = base.get_config()
    config.objective.siglip.weight = 1.0
    with pytest.raises(ValueError, match=r"logit_bias_init must be a number.* -10 .*log 10"):
        config_check.validated(config)
    config.model.logit_bias_init = -10.0
    config_check.validated(config)
