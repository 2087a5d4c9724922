"""What a changed field makes of a run that goes on: the same run, or another one."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from lumbarclip_jax import objectives
from lumbarclip_jax.data import content
from lumbarclip_jax.training import earlier

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
        "eval.batch_size",
        "eval.bootstrap_resamples",
        "eval.final_split",
        "checkpoint.every_steps",
        "checkpoint.keep",
    }
)
# A data set is known by what it holds, see data/content.py, and not by where it lies.
PLACES = frozenset({"data.dir"})
DATA_SETS = "data.dirs"  # of these how often each is trained on, too
# A checkpoint that a run started from may lie elsewhere too: the last part of its name counts.
STARTS = frozenset(
    {"model.pretrained", "model.image_encoder.pretrained", "model.text_encoder.pretrained"}
)

SHARED = ""  # beside the names of terms


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
    before, now = earlier.upgraded(before), earlier.upgraded(now)
    of_terms = [_terms(config.pop("objective", {})) for config in (before, now)]
    for terms, others in (of_terms, of_terms[::-1]):
        for name in others.keys() - {SHARED}:
            both_on = all(_is_on(each.get(name)) for each in of_terms)
            weight = {objectives.WEIGHT: terms.get(name, {}).get(objectives.WEIGHT, 0.0)}
            terms[name] = _whole(name, terms, others) if both_on else weight
    before |= {"objective": of_terms[0].pop(SHARED) | of_terms[0]}
    now |= {"objective": of_terms[1].pop(SHARED) | of_terms[1]}
    found = [Change(*difference) for difference in content.differing(before, now, "")]
    return sorted(change for change in found if not _is_moved(change))


def _terms(objective: Mapping) -> dict:
    """The settings of each term of an objective, and those that all share as SHARED."""
    terms = {name: dict(of) for name, of in objective.items() if objectives.is_term(of)}
    return terms | {SHARED: {k: of for k, of in objective.items() if k not in terms}}


def _is_on(settings: Mapping | None) -> bool:
    return bool(settings) and settings.get(objectives.WEIGHT, 0.0) != 0


def _whole(name: str, terms: Mapping, others: Mapping) -> dict:
    """The settings of a term that is computed before and now, those that it left out included.

    Of settings that all terms share only those stand here that one of both states for the term.
    """
    stated = terms[name]
    if name not in objectives.TERMS:
        return stated
    fields = dataclasses.fields(objectives.term_class(name))
    defaults = {
        field.name: field.default
        for field in fields
        if field.name not in (objectives.COUNTS, *terms[SHARED])
    }
    shared = {field: of for field, of in terms[SHARED].items() if field in others[name]}
    whole = {objectives.SCHEDULE: []} | defaults | shared | stated
    return json.loads(json.dumps(whole))


def _weights(dirs: Any) -> list[float]:
    return [weight for _, weight in dirs]


def _is_moved(change: Change) -> bool:
    if change.field in STARTS:
        return pathlib.PurePath(str(change.was)).name == pathlib.PurePath(str(change.now)).name
    if change.field == DATA_SETS:
        return _weights(change.was) == _weights(change.now)
    return change.field in PLACES
