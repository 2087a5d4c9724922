"""A term in its weight, built from what a config says of it."""

import dataclasses
import difflib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax import objectives
from lumbarclip_jax.objectives import COUNTS, SCHEDULE, WEIGHT
from lumbarclip_jax.objectives.term import Term


class Weighted(NamedTuple):
    """A term of an objective, and what it counts there."""

    name: str
    term: Term
    weight: float
    schedule: tuple[tuple[float, float], ...]  # (part of training, factor of the weight)


def build(
    objective: ConfigDict | Mapping[str, Any], counts: Mapping[str, np.ndarray] | None
) -> list[Weighted]:
    """The terms that are computed: those of `config.objective` whose weight is not 0.

    `counts` is as for `objective.Objective`.

    Raises:
      ValueError: a line for each fault of the config.
    """
    built, broken = [], []
    for name, settings in objectives.computed(objective).items():
        faults, weighted = _build(name, settings, objective, counts or {})
        broken += [f"objective.{name}.{fault}" for fault in faults]
        built += weighted
    of_all = {"method", "group_reports"}
    for field in objective:
        if not objectives.is_term(objective[field]) and field not in of_all:
            near = difflib.get_close_matches(field, [*of_all, *objectives.TERMS], n=1)
            meant = f", did you mean {near[0]}?" if near else ""
            broken.append(f"objective.{field}: there is no such setting or term{meant}")
    if not (built or broken):
        fields = " or ".join(f"objective.{name}.{WEIGHT}" for name in objectives.TERMS)
        broken = [f"no term of the objective has a weight, so nothing is trained: set {fields}"]
    if broken:
        raise ValueError("; ".join(broken))
    return built


def _build(name: str, settings: Any, objective: Any, counts: Mapping[str, np.ndarray]):
    """(faults, [the term] if it can be built)."""
    made = objectives.term_class(name)
    known = [field.name for field in dataclasses.fields(made) if field.name != COUNTS]
    own = {field: x for field, x in settings.items() if field not in (WEIGHT, SCHEDULE)}
    if unknown := [field for field in own if field not in known]:
        return [_unknown(field, known) for field in unknown], []
    shared = {field: x for field, x in objective.items() if field in known}
    given = {field: _frozen(x) for field, x in (shared | own).items()}
    if any(field.name == COUNTS for field in dataclasses.fields(made)):
        given[COUNTS] = counts
    term = made(**given)
    schedule = _frozen(settings.get(SCHEDULE, ()))
    faults = [*term.faults(), *_faults_of_weight(settings[WEIGHT]), *_faults_of(schedule)]
    return faults, [] if faults else [Weighted(name, term, float(settings[WEIGHT]), schedule)]


def _unknown(field: str, known: list[str]) -> str:
    near = difflib.get_close_matches(field, known, n=1)
    meant = f", did you mean {near[0]}?" if near else f", only {', '.join(known)}"
    return f"{field}: the term has no such setting{meant}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _faults_of_weight(weight: Any) -> Iterator[str]:
    if not (_is_number(weight) and 0 < weight < float("inf")):
        yield f"{WEIGHT}={weight} must be a finite number above 0, or 0 to leave the term out"


def _faults_of(schedule: Any) -> Iterator[str]:
    points = schedule if isinstance(schedule, tuple) else (None,)
    pairs = [
        point
        for point in points
        if isinstance(point, tuple) and len(point) == 2 and all(map(_is_number, point))
    ]
    parts, factors = [part for part, _ in pairs], [factor for _, factor in pairs]
    if (
        len(pairs) < len(points)
        or not all(0 <= part <= 1 for part in parts)
        or any(a >= b for a, b in itertools.pairwise(parts))
        or not all(0 <= factor < float("inf") for factor in factors)
    ):
        yield (
            f"{SCHEDULE}={schedule} must be points (part of training, factor of the weight), the "
            "parts rising from 0 to 1 at most, such as ((0.0, 0.0), (0.2, 1.0))"
        )


def _frozen(value: Any) -> Any:
    """Lists, of configs that were saved as JSON, as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
