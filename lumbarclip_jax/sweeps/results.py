"""What the complete runs of a sweep said, row by row: one `Kept` a model and seed, folds pooled."""

import collections
import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.evaluators import kept
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.kept import Kept
from lumbarclip_jax.run import METRICS_FILE
from lumbarclip_jax.sweeps.plan import PlannedRun
from lumbarclip_jax.sweeps.runner import is_complete


@dataclasses.dataclass(frozen=True)
class Results:
    """One model on one kind of split.

    `retrieval_chance` maps `<split>/retrieval/<direction>/<metric>` to what blind guessing reaches.
    """

    model: str
    encoder: str
    head: str
    seeds: tuple[int, ...]
    of_seed: tuple[Kept, ...]
    retrieval_chance: dict[str, float]


def read_results(runs: Sequence[PlannedRun]) -> list[Results]:
    """Results of each model, in the order of the plan.

    A seed counts when all its folds are complete; a model counts when a seed does.

    Raises:
      ValueError: the folds of a seed do not belong together.
    """
    by_model: dict[str, dict[int, list[PlannedRun]]] = collections.defaultdict(dict)
    for run in runs:
        by_model[run.model].setdefault(run.seed, []).append(run)
    results = []
    for model, by_seed in by_model.items():
        whole = {seed: parts for seed, parts in by_seed.items() if all(map(is_complete, parts))}
        if not whole:
            continue
        folds_of_seed = {
            seed: [kept.load_kept(run.folder / kept.FILE) for run in parts]
            for seed, parts in whole.items()
        }
        first = next(iter(whole.values()))
        metrics = [json.loads((run.folder / METRICS_FILE).read_text()) for run in first]
        results.append(
            Results(
                model=model,
                encoder=first[0].encoder,
                head=first[0].head,
                seeds=tuple(whole),
                of_seed=tuple(pooled(folds) for folds in folds_of_seed.values()),
                retrieval_chance=_chance(metrics, folds_of_seed[first[0].seed]),
            )
        )
    return results


def pooled(folds: Sequence[Kept]) -> Kept:
    """The rows of all folds one after another: every patient once, by the model that never saw it.

    A rank stays that among the candidates of its own fold. A task that a fold could not measure is
    pooled over the others.

    Raises:
      ValueError: a patient is in two folds.
    """
    if len(folds) == 1:
        return folds[0]
    predictions, ranks = {}, {}
    for key in dict.fromkeys(key for fold in folds for key in fold.predictions):
        parts = [fold.predictions[key] for fold in folds if key in fold.predictions]
        _require_disjoint(key, [part.patient_id for part in parts])
        arrays = {
            name: np.concatenate([vars(part)[name] for part in parts])
            for name, value in vars(parts[0]).items()
            if isinstance(value, np.ndarray)
        }
        predictions[key] = dataclasses.replace(parts[0], **arrays)
    for key in dict.fromkeys(key for fold in folds for key in fold.ranks):
        parts = [fold.ranks[key] for fold in folds if key in fold.ranks]
        _require_disjoint(key, [patient_id for _, patient_id in parts])
        ranks[key] = tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Kept(predictions, ranks)


def _require_disjoint(key: str, patients_of_fold: Sequence[np.ndarray]) -> None:
    patients = np.concatenate([np.unique(patients) for patients in patients_of_fold])
    names, counts = np.unique(patients, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{key}: patient {names[counts > 1][0]} is tested in two folds, so these runs were not "
            "trained on folds of one data set: choose another --out"
        )


def _chance(metrics: Sequence[dict[str, float]], folds: Sequence[Kept]) -> dict[str, float]:
    """Chance of the retrieval metrics; over folds the mean, weighted by their queries.

    Median ranks have no such mean and are left out of folds.
    """
    chance = {}
    for key in folds[0].ranks:
        prefix, _, direction = key.rpartition("/")
        for name in metrics[0]:
            stem = f"{prefix}/{direction}_"
            if not (name.startswith(stem) and name.endswith("_chance")):
                continue
            if len(folds) > 1 and "median" in name:
                continue
            queries = [len(fold.ranks[key][0]) for fold in folds]
            metric = name.removeprefix(stem).removesuffix("_chance")
            values = [of_fold[name] for of_fold in metrics]
            chance[f"{key}/{metric}"] = float(np.average(values, weights=queries))
    return chance


def same_rows(a: Predictions, b: Predictions) -> bool:
    """Whether two predictions are about the same images and the same labels, in the same order."""
    columns = ("labels", "patient_id", "image_id")
    return a.classes == b.classes and all(
        np.array_equal(vars(a)[name], vars(b)[name]) for name in columns
    )
