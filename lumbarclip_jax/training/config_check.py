"""Readable errors for configs that cannot run, before any device is touched."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from lumbarclip_jax.data.image_draws import ImageDraws
from lumbarclip_jax.data.label_prompts import Wordings
from lumbarclip_jax.data.resplit import parse_fold
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.data.text_draws import TextDraws
from lumbarclip_jax.evaluators import EVALUATORS, UNITS, unit_of
from lumbarclip_jax.training.earlier import upgraded

DTYPES = ("auto", "float32", "bfloat16")


def validated(config: ConfigDict) -> ConfigDict:
    """Checks ranges and choices of a run config, and returns it in the form of this version.

    Raises:
      ValueError: one line for each broken rule, naming the field, its value and what is allowed.
    """
    if "loss" in config:
        config = ConfigDict(upgraded(config.to_dict()))
    broken = list(_broken_rules(config))
    if broken:
        raise ValueError("the config cannot run: " + "; ".join(broken))
    return config


def _broken_rules(config: ConfigDict):
    yield from _choice(config, "dtype", DTYPES)
    yield from _objective(config)
    for field in (
        "total_steps",
        "log_every_steps",
        "data.global_batch_size",
        "data.image_size_px",
        "data.crop_px",
        "data.read_threads",
        "data.prefetch_batches",
        "data.image_views",
        "data.text_views",
        "model.embed_dim",
        "optim.accumulation_steps",
        "optim.max_skipped_steps",
        "mesh.fsdp",
        "eval.batch_size",
        "eval.bootstrap_resamples",
        "checkpoint.every_steps",
        "checkpoint.keep",
    ):
        yield from in_range(config, field, low=1)
    for field in ("data.read_processes", "model.feature_dim", "model.lora.rank"):
        yield from in_range(config, field, low=0)
    for field in ("optim.lr", "optim.weight_decay", "optim.clip_norm", "optim.warmup_steps"):
        yield from in_range(config, field, low=0)
    for field in (
        "data.keep_sentence",
        "data.prompts.share",
        "data.phantom_difficulty",
        "optim.final_lr_fraction",
        "optim.ema_decay",
    ):
        yield from in_range(config, field, low=0, high=1)
    yield from in_range(config, "data.max_tokens", low=3)
    yield from _data_sets(config)
    yield from _views(config)
    yield from _studies(config)
    buckets = [3, *config.data.token_buckets, config.data.max_tokens]
    if config.data.token_buckets and any(a >= b for a, b in itertools.pairwise(buckets)):
        yield (
            f"data.token_buckets={tuple(config.data.token_buckets)} must rise from above 3 to "
            f"below data.max_tokens={config.data.max_tokens}"
        )
    if config.data.token_buckets and config.model.text_encoder.pooling == "mean_with_padding":
        yield (
            f"data.token_buckets={tuple(config.data.token_buckets)} pads texts to several lengths, "
            "on which model.text_encoder.pooling='mean_with_padding' depends: set token_buckets=() "
            "or pooling='mean'"
        )
    yield from _augment(config)
    yield from in_range(config, "data.phantom_patients", low=20)
    yield from in_range(config, "eval.every_steps", low=0)
    try:
        parse_fold(config.data.resplit)
    except ValueError as error:
        yield str(error)
    for field in ("eval.on_the_way", "eval.at_the_end"):
        for name in _get(config, field):
            if name not in EVALUATORS:
                yield f"{field} names {name!r}, which is not one of {', '.join(EVALUATORS)}"
        if "zero_shot_features" in _get(config, field) and not config.model.feature_dim:
            yield (
                f"{field} names 'zero_shot_features', which compares features that both towers "
                "have in one width: set model.feature_dim, such as 512"
            )
        if "label_heads" in _get(config, field) and not _trains_labels(config):
            yield (
                f"{field} names 'label_heads', which measures the heads of objective.labels: give "
                "that a weight, and tasks"
            )
    yield from in_range(config, "eval.patience", low=0)
    chooser = config.eval.choose_by.removeprefix("-")
    if chooser and not (chooser.startswith("validation/") and config.eval.every_steps):
        yield (
            f"eval.choose_by={config.eval.choose_by!r} chooses among validations: name a metric "
            "that begins with 'validation/', and set eval.every_steps above 0"
        )
    if config.eval.patience and not chooser:
        yield f"eval.patience={config.eval.patience} counts from the best by eval.choose_by: set it"
    yield from _lora(config)
    multiplied = [row[0] for row in config.optim.lr_multipliers]
    for pattern in [*config.optim.frozen, *multiplied, *config.model.lora.paths]:
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"the pattern {pattern!r} is not a regular expression ({error})"


def _data_sets(config: ConfigDict):
    dirs = config.data.dirs
    if not dirs:
        return
    if not (
        isinstance(dirs, tuple | list)
        and all(isinstance(of, tuple | list) and len(of) == 2 for of in dirs)
        and all(isinstance(of[0], str) and isinstance(of[1], int | float) for of in dirs)
        and all(0 < of[1] < math.inf for of in dirs)
    ):
        yield (
            f"data.dirs={dirs} must be pairs of a folder and a number above 0, such as "
            "(('data/lumbar', 2.0), ('data/spider', 1.0))"
        )
    for field in ("data.dir", "data.resplit"):
        if _get(config, field):
            yield f"{field}={_get(config, field)!r} does not go with data.dirs: leave one out"


def _trains_labels(config: ConfigDict) -> bool:
    return bool(config.objective.get("labels", {}).get("weight", 0.0))


def _views(config: ConfigDict):
    if fault := ImageDraws.of(config.data).fault(config.data.level_prefix):
        yield fault
    if table := config.data.prompts.table:
        try:
            Wordings(table)
        except (ValueError, OSError) as error:
            yield f"data.prompts.table: {error}"
            return
    try:
        draws = TextDraws.of(config.data)
    except (ValueError, OSError) as error:
        yield f"data.perturb: {error}"
        return
    if config.data.prompts.tasks and config.data.token_buckets:
        yield (
            f"data.prompts.tasks={tuple(config.data.prompts.tasks)} draws texts of any length, and "
            "data.token_buckets knows those of reports: leave one of them out"
        )
    if fault := draws.fault(further=True):
        yield fault


def _studies(config: ConfigDict):
    from lumbarclip_jax.models.study_pool import POOLS  # here, as in `_objective`

    yield from _choice(config, "model.study_pooling", ("", *POOLS))
    yield from _choice(config, "eval.unit", UNITS)
    pooling, views = config.model.study_pooling, config.data.image_views
    if pooling and views < 2:
        yield (
            f"model.study_pooling={pooling!r} pools the images of a study, and data.image_views="
            f"{views} is one of them: set data.image_views to at least 2, and data.other_images"
        )
    if config.data.level_prefix and (pooling or unit_of(config) == "study"):
        named = f"model.study_pooling={pooling!r}" if pooling else "eval.unit='study'"
        yield (
            f"{named} takes the discs of a study together, and the texts of data.level_prefix=True "
            "begin with a single one: set data.level_prefix=False"
        )
    chooser = config.eval.choose_by.removeprefix("-")
    if chooser.startswith("validation/label_heads/") and unit_of(config) == "study":
        yield (
            f"eval.choose_by={config.eval.choose_by!r} is measured of images, and this run by "
            "study: set eval.unit='image', or choose by another metric"
        )


def _augment(config: ConfigDict):
    augment = config.data.augment
    yield from in_range(config, "data.augment.rotate_deg", low=0, high=180)
    for field in ("data.augment.brightness", "data.augment.contrast"):
        yield from in_range(config, field, low=0, high=1)
    if augment.scale_up is not None:
        yield from in_range(config, "data.augment.scale_up", low=0)


def _objective(config: ConfigDict):
    # Imported here, where flags are read: neither --help nor a typo in them should wait for JAX.
    from lumbarclip_jax.objectives.labels import Labels
    from lumbarclip_jax.objectives.objective import Objective

    try:
        objective = Objective(config.objective)
        objective.require_room(config.data.global_batch_size)
    except ValueError as error:
        yield str(error)
        return
    # Of tasks that are a data set's own this is seen once that is opened.
    if fault := ImageDraws.of(config.data).fault_of_fields(objective.fields, TASKS):
        yield fault
    for name, term, *_ in objective.terms:
        if isinstance(term, Labels) and term.how.mixes:
            yield (
                f"objective.{name}.strategy={term.strategy!r} blends images, whose texts no blend "
                "describes: choose another, or train a classifier with lumbarclip_jax.finetune"
            )
        for field, least in zip(("image_views", "text_views"), term.least_views, strict=True):
            if config.data[field] < least:
                yield (
                    f"objective.{name} compares views, and data.{field}={config.data[field]} are "
                    f"too few: set data.{field} to at least {least}"
                )
        if term.least_views[0] > 1 and config.model.study_pooling:
            yield (
                f"objective.{name} compares the images of a study, and model.study_pooling="
                f"{config.model.study_pooling!r} makes one of them: set "
                f"objective.{name}.weight=0, or study_pooling=''"
            )
        if "logit_bias" in term.learned and config.model.logit_bias_init is None:
            yield (
                f"objective.{name} has a learned bias, so model.logit_bias_init must be a number: "
                "SigLIP's paper starts it at -10 and model.logit_scale_init at 2.3026, which is "
                "log 10"
            )


def _lora(config: ConfigDict):
    settings = config.model.lora
    if not settings.rank:
        return
    if not 0 < settings.alpha < math.inf:
        yield f"model.lora.alpha={settings.alpha} must be a number above 0"
    if not settings.paths:
        yield f"model.lora.rank={settings.rank} needs kernels to sit on: set model.lora.paths"


def _get(config: Any, field: str) -> Any:
    for name in field.split("."):
        config = config[name]
    return config


def _choice(config: ConfigDict, field: str, allowed: tuple):
    if (value := _get(config, field)) not in allowed:
        yield f"{field}={value!r} is not one of {', '.join(map(repr, allowed))}"


def in_range(
    config: ConfigDict, field: str, low: float, high: float | None = None
) -> Iterator[str]:
    """The fault of a number of a config that is outside `low` to `high`, or none at all."""
    value = _get(config, field)
    if not math.isfinite(value):
        yield f"{field}={value} must be a finite number"
    elif value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        yield f"{field}={value} must be {bound}"
