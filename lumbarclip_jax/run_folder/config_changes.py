"""What a changed field makes of a run that goes on: the same run, or another one."""

import json
import logging
import pathlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

from lumbarclip_jax import objectives
from lumbarclip_jax.data import content
from lumbarclip_jax.objectives.earlier import upgraded

log = logging.getLogger(__name__)

# How a run is computed, watched, measured and kept, and how fast it learns: it stays the run that
# it was. Every other field of configs/base.py makes the model, its data, their order or its loss.
MAY_CHANGE = frozenset(
    {
        "name",
        "total_steps",
        "dtype",
        "log_every_steps",
        "data.check_shards",
        "data.read_threads",
        "data.read_processes",
        "data.prefetch_batches",
        "model.remat",
        "model.scan_layers",
        "objective.method",
        "optim.lr",
        "optim.final_lr_fraction",
        "optim.warmup_steps",
        "optim.weight_decay",
        "optim.b1",
        "optim.b2",
        "optim.clip_norm",
        "optim.max_skipped_steps",
        "optim.accumulation_steps",
        "optim.lr_multipliers",
        "mesh.fsdp",
        "eval.every_steps",
        "eval.on_the_way",
        "eval.at_the_end",
        "eval.choose_by",
        "eval.patience",
        "eval.averaged",
        "eval.batch_size",
        "eval.bootstrap_resamples",
        "eval.final_split",
        "checkpoint.every_steps",
        "checkpoint.keep",
    }
)
# A data set is known by what it holds, see data/content.py, and not by where it lies.
PLACES = frozenset({"data.dir"})
# A checkpoint that a run started from may lie elsewhere too: the last part of its name counts.
STARTS = frozenset({"model.image_encoder.pretrained", "model.text_encoder.pretrained"})
# Fields that the first runs did not know, with the default that stands for them.
LATER = {
    "data.resplit": "",
    "data.lowercase": True,
    "data.token_buckets": [],
    "data.one_level_a_batch": True,
    "data.keep_sentence": 0.7,
    "model.image_encoder.pretrained": "",
    "model.image_encoder.sizes": None,
    "model.text_encoder.pretrained": "",
    "model.text_encoder.sizes": None,
    "optim.ema_decay": 0.0,
    "eval.averaged": True,
    "eval.choose_by": "",
    "eval.patience": 0,
}


class Change(NamedTuple):
    """A field with another value than before, both as JSON gives them back."""

    field: str
    was: object
    now: object

    @property
    def is_harmless(self) -> bool:
        return self.field in MAY_CHANGE

    def __str__(self) -> str:
        return f"{self.field}={self.was!r}, not {self.now!r}"


def check(
    workdir: pathlib.Path, before: Mapping, now: Mapping, step: int, *, finished: bool
) -> None:
    """Checks that a run stays the one that it was, and logs what else is new.

    Args:
      workdir: its folder.
      before: the config that it was trained with, to `step`.
      now: the config that it is to go on with.
      finished: it has nothing left to do, so that any change would be untrue of it.

    Raises:
      ValueError: it does not; the sentence names the fields with both values.
    """
    found = changes(before, now)
    if another := [change for change in found if finished or not change.is_harmless]:
        remedy = "set that, or choose another --workdir"
        if finished:
            # Of a run that was stopped early, its patience.
            remedy += "; a larger total_steps or eval.patience trains it further"
        raise ValueError(f"{workdir} was trained with {'; '.join(map(str, another))}: {remedy}")
    if step > now["total_steps"]:
        raise ValueError(
            f"{workdir} was trained to step {step}, beyond total_steps={now['total_steps']}: set "
            "that or more, or choose another --workdir"
        )
    if found:
        told = (f"{change.field}={change.now!r}, was {change.was!r}" for change in found)
        log.info("going on with %s", "; ".join(told))


def changes(before: Mapping, now: Mapping) -> list[Change]:
    """The fields that differ between two resolved configs, by name.

    A field that `before` does not know had its default. Of a term of the objective that one of
    them does not compute the weight alone counts.
    """
    before, now = with_defaults(before), with_defaults(now)
    computed = [objectives.computed(config.get("objective", {})) for config in (before, now)]
    both = computed[0].keys() & computed[1].keys()
    before, now = (_with_terms(config, both) for config in (before, now))
    found = [Change(*difference) for difference in content.differing(before, now, "")]
    return sorted(change for change in found if not _is_moved(change))


def with_defaults(config: Mapping) -> dict:
    """A config as JSON gives it back, with the fields that it was too early for."""
    whole: dict = upgraded(json.loads(json.dumps(config)))
    for field, default in LATER.items():
        *groups, name = field.split(".")
        group = whole
        for part in groups:
            group = group.setdefault(part, {})
        group.setdefault(name, default)
    return whole


def _with_terms(config: dict, names: Collection[str]) -> dict:
    """The config with the settings of these terms of its objective, and the weights of all."""
    weights = {name: {objectives.WEIGHT: 0.0} for name in objectives.TERMS}
    stated = {
        name: value
        if name in names or not objectives.is_term(value)
        else {objectives.WEIGHT: value.get(objectives.WEIGHT, 0.0)}
        for name, value in config.get("objective", {}).items()
    }
    return config | {"objective": weights | stated}


def _is_moved(change: Change) -> bool:
    if change.field in STARTS:
        return pathlib.PurePath(str(change.was)).name == pathlib.PurePath(str(change.now)).name
    return change.field in PLACES
