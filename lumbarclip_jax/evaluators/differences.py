"""What two models answered about the same rows, and the differences of their metrics."""

import dataclasses
import glob
import pathlib
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.evaluators import metrics_file, predictions_file
from lumbarclip_jax.evaluators.bootstrap import Estimate, paired_differences
from lumbarclip_jax.evaluators.classification import Predictions, same_rows
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.ranking import rank_metrics

SHOWN = 12  # names in an error
_DIFFERING = (
    "{}: the two were measured on different images, patients or labels, so no difference of them "
    "is paired: measure both on the same split of the same data set"
)

Ranks = tuple[np.ndarray, np.ndarray]


def files_of(patterns: Sequence[str]) -> list[pathlib.Path]:
    """The files of answers that folders, files or patterns with * name.

    Raises:
      FileNotFoundError: one names nothing.
    """
    files = []
    for pattern in patterns:
        found = sorted(glob.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{pattern} does not exist: name runs that were evaluated")
        paths = map(pathlib.Path, found)
        files += [path / predictions_file.FILE if path.is_dir() else path for path in paths]
    return files


def read(files: Sequence[pathlib.Path]) -> Kept:
    """The predictions of a model, of all its folds."""
    return predictions_file.pooled([predictions_file.load_kept(path) for path in files])


def answers(model: Kept, name: str, side: str) -> Predictions:
    """Those of one name.

    Raises:
      ValueError: there are none; the sentence names the option of this side, a or b.
    """
    if name not in model.predictions:
        raise ValueError(
            f"--{side} has no answers {name!r} but {_names(model)}: pass one of these as "
            f"--answers_{side}"
        )
    return model.predictions[name]


def difference_by_patient(a: Ranks, b: Ranks, name: str, resamples: int) -> dict[str, float]:
    """`rank_difference` of other queries about the same patients, such as studies and slices.

    Every metric is that of all queries of a side, whose patients are resampled together.

    Raises:
      ValueError: they are about different patients.
    """
    patients, of_a = np.unique(a[1], return_inverse=True)
    others, of_b = np.unique(b[1], return_inverse=True)
    if not np.array_equal(patients, others):
        raise ValueError(_DIFFERING.format(name))
    metrics_a, metrics_b = rank_metrics(a[0], of_a), rank_metrics(b[0], of_b)
    return _named(paired_differences(metrics_a, metrics_b, patients, resamples=resamples), name)


def of_one_name(a: Kept, b: Kept, resamples: int) -> dict[str, float]:
    """The differences of all answers that both have.

    Raises:
      ValueError: they have none in common, or some are about different rows.
    """
    found = {}
    for name in a.predictions.keys() & b.predictions.keys():
        found.update(difference(a.predictions[name], b.predictions[name], name, resamples))
    for name in a.ranks.keys() & b.ranks.keys():
        found.update(rank_difference(a.ranks[name], b.ranks[name], name, resamples))
    if not found:
        raise ValueError(
            f"--a and --b have no answers of one name; --a has {_names(a)}; --b has {_names(b)}: "
            "pass --answers_a and --answers_b"
        )
    return found


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
    return difference_by_patient(a, b, name, resamples)


def cautions(*models: Sequence[pathlib.Path]) -> dict[str, float]:
    """Those in the metrics beside the files of each model; where several have one, the largest."""
    largest: dict[str, float] = {}
    for files in models:
        written = filter(pathlib.Path.is_file, map(predictions_file.metrics_beside, files))
        together = metrics_file.beside(*map(metrics_file.read_metrics, written))
        of_model = metrics_file.cautions(together)
        largest |= {name: max(value, largest.get(name, 0.0)) for name, value in of_model.items()}
    return largest


def _named(estimates: dict[str, Estimate], name: str) -> dict[str, float]:
    return dict(
        entry
        for metric, estimate in estimates.items()
        for entry in estimate.named(f"{name}/{metric}")
    )


def _names(model: Kept) -> str:
    names = sorted(model.predictions)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))


def _sorted(predicted: Predictions) -> Predictions:
    order = np.lexsort((predicted.image_id, predicted.patient_id))
    rows = ("labels", "probabilities", "patient_id", "level", "image_id")
    return dataclasses.replace(predicted, **{name: vars(predicted)[name][order] for name in rows})
