"""Several data sets as one: trained on together, measured together and each by itself.

Their rows lie end to end, in the order of the data sets. The vocabulary is that of the first.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data_prep.records.tasks import NO_LABEL
from data_prep.records.texts import TEXTS
from lumbarclip_jax.data import content
from lumbarclip_jax.data.dataset import Columns, Dataset, joined
from lumbarclip_jax.data.sources import Rows
from lumbarclip_jax.data.tasks import TASKS, tasks_of

log = logging.getLogger(__name__)

SEPARATOR = "@"  # "test@spider": the test split of one of them
SHOWN = 4
IMAGES_AT_A_TIME = 256


def opened(data: ConfigDict, *, check_shards: bool = False) -> Dataset:
    """The data set of a config, or the mixture of those that `config.data.dirs` names.

    Raises:
      FileNotFoundError, ValueError: as `Dataset` and `Mixture`.
    """
    if not data.dirs:
        return Dataset(data.dir, data.resplit, check_shards=check_shards)
    folders, weights = zip(*data.dirs, strict=True)
    datasets = [Dataset(folder, check_shards=check_shards) for folder in folders]
    return Mixture(datasets, weights)


class Mixture(Dataset):
    """Data sets as one, with the splits, findings and tasks that any of them has.

    A row has no label of the own task of another data set. Beside the splits of all there are those
    of each, "test@<folder's name>". Labels of further texts are left out: such a text has those of
    its image.

    Args:
      datasets: one or more.
      weights: how often each is trained on, relative to the others.

    Raises:
      ValueError: they store images of different sizes, have tasks of one name and different
        classes, or share a patient or a picture on two sides of a split; two folders have one name.
    """

    def __init__(self, datasets: Sequence[Dataset], weights: Sequence[float]):
        self.datasets = dict(zip(_names(datasets), datasets, strict=True))
        self.weights = dict(zip(self.datasets, weights, strict=True))
        self.folder = datasets[0].folder
        self.resplit = ""
        _require_alike(datasets)
        self.manifest = _manifest(self.datasets)
        self.tasks = tasks_of(self.manifest)
        self.pooled = tuple(dict.fromkeys(split for each in datasets for split in each.splits))
        self.splits = self.pooled + tuple(
            f"{split}{SEPARATOR}{name}"
            for name, each in self.datasets.items()
            for split in each.splits
        )
        self._columns: dict[str, Columns] = {}
        self._images: dict[str, Any] = {}
        _require_apart(self.datasets)

    @property
    def further_texts(self) -> tuple[str, ...]:
        each = [dataset.further_texts for dataset in self.datasets.values()]
        return (TEXTS,) if any(TEXTS in of for of in each) else ()

    @property
    def cautions(self) -> dict[str, float]:
        return {}

    def parts(self, split: str) -> list[tuple[np.ndarray, float]]:
        parts, begin = [], 0
        for name, dataset, own in self._of(split):
            count = len(dataset.columns(own).level)
            parts.append((np.arange(begin, begin + count), self.weights[name]))
            begin += count
        return parts

    def source(self, split: str):
        return _end_to_end([dataset.source(own) for _, dataset, own in self._of(split)])

    def partial_source(self, split: str, names: Sequence[str]):
        each = []
        for _, dataset, own in self._of(split):
            lacking = set(self.further_texts) - set(dataset.further_texts)
            each.append(dataset.partial_source(own, [n for n in names if n not in lacking]))
        return _end_to_end(each)

    def _of(self, split: str) -> list[tuple[str, Dataset, str]]:
        """(name, data set, its split) of each that has a part in a split."""
        own, _, name = split.partition(SEPARATOR)
        found = [
            (each, dataset, own)
            for each, dataset in self.datasets.items()
            if own in dataset.splits and name in ("", each)
        ]
        if not found:
            raise ValueError(
                f"there is no split {split!r} in {', '.join(self.datasets)}, only "
                f"{', '.join(self.splits)}"
            )
        return found

    def _read_columns(self, split: str) -> Columns:
        own = [name for name in self.tasks if name not in TASKS]
        parts = []
        for _, dataset, of in self._of(split):
            columns = dataset.columns(of)
            theirs = [name for name in dataset.tasks if name not in TASKS]
            labels = np.full((len(columns.level), len(own)), NO_LABEL, np.int8)
            labels[:, [own.index(name) for name in theirs]] = columns.own_labels
            parts.append(dataclasses.replace(columns, own_labels=labels, tasks=self.tasks))
        return joined(parts)


def _end_to_end(sources: list) -> Rows:
    return Rows(sources, np.arange(sum(len(source) for source in sources)))


def _names(datasets: Sequence[Dataset]) -> list[str]:
    names = [dataset.folder.resolve().name for dataset in datasets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"two of data.dirs are called {twice[0]!r}, by which their numbers could not be told "
            "apart: rename one, or leave it out"
        )
    return names


def _require_alike(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    for other in datasets[1:]:
        was, now = (of.manifest["image"]["size_px"] for of in (first, other))
        if was != now:
            raise ValueError(
                f"{first.folder} holds images of {was} px and {other.folder} of {now}: build one "
                "of them again with the --size_px of the other"
            )
        if first.manifest["findings"] != other.manifest["findings"]:
            raise ValueError(
                f"{first.folder} and {other.folder} list different findings: build the older one "
                "again"
            )


def _manifest(datasets: dict[str, Dataset]) -> dict[str, Any]:
    """The manifest of the first, with splits, tasks, views and shards of all."""
    manifests = {name: dataset.manifest for name, dataset in datasets.items()}
    tasks: dict[str, dict] = {}
    for name, of in manifests.items():
        for task in of.get("tasks", ()):
            other = tasks.setdefault(task["name"], task)
            if any(other[entry] != task[entry] for entry in ("classes", "unit", "ordered")):
                raise ValueError(
                    f"the task {task['name']} of {name} is not that of another of data.dirs "
                    f"({', '.join(task['classes'])}, where that has {', '.join(other['classes'])}):"
                    " rename the column of one, and build it again"
                )
    keys = {of.get("key_fingerprint") for of in manifests.values()}
    return next(iter(manifests.values())) | {
        "source": "; ".join(str(of.get("source")) for of in manifests.values()),
        "key_fingerprint": keys.pop() if len(keys) == 1 else None,
        "tasks": list(tasks.values()),
        "splits": _summed([of["splits"] for of in manifests.values()]),
        "views": _summed([of.get("views", {}) for of in manifests.values()]),
        "shards": [shard for of in manifests.values() for shard in of["shards"]],
        "data_sets": {name: content.summary(of) for name, of in manifests.items()},
    }


def _summed(trees: Sequence[dict]) -> dict:
    """Numbers of trees of dicts, added up."""
    total: dict = {}
    for tree in trees:
        for key, value in tree.items():
            if isinstance(value, dict):
                total[key] = _summed([total.get(key, {}), value])
            else:
                total[key] = total.get(key, 0) + value
    return total


def _require_apart(datasets: dict[str, Dataset]) -> None:
    """Raises ValueError for a patient, or a picture, that two data sets have in different splits.

    Pseudonyms of different keys cannot be compared: that is said in the log.
    """
    keys = {dataset.manifest.get("key_fingerprint") for dataset in datasets.values()}
    if len(keys) > 1:
        log.warning(
            "%s have pseudonyms of different keys: whether a patient is in several of them cannot "
            "be told but by equal pictures",
            ", ".join(datasets),
        )
    place: dict[str, tuple[str, str]] = {}
    apart: dict[str, str] = {}
    for name, dataset in datasets.items():
        for split in dataset.splits:
            for what in _marks(dataset, split):
                other, where = place.setdefault(what, (name, split))
                if where != split and other != name:
                    apart[what] = f"{what} ({where} of {other}, {split} of {name})"
    if apart:
        shown = "; ".join(list(apart.values())[:SHOWN])
        more = f"; {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
        raise ValueError(
            f"{len(apart)} patients or pictures are on two sides of a split: {shown}{more}. Build "
            "the data sets with one --split_file, so that each is on the same side in all"
        )


def _marks(dataset: Dataset, split: str) -> Iterator[str]:
    """What a data set must not share with another: its patients and its pictures."""
    columns = dataset.columns(split)
    yield from (f"patient {patient}" for patient in np.unique(columns.patient_id))
    for begin in range(0, len(columns.level), IMAGES_AT_A_TIME):
        rows = range(begin, min(begin + IMAGES_AT_A_TIME, len(columns.level)))
        for image in dataset.images(split, rows):
            yield f"picture {hashlib.sha256(image.tobytes()).hexdigest()[:16]}"


def named_parts(dataset: Dataset, split: str) -> list[str]:
    """The splits of the single data sets of a mixture that make up a split; none of another."""
    if not isinstance(dataset, Mixture) or SEPARATOR in split:
        return []
    return [each for each in dataset.splits if each.startswith(f"{split}{SEPARATOR}")]
