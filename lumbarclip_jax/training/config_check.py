"""Readable errors for configs that cannot run, before any device is touched."""

import itertools
import math
import re
from typing import Any

from ml_collections import ConfigDict

from lumbarclip_jax import losses
from lumbarclip_jax.data.resplit import parse_fold
from lumbarclip_jax.evaluators import EVALUATORS

DTYPES = ("auto", "float32", "bfloat16")


def validate(config: ConfigDict) -> None:
    """Checks ranges and choices of a run config.

    Raises:
      ValueError: one line for each broken rule, naming the field, its value and what is allowed.
    """
    broken = list(_broken_rules(config))
    if broken:
        raise ValueError("the config cannot run: " + "; ".join(broken))


def _broken_rules(config: ConfigDict):
    yield from _choice(config, "dtype", DTYPES)
    yield from _choice(config, "loss.name", losses.NAMES)
    yield from _choice(config, "loss.targets", losses.TARGETS)
    yield from _choice(config, "loss.method", losses.METHODS)
    for field in (
        "total_steps",
        "log_every_steps",
        "data.global_batch_size",
        "data.image_size_px",
        "data.crop_px",
        "data.read_threads",
        "data.prefetch_batches",
        "model.embed_dim",
        "optim.accumulation_steps",
        "optim.max_skipped_steps",
        "mesh.fsdp",
        "eval.batch_size",
        "eval.bootstrap_resamples",
        "checkpoint.every_steps",
        "checkpoint.keep",
    ):
        yield from _range(config, field, low=1)
    yield from _range(config, "data.read_processes", low=0)
    for field in ("optim.lr", "optim.weight_decay", "optim.clip_norm", "optim.warmup_steps"):
        yield from _range(config, field, low=0)
    for field in (
        "loss.hard_weight",
        "data.keep_sentence",
        "data.phantom_difficulty",
        "optim.final_lr_fraction",
    ):
        yield from _range(config, field, low=0, high=1)
    yield from _range(config, "loss.target_scale", low=0)
    yield from _range(config, "data.max_tokens", low=3)
    buckets = [3, *config.data.token_buckets, config.data.max_tokens]
    if config.data.token_buckets and any(a >= b for a, b in itertools.pairwise(buckets)):
        yield (
            f"data.token_buckets={tuple(config.data.token_buckets)} must rise from above 3 to "
            f"below data.max_tokens={config.data.max_tokens}"
        )
    yield from _range(config, "data.phantom_patients", low=20)
    yield from _range(config, "eval.every_steps", low=0)
    try:
        parse_fold(config.data.resplit)
    except ValueError as error:
        yield str(error)
    for field in ("eval.on_the_way", "eval.at_the_end"):
        for name in _get(config, field):
            if name not in EVALUATORS:
                yield f"{field} names {name!r}, which is not one of {', '.join(EVALUATORS)}"
    yield from _range(config, "eval.patience", low=0)
    chooser = config.eval.choose_by.removeprefix("-")
    if chooser and not (chooser.startswith("validation/") and config.eval.every_steps):
        yield (
            f"eval.choose_by={config.eval.choose_by!r} chooses among validations: name a metric "
            "that begins with 'validation/', and set eval.every_steps above 0"
        )
    if config.eval.patience and not chooser:
        yield f"eval.patience={config.eval.patience} counts from the best by eval.choose_by: set it"
    if config.loss.name == "siglip" and config.model.logit_bias_init is None:
        yield (
            "loss.name='siglip' has a learned bias, so model.logit_bias_init must be a number: the "
            "paper starts it at -10 and model.logit_scale_init at 2.3026, which is log 10"
        )
    for pattern in [*config.optim.frozen, *(row[0] for row in config.optim.lr_multipliers)]:
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"the pattern {pattern!r} is not a regular expression ({error})"


def _get(config: Any, field: str) -> Any:
    for name in field.split("."):
        config = config[name]
    return config


def _choice(config: ConfigDict, field: str, allowed: tuple):
    if (value := _get(config, field)) not in allowed:
        yield f"{field}={value!r} is not one of {', '.join(map(repr, allowed))}"


def _range(config: ConfigDict, field: str, low: float, high: float | None = None):
    value = _get(config, field)
    if not math.isfinite(value):
        yield f"{field}={value} must be a finite number"
    elif value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        yield f"{field}={value} must be {bound}"
