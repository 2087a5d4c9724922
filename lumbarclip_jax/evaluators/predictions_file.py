"""What evaluators kept of a run, row by row, as one file beside its metrics.

`predictions.npz`, or NAME.npz beside NAME.json, holds plain arrays under
`<split>/<evaluator>/<what>/<field>`, so that runs can be compared row by row afterwards, and folds
pooled, without the model. Nothing in it is pickled.
"""

import dataclasses
import io
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax.evaluators.classification import Predictions, joined

FILE = "predictions.npz"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What evaluators kept of a split, by `<split>/<evaluator>/<what>`; they fill an empty one.

    `predictions`, with what = `<task>` or `<task>/<features>`; `ranks` of retrieval, with what = a
    direction: the rank `[Q]` of every query and its patient `[Q]`.
    """

    predictions: dict[str, Predictions] = dataclasses.field(default_factory=dict)
    ranks: dict[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "Kept") -> "Kept":
        return Kept(self.predictions | other.predictions, self.ranks | other.ranks)


def beside(metrics_file: pathlib.Path) -> pathlib.Path:
    """Where to keep what belongs to a file of metrics: two files in a folder have one each."""
    if metrics_file.name == "metrics.json":
        return metrics_file.with_name(FILE)
    return metrics_file.with_suffix(".npz")


def metrics_beside(file: pathlib.Path) -> pathlib.Path:
    """The inverse of `beside`."""
    return file.with_name("metrics.json") if file.name == FILE else file.with_suffix(".json")


def save_kept(kept: Kept, path: pathlib.Path) -> None:
    """Writes what evaluators kept; whole or not at all.

    Raises:
      OSError: the file cannot be written.
    """
    arrays: dict[str, Any] = {}
    for name, predicted in kept.predictions.items():
        for field, value in vars(predicted).items():
            arrays[f"{name}/{field}"] = np.asarray(value)
    for name, (rank, patient_id) in kept.ranks.items():
        arrays[f"{name}/rank"] = rank
        arrays[f"{name}/patient_id"] = patient_id
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with disk_errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def load_kept(path: pathlib.Path) -> Kept:
    """Reads a file of `save_kept`.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: it is written beside metrics.json when a run is evaluated"
        )
    fields: dict[str, dict[str, np.ndarray]] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                key, _, field = name.rpartition("/")
                fields.setdefault(key, {})[field] = arrays[name]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged: measure again, which writes it anew") from error
    predictions, ranks = {}, {}
    for key, of in fields.items():
        if "rank" in of:
            ranks[key] = (of["rank"], of["patient_id"])
        else:
            classes = tuple(of.pop("classes").tolist())
            ordered = bool(of.pop("ordered"))
            predictions[key] = Predictions(classes=classes, ordered=ordered, **of)
    return Kept(predictions, ranks)


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
        predictions[key] = joined(parts)
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
            "trained on the folds of one data set: name one run of each fold"
        )
