"""The ladder: its arithmetic by hand, its order, and that every rung runs. No times."""

import math
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest

from configs import resnet_linear, swin_linear, vit_linear
from lumbarclip_jax.bench import ladder_page, ladder_row, timing
from lumbarclip_jax.bench.flops import image_forward, step_flops, text_forward
from lumbarclip_jax.bench.ladder_rungs import gemm_tasks
from lumbarclip_jax.bench.products import Product, model_products
from tests import tiny_runs

RUNGS = ["forward", "backward", "optimizer", "loss", "augmentation", "memory", "shards"]


def total(products) -> float:
    return sum(product.flops * count for product, count in products.items())


@pytest.mark.parametrize(
    ("config", "attention"),
    [
        # depth x (weights and their sum) x 2 x tokens² x width
        (vit_linear.get_config(), 12 * 2 * 2 * 197**2 * 768),
        (resnet_linear.get_config(), 0),
        # depth x 2 x 2 x tokens x window² x width, of the four stages
        (
            swin_linear.get_config(),
            sum(
                depth * 2 * 2 * side**2 * 49 * width
                for depth, side, width in (
                    (2, 56, 96),
                    (2, 28, 192),
                    (6, 14, 384),
                    (2, 7, 768),
                )
            ),
        ),
    ],
)
def test_products_are_the_flops_less_attention(config, attention):
    text_attention = 12 * 2 * 2 * 128**2 * 768
    forward = image_forward(config.model.image_encoder, 224, 1).total
    forward += text_forward(config.model.text_encoder, 128).total
    found = total(model_products(config, batch=2))
    assert math.isclose(found, 2 * (forward - attention - text_attention), rel_tol=1e-12)


def test_the_products_of_a_vit_by_hand():
    config = vit_linear.get_config("quick")
    config.model.text_encoder.variant = "mini"
    # 8 x 8 patches of 8 px and a class token; width 128, 4 layers; BERT-mini 256 wide, 4 layers
    assert model_products(config, batch=3) == Counter(
        {
            Product(3 * 64, 64, 128): 1,
            Product(3 * 65, 128, 128): 16,
            Product(3 * 65, 128, 512): 4,
            Product(3 * 65, 512, 128): 4,
            Product(3 * 64, 256, 256): 16,
            Product(3 * 64, 256, 1024): 4,
            Product(3 * 64, 1024, 256): 4,
        }
    )


def test_the_rate_weighs_shapes_by_how_often_they_occur():
    small, large = Product(10, 10, 10), Product(100, 10, 10)
    # 3 x (2000 x 2 + 20000) FLOPs in 2 x 1 s + 4 s
    assert ladder_row.gemm_rate(Counter({small: 2, large: 1}), {small: 1.0, large: 4.0}) == 12_000


def test_padding_is_not_useful():
    config = vit_linear.get_config()
    flops = ladder_row.flops_of_rungs(config, batch=4, useful_tokens=128.0)
    assert flops["useful"] == flops["padded"] == step_flops(config, 4).model
    flops = ladder_row.flops_of_rungs(config, batch=4, useful_tokens=64.0)
    # 12 layers, 2 FLOPs, 12 D² a token and 2 T² D of attention, 3 passes, 4 texts
    layer = 2 * (64 * 12 * 768**2 + 2 * (128**2 - 64**2) * 768)
    assert flops["padded"] - flops["useful"] == 4 * 3 * 12 * layer


def test_tokens_are_counted_by_the_mask():
    batches = [
        {"attention_mask": np.array([[1, 1, 0, 0], [1, 1, 1, 1]])},
        {"attention_mask": np.array([[1, 0, 0, 0], [1, 0, 0, 0]])},
    ]
    assert ladder_row.token_counts(batches, 4) == {"padded_per_text": 4, "useful_per_text": 2.0}


def test_utilisation_of_a_forward_pass_counts_a_third():
    times = timing.Times(0.5, 0.4, 0.6)
    rates = {"measured": 100.0, "published": None}
    row = ladder_row.figures(times, 8, 2, rates, 30.0, 15.0, "forward")
    assert row["pairs_per_s"] == 16.0
    assert row["padded_mfu"] == {"measured": 0.1, "published": None}
    row = ladder_row.figures(times, 8, 2, rates, 30.0, 15.0, "loss")
    assert row["padded_mfu"]["measured"] == pytest.approx(0.3)
    assert row["useful_mfu"]["measured"] == pytest.approx(0.15)


def test_tasks_are_timed_in_turn():
    seen = []
    tasks = {name: lambda calls, name=name: seen.append((name, calls)) for name in "ab"}
    times = timing.interleaved(tasks, calls=3, repeats=2)
    assert seen == [("a", 3), ("b", 3)] * 2
    assert 0 <= times["a"].min_s <= times["a"].median_s <= times["a"].max_s


def test_products_run():
    (task,) = gemm_tasks(Counter([Product(2, 3, 4)]), jnp.float32).values()
    task(1)


@pytest.fixture(scope="module")
def config(tiny_dataset):
    config = tiny_runs.tiny_config(tiny_dataset)
    config.data.global_batch_size = 8
    config.data.one_level_a_batch = False
    # One block a tower: five programs are compiled.
    blocks = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32}
    with config.unlocked():
        config.model.image_encoder.sizes = {**blocks, "patch_size": 16}
        config.model.text_encoder.sizes = blocks
    return config


@pytest.mark.slow
def test_every_rung_runs_and_is_on_the_page(config):
    row = {"command": "python -m it"} | ladder_row.measure(
        config, 100, ladder_row.Protocol(1, 1, 1)
    )
    assert list(row["rungs"]) == RUNGS
    assert all(rung["pairs_per_s"] > 0 for rung in row["rungs"].values())
    assert row["data"] == "shards"
    assert row["input_efficiency"] > 0
    assert row["flops_per_s_a_device"]["published"] is None  # of a CPU
    assert set(row["rungs"]["loss"]["padded_mfu"]) == {"measured", "published"}
    page = ladder_page.render(row)
    assert all(f"| {label} |" in page for label in ladder_page.LABELS.values())
    assert "not measured" not in page
    assert "\n    python -m it\n" in page

    for name in ("shards", "memory"):
        del row["rungs"][name]
    row["input_efficiency"] = None
    page = ladder_page.render(row)
    assert page.count("not measured") == 2
    assert "Input efficiency" not in page


def test_a_step_in_parts_is_refused(config):
    config = config.copy_and_resolve_references()
    config.optim.accumulation_steps = 2
    with pytest.raises(ValueError, match="accumulation_steps at 1"):
        ladder_row.measure(config, 100, ladder_row.Protocol(1, 1, 1))
