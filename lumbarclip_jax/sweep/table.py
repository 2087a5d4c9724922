"""The ablation as data: models by measures, with baselines and contrasts of models."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.data.mixture import SEPARATOR
from lumbarclip_jax.data.tasks import FINDINGS
from lumbarclip_jax.evaluators.classification import same_rows
from lumbarclip_jax.evaluators.linear_probe import LEVEL_ONLY
from lumbarclip_jax.evaluators.names import Name
from lumbarclip_jax.evaluators.task_scores import BY_PATIENT
from lumbarclip_jax.report.tables import title
from lumbarclip_jax.sweep import contrasts
from lumbarclip_jax.sweep.contrasts import Contrast
from lumbarclip_jax.sweep.results import Results
from lumbarclip_jax.sweep.sampling import Sampled, sample_predictions, sample_ranks

# Of the evaluators, those of which a table of many runs has columns.
IN_TABLE = ("retrieval", "zero_shot", "linear_probe")
RECALLS = ("recall_at_1", "recall_at_5", "recall_at_10")
CLASSIFICATION = (
    "auroc",
    "auroc_within_level",
    "average_precision",
    "quadratic_kappa",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
)


@dataclasses.dataclass(frozen=True)
class Measure:
    """A metric of `<split>/<evaluator>/<what>`; `main` if it speaks for its task."""

    key: str
    metric: str
    main: bool

    @property
    def evaluator(self) -> str:
        return self.name.evaluator

    @property
    def name(self) -> Name:
        return Name.of_answers(self.key)

    @property
    def what(self) -> str:
        """A direction of retrieval, a task, or task/features."""
        return "/".join(self.name.path)

    @property
    def task(self) -> str:
        return self.name.task

    @property
    def features(self) -> tuple[str, ...]:
        return self.name.features

    @property
    def is_single_finding(self) -> bool:
        return self.task in FINDINGS

    @property
    def title(self) -> str:
        return f"{title(self.task)}: {title(self.metric)}"


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    encoder: str
    head: str
    seeds: int


@dataclasses.dataclass(frozen=True)
class Table:
    """`cells`, by model and measure; `chance` and `level_only` where there is such a baseline;
    `contrasts`, by measure and the model that is compared with another: with `baseline` or, where
    that is empty, one with an MLP head with its encoder's linear one."""

    rows: list[Row]
    measures: list[Measure]
    cells: dict[tuple[str, Measure], Sampled]
    chance: dict[Measure, float]
    level_only: dict[Measure, Sampled]
    contrasts: dict[tuple[str, Measure], Contrast]
    baseline: str = ""


def ablation(every: Sequence[Results], resamples: int, baseline: str = "") -> Table:
    """Measures all models on the same resampled patients.

    Of runs on several data sets it has the splits of each that all models were measured on.

    Args:
      baseline: the model that all others are compared with; empty for the two heads of an encoder.

    Raises:
      ValueError: the models or their seeds were not measured on the same rows.
    """
    rows = [Row(r.model, r.encoder, r.head, len(r.seeds)) for r in every]
    shown = _splits(every)
    cells, chance, level_only = {}, {}, {}
    predicted_first, ranked_first = {}, {}
    for results in every:
        kept = results.of_seed[0]
        for key, predicted in kept.predictions.items():
            name = Name.of_answers(key)
            if name.evaluator not in IN_TABLE or name.path[-1] == LEVEL_ONLY:
                continue
            if name.split not in shown:
                continue
            main = _main_metric(predicted)
            if key not in predicted_first:
                predicted_first[key] = predicted
                of_chance = predicted.chance.items()
                chance |= {Measure(key, m, m == main): value for m, value in of_chance}
                for metric, sampled in _level_only(results, key, resamples).items():
                    level_only[Measure(key, metric, metric == main)] = sampled
            if not same_rows(predicted, predicted_first[key]):
                raise ValueError(_differing(every[0], results, key))
            parts = [seed.predictions[key] for seed in results.of_seed]
            told = f"{results.model}, {key}"
            for metric, sampled in sample_predictions(parts, told, resamples).items():
                cells[results.model, Measure(key, metric, metric == main)] = sampled
        for key, (_, patient_id) in kept.ranks.items():
            if Name.of_answers(key).split not in shown:
                continue
            if not np.array_equal(patient_id, ranked_first.setdefault(key, patient_id)):
                raise ValueError(_differing(every[0], results, key))
            parts = [seed.ranks[key] for seed in results.of_seed]
            for metric, sampled in sample_ranks(
                parts, f"{results.model}, {key}", resamples
            ).items():
                measure = Measure(key, metric, metric in RECALLS)
                cells[results.model, measure] = sampled
                if f"{key}/{metric}" in results.retrieval_chance:
                    chance[measure] = results.retrieval_chance[f"{key}/{metric}"]
    measures = list(dict.fromkeys(measure for _, measure in cells))
    pairs = contrasts.with_baseline(every, baseline) if baseline else contrasts.of_heads(every)
    compared = contrasts.between(pairs, measures, cells)
    return Table(rows, measures, cells, chance, level_only, compared, baseline)


def _splits(every: Sequence[Results]) -> set[str]:
    of_each = [
        {Name.of_answers(key).split for key in (*of.predictions, *of.ranks)}
        for of in (results.of_seed[0] for results in every)
    ]
    # What several data sets are together differs between runs that have others beside one.
    of_single_sets = {split for split in set.intersection(*of_each) if SEPARATOR in split}
    return of_single_sets or set.union(*of_each)


def _level_only(results: Results, key: str, resamples: int) -> dict[str, Sampled]:
    """The probe that is told the disc level alone, on the rows of `key`; empty without one."""
    name = Name.of_answers(key)
    kept = results.of_seed[0].predictions
    blind = kept.get(str(Name(name.split, "linear_probe", (name.task, LEVEL_ONLY))))
    if blind is None:
        return {}
    if name.features[-1:] == (BY_PATIENT,):
        blind = blind.by_patient()
    # One seed says it all: it is fitted to labels and levels, which no seed changes.
    return sample_predictions([blind], key, resamples) if same_rows(blind, kept[key]) else {}


def _main_metric(predicted) -> str:
    if len(predicted.classes) == 2:
        return "auroc"
    return "quadratic_kappa" if predicted.ordered else "macro_f1"


def _differing(a: Results, b: Results, key: str) -> str:
    return (
        f"{a.model} and {b.model} were measured on different rows of {key}, so the data set "
        "changed between them: choose another --out"
    )
