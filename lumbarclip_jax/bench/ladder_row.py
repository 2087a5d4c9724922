"""Measures a ladder: its rungs in turn, and the figures that follow from them."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import lumbarclip_jax
from data_prep.records.manifest import VOCABULARY
from lumbarclip_jax import sharding
from lumbarclip_jax.bench import timing
from lumbarclip_jax.bench.chips import BF16_FLOPS_PER_S
from lumbarclip_jax.bench.flops import step_flops, text_forward, views_of
from lumbarclip_jax.bench.ladder_rungs import Batch, build_rungs, gemm_tasks
from lumbarclip_jax.bench.machine import describe
from lumbarclip_jax.bench.products import Product, model_products
from lumbarclip_jax.data import fields
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import config_check, train_step

STORED_SIZE_PX = 320  # side of the slices of a data set built with the defaults
BATCHES_IN_MEMORY = 4


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How often what is run; see the flags of the ladder."""

    warmup_steps: int
    steps: int
    repeats: int


def measure(config: ConfigDict, vocab_size: int, protocol: Protocol) -> dict:
    """Builds, warms up and times all rungs; returns their figures, ready for JSON.

    Without `config.data.dir` the batches are random, of full length, and nothing is read.

    Raises:
      ValueError: the config cannot be trained, or trains in another way than the rungs do.
    """
    machine = describe()
    config = config_check.validated(config)
    if config.optim.frozen or config.model.lora.rank or config.optim.accumulation_steps > 1:
        raise ValueError(
            "the ladder counts the arithmetic of a plain step: leave optim.frozen empty, "
            "model.lora.rank at 0 and optim.accumulation_steps at 1"
        )
    mesh = sharding.make_mesh(config.mesh.fsdp)
    batch_size = config.data.global_batch_size
    sharding.check_batch_size(batch_size, mesh, "data.global_batch_size")
    shards = None
    if config.data.dir:
        dataset = Dataset(config.data.dir, config.data.resplit)
        vocabulary = dataset.folder / VOCABULARY
        tokenizer = Tokenizer(vocabulary, config.data.max_tokens, config.data.lowercase)
        vocab_size = tokenizer.vocab_size

        def shards():
            return _read(config, dataset, tokenizer)

        source = shards()
        batches = [next(source) for _ in range(BATCHES_IN_MEMORY)]
    else:
        rng = np.random.default_rng(config.seed)
        rows = batch_size // jax.process_count()
        batches = [_random_batch(rng, config, rows, vocab_size) for _ in range(BATCHES_IN_MEMORY)]

    rungs = build_rungs(config, mesh, vocab_size, batches, shards)
    products = model_products(config, batch_size // mesh.size)
    gemms = gemm_tasks(products, train_step.compute_dtype(config))
    tasks: dict[Any, Callable[[int], None]] = {**gemms, **rungs.tasks}
    for task in tasks.values():
        task(protocol.warmup_steps)
    times = timing.interleaved(tasks, protocol.steps, protocol.repeats)

    device = jax.devices()[0]
    rates = {
        "measured": gemm_rate(products, {product: times[product].median_s for product in gemms}),
        "published": BF16_FLOPS_PER_S.get(device.device_kind),
    }
    tokens = token_counts(batches, config.data.max_tokens)
    flops = flops_of_rungs(config, batch_size, tokens["useful_per_text"])
    return {
        "config": config.name,
        "global_batch_size": batch_size,
        "image_size_px": config.data.image_size_px,
        "max_tokens": config.data.max_tokens,
        "vocab_size": vocab_size,
        "dtype": train_step.compute_dtype(config).name,
        "data": "shards" if shards else "random",
        "device": device.device_kind,
        "devices": mesh.size,
        "machine": machine,
        "protocol": dataclasses.asdict(protocol),
        "versions": {"lumbarclip_jax": lumbarclip_jax.__version__, "jax": jax.__version__},
        "tokens": tokens,
        "flops_per_s_a_device": rates,
        "products": [
            dataclasses.asdict(product)
            | {"a_forward_pass": count, "three_s": times[product].median_s}
            for product, count in products.items()
        ],
        "rungs": {
            name: figures(
                times[name], batch_size, mesh.size, rates, flops["padded"], flops["useful"], name
            )
            | {"compile_s": rungs.compile_s.get(name), "peak_bytes": rungs.peak_bytes.get(name)}
            for name in rungs.tasks
        },
        "input_efficiency": (times["loss"].median_s / times["shards"].median_s if shards else None),
    }


def _read(config: ConfigDict, dataset: Dataset, tokenizer: Tokenizer):
    return train_iterator(
        dataset,
        tokenizer,
        fields=Objective(config.objective).fields,
        # All steps of a ladder are of one shape.
        **(pipeline_options(config) | {"token_buckets": ()}),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _random_batch(
    rng: np.random.Generator, config: ConfigDict, rows: int, vocab_size: int
) -> Batch:
    batch = {}
    for field in Objective(config.objective).fields:
        shape, dtype = fields.shape(field, STORED_SIZE_PX, config.data.max_tokens, views_of(config))
        high = {"images": 256, "input_ids": vocab_size, "report_group": rows}.get(field, 2)
        batch[field] = rng.integers(high, size=(rows, *shape)).astype(dtype)
    batch["attention_mask"] = np.ones_like(batch["attention_mask"])
    return batch


def gemm_rate(products: Counter[Product], three_s: dict[Product, float]) -> float:
    """FLOP/s of a device that does nothing but the products, as often as the model does them."""
    flops = sum(3 * product.flops * count for product, count in products.items())
    return flops / sum(three_s[product] * count for product, count in products.items())


def token_counts(batches: list[Batch], max_tokens: int) -> dict[str, float]:
    """Tokens of a text: those the encoder computes, and those that are no padding."""
    useful = np.mean([batch["attention_mask"].sum(axis=-1).mean() for batch in batches])
    return {"padded_per_text": max_tokens, "useful_per_text": float(useful)}


def flops_of_rungs(config: ConfigDict, batch: int, useful_tokens: float) -> dict[str, float]:
    """FLOPs of a step with and without padding; those of attention at the mean length."""
    padded = step_flops(config, batch).model
    text = config.model.text_encoder
    saved = (
        text_forward(text, config.data.max_tokens).total - text_forward(text, useful_tokens).total
    )
    return {"padded": padded, "useful": padded - 3 * batch * saved}


def figures(times, batch, devices, rates, padded_flops, useful_flops, name) -> dict:
    """The figures of a rung. Utilisation is that of the model's arithmetic, never of more."""
    share = 1 / 3 if name == "forward" else 1.0

    def utilisation(flops: float) -> dict[str, float | None]:
        return {
            peak: rate and share * flops / devices / times.median_s / rate
            for peak, rate in rates.items()
        }

    return dataclasses.asdict(times) | {
        "pairs_per_s": batch / times.median_s,
        "padded_mfu": utilisation(padded_flops),
        "useful_mfu": utilisation(useful_flops),
    }
