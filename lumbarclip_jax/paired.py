"""python -m lumbarclip_jax.paired --a=runs/resnet --b=runs/vit

Says whether two models differ: every metric of what both answered about the same rows, as a - b
with its 95 % interval over the same resampled patients. An interval without 0 says that they do.

--a and --b are folders of runs, of fine-tunes or of evaluations, or predictions.npz files. Several
of them, as a,b or with * as in a shell, are the folds of one cohort and pooled. Answers of other
names are compared with

  --answers_a=test/linear_probe/pfirrmann_ge_3/image_features --answers_b=test/pixels/pfirrmann_ge_3

--out gets all numbers as JSON.
"""

import dataclasses
import glob
import logging
import pathlib

import numpy as np
from absl import flags

from lumbarclip_jax import cli, metrics_file
from lumbarclip_jax.evaluators import kept, suite
from lumbarclip_jax.evaluators.bootstrap import Estimate, paired_differences
from lumbarclip_jax.evaluators.classification import Predictions, same_rows
from lumbarclip_jax.evaluators.kept import Kept
from lumbarclip_jax.evaluators.ranking import rank_metrics
from lumbarclip_jax.metrics_file import read_metrics, save_metrics

A = flags.DEFINE_list("a", None, "first model", required=True)
B = flags.DEFINE_list("b", None, "second model", required=True)
ANSWERS_A = flags.DEFINE_string("answers_a", None, "one answer of the first model")
ANSWERS_B = flags.DEFINE_string("answers_b", None, "the second model's to compare it with")
OUT = flags.DEFINE_string("out", None, "JSON file for all differences")
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)

SHOWN = 12  # names in an error
_DIFFERING = (
    "{}: the two were measured on different images, patients or labels, so no difference of them "
    "is paired: measure both on the same split of the same data set"
)

Ranks = tuple[np.ndarray, np.ndarray]

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.paired")


def main() -> None:
    if (ANSWERS_A.value is None) != (ANSWERS_B.value is None):
        raise ValueError("--answers_a and --answers_b belong together: pass both or neither")
    a, b = _read(A.value), _read(B.value)
    differences = {}
    if ANSWERS_A.value:
        of_a, of_b = _answers(a, ANSWERS_A.value, "a"), _answers(b, ANSWERS_B.value, "b")
        differences.update(difference(of_a, of_b, ANSWERS_A.value, RESAMPLES.value))
    else:
        for name in a.predictions.keys() & b.predictions.keys():
            both = a.predictions[name], b.predictions[name]
            differences.update(difference(*both, name, RESAMPLES.value))
        for name in a.ranks.keys() & b.ranks.keys():
            both = a.ranks[name], b.ranks[name]
            differences.update(rank_difference(*both, name, RESAMPLES.value))
        if not differences:
            raise ValueError(
                f"--a and --b have no answers of one name; --a has {_names(a)}; --b has "
                f"{_names(b)}: pass --answers_a and --answers_b"
            )
    if cautions := _cautions():
        log.warning("not to be read without %s, of --a or --b", ", ".join(cautions))
    differences = cautions | dict(sorted(differences.items()))
    log.info("differences, a - b:")
    suite.log_metrics(differences)
    if OUT.value:
        save_metrics(differences, pathlib.Path(OUT.value))


def difference(a: Predictions, b: Predictions, name: str, resamples: int) -> dict[str, float]:
    """`<name>/<metric>` with its interval: a - b, row by row of the same images.

    Raises:
      ValueError: they are about different images or labels.
    """
    a, b = _sorted(a), _sorted(b)
    if not same_rows(a, b):
        raise ValueError(_DIFFERING.format(name))
    estimates = paired_differences(a.metrics, b.metrics, a.patient_id, resamples=resamples)
    return _named(estimates, name)


def rank_difference(a: Ranks, b: Ranks, name: str, resamples: int) -> dict[str, float]:
    """`difference` of retrieval, of the rank `[Q]` of every query and its patient `[Q]`.

    Raises:
      ValueError: they are about different queries.
    """
    if not np.array_equal(a[1], b[1]):
        raise ValueError(_DIFFERING.format(name))
    patients, patient_of_query = np.unique(a[1], return_inverse=True)
    metrics = [rank_metrics(ranks, patient_of_query) for ranks, _ in (a, b)]
    return _named(paired_differences(*metrics, patients, resamples=resamples), name)


def _named(estimates: dict[str, Estimate], name: str) -> dict[str, float]:
    return dict(
        entry
        for metric, estimate in estimates.items()
        for entry in estimate.named(f"{name}/{metric}")
    )


def _read(patterns: list[str]) -> Kept:
    """The predictions of a model, of all its folds."""
    return kept.pooled([kept.load_kept(path) for path in _files(patterns)])


def _files(patterns: list[str]) -> list[pathlib.Path]:
    files = []
    for pattern in patterns:
        found = sorted(glob.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{pattern} does not exist: name runs that were evaluated")
        paths = map(pathlib.Path, found)
        files += [path / kept.FILE if path.is_dir() else path for path in paths]
    return files


def _cautions() -> dict[str, float]:
    """Those in the files of metrics of both models; where both have one, the larger."""
    both: dict[str, float] = {}
    for patterns in (A.value, B.value):
        metrics = filter(pathlib.Path.is_file, map(kept.metrics_beside, _files(patterns)))
        of_model = metrics_file.cautions(metrics_file.beside(*map(read_metrics, metrics)))
        both |= {name: max(value, both.get(name, 0.0)) for name, value in of_model.items()}
    return both


def _answers(model: Kept, name: str, side: str) -> Predictions:
    if name not in model.predictions:
        raise ValueError(
            f"--{side} has no answers {name!r} but {_names(model)}: pass one of these as "
            f"--answers_{side}"
        )
    return model.predictions[name]


def _names(model: Kept) -> str:
    names = sorted(model.predictions)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))


def _sorted(predicted: Predictions) -> Predictions:
    order = np.lexsort((predicted.image_id, predicted.patient_id))
    rows = ("labels", "probabilities", "patient_id", "level", "image_id")
    return dataclasses.replace(predicted, **{name: vars(predicted)[name][order] for name in rows})


if __name__ == "__main__":
    cli.run(main)
