"""What the complete runs of a sweep said, row by row: one `Kept` a model and seed, folds pooled."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.evaluators.names import CHANCE, Name
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.run_folder.files import METRICS_FILE
from lumbarclip_jax.sweep.plan import PlannedRun
from lumbarclip_jax.sweep.runner import is_complete


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
            seed: [predictions_file.load_kept(run.folder / predictions_file.FILE) for run in parts]
            for seed, parts in whole.items()
        }
        first = next(iter(whole.values()))
        metrics = [read_metrics(run.folder / METRICS_FILE) for run in first]
        results.append(
            Results(
                model=model,
                encoder=first[0].encoder,
                head=first[0].head,
                seeds=tuple(whole),
                of_seed=tuple(predictions_file.pooled(folds) for folds in folds_of_seed.values()),
                retrieval_chance=_chance(metrics, folds_of_seed[first[0].seed]),
            )
        )
    return results


def _chance(metrics: Sequence[dict[str, float]], folds: Sequence[Kept]) -> dict[str, float]:
    """Chance of the retrieval metrics; over folds the mean, weighted by their queries.

    Median ranks have no such mean and are left out of folds.
    """
    chance = {}
    for key in folds[0].ranks:
        for name in metrics[0]:
            called = Name.of_number(name.removesuffix(CHANCE))
            if not name.endswith(CHANCE) or called is None or called.answers != key:
                continue
            metric = called.measure
            if len(folds) > 1 and "median" in metric:
                continue
            queries = [len(fold.ranks[key][0]) for fold in folds]
            values = [of_fold[name] for of_fold in metrics]
            chance[f"{key}/{metric}"] = float(np.average(values, weights=queries))
    return chance
