"""The data set folder written by `data_prep.build`: splits, random access and its manifest."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_prep.records.texts import LABELS, TEXTS
from lumbarclip_jax.data import manifest as manifests
from lumbarclip_jax.data import resplit as resplits
from lumbarclip_jax.data.sources import PartialSource, Rows
from lumbarclip_jax.data.tasks import Task, tasks_of

TEXT_COLUMNS = ("report", "report_group", "patient_id", "study_id", "image_id", "level", "sequence")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Everything but the pixels of one split, one row an image, in data set order (M rows)."""

    report: np.ndarray
    report_group: np.ndarray
    patient_id: np.ndarray
    study_id: np.ndarray
    image_id: np.ndarray
    level: np.ndarray
    sequence: np.ndarray
    findings: np.ndarray  # [M, F] status codes of the patient
    level_findings: np.ndarray  # [M, G] status codes of this level
    pfirrmann: np.ndarray  # [M] 1..5, 0 = not graded
    names: tuple[str, ...]  # F findings
    level_names: tuple[str, ...]  # G findings
    own_labels: np.ndarray  # [M, K] of the data set's own tasks, see `data_prep.records.tasks`
    tasks: Mapping[str, Task]  # that these labels pose, by name

    @property
    def study(self) -> np.ndarray:
        """[M] the study of every row, numbered in the order in which the rows have them.

        Two patients share none, though an id that a header states may be that of both.
        """
        of_patient = np.char.add(np.char.add(self.patient_id, " "), self.study_id)
        _, first, study = np.unique(of_patient, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[study]

    def take(self, rows: np.ndarray) -> "Columns":
        """Only these rows, in their order."""
        arrays = {k: v[rows] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return dataclasses.replace(self, **arrays)


class Dataset:
    """A data set folder, opened without TensorFlow once all its files are there in full size.

    Args:
      folder: written by `data_prep.build`.
      resplit: "" for its own splits, else one of the forms of `data/resplit.py`. Then all labels
        are read at once, and the manifest counts the new splits and names the form.
      check_shards: read all shards first and compare them with their sha256.

    Raises:
      FileNotFoundError: the folder or a file of it does not exist.
      ValueError: a file is not the one that was built, the folder was written with another schema
        version, or it cannot be split so.
    """

    def __init__(
        self, folder: str | pathlib.Path, resplit: str = "", *, check_shards: bool = False
    ):
        self.folder = pathlib.Path(folder)
        self.manifest = manifests.read(self.folder)
        manifests.check_files(self.folder, self.manifest)
        if check_shards:
            manifests.check_shards(self.folder, self.manifest)
        # Its decorators hide what it takes.
        self._builder: Any = tfds.builder_from_directory(str(self.folder))
        self.splits = tuple(self.manifest["splits"])
        self.tasks = tasks_of(self.manifest)
        self._columns: dict[str, Columns] = {}
        self._images: dict[str, Any] = {}  # records of nothing else
        self._stored_splits = self.splits
        self._rows: dict[str, np.ndarray] = {}  # of splits assigned again, into the stored ones
        self.resplit = resplit
        if resplit:
            self._assign_again()

    def _assign_again(self) -> None:
        stored = {split: self.columns(split) for split in self.splits}
        sizes = {split: len(columns.level) for split, columns in stored.items()}
        whole = joined(list(stored.values()))
        self._rows = resplits.assign_rows(whole, self.resplit, sizes)
        self.splits = tuple(self._rows)
        self._columns = {split: whole.take(rows) for split, rows in self._rows.items()}
        counts = {
            split: {
                "images": len(columns.level),
                "patients": len(np.unique(columns.patient_id)),
                "report_groups": len(np.unique(columns.report_group)),
            }
            for split, columns in self._columns.items()
        }
        self.manifest = self.manifest | {"splits": counts, "resplit": self.resplit}
        if self.cautions:
            self.manifest["warning"] = resplits.WARNING

    @property
    def further_texts(self) -> tuple[str, ...]:
        """Features of the texts that records have beside their reports, and of their labels."""
        return tuple(name for name in (TEXTS, LABELS) if name in self._builder.info.features)

    @property
    def cautions(self) -> dict[str, float]:
        """What every file of metrics measured on these splits should begin with; mostly nothing."""
        return {"LEAKY_SPLIT_NO_RESULTS": 1.0} if self.resplit == resplits.LEAKY else {}

    def parts(self, split: str) -> list[tuple[np.ndarray, float]]:
        """Rows of a split that come from one data set, and how often they are trained on."""
        return [(np.arange(len(self.columns(split).level)), 1.0)]

    def source(self, split: str):
        """Random-access records of a split: `source[i]` and `source.__getitems__([i, ...])`.

        Raises:
          ValueError: the data set has no such split.
        """
        return self._laid_out(split, self._builder.as_data_source)

    def partial_source(self, split: str, names: Sequence[str]):
        """`source(split)` of records with nothing but these features, a third faster to read."""
        features = {name: self._builder.info.features[name] for name in names}

        def stored(split: str) -> PartialSource:
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            records = self._builder.as_data_source(split, deserialize_method=raw)
            return PartialSource(records, tfds.features.FeaturesDict(features))

        return self._laid_out(split, stored)

    def _laid_out(self, split: str, stored: Callable):
        if split not in self.splits:
            raise ValueError(
                f"{self.folder} has no split {split!r}, only {', '.join(self.splits)}: choose one "
                "of these or build the data set with other --splits"
            )
        if split not in self._rows:
            return stored(split)
        return Rows([stored(part) for part in self._stored_splits], self._rows[split])

    def columns(self, split: str) -> Columns:
        """Texts, labels and ids of a split, read once."""
        if split not in self._columns:
            self._columns[split] = self._read_columns(split)
        return self._columns[split]

    def _read_columns(self, split: str) -> Columns:
        source = self.source(split)
        records = [source[i] for i in range(len(source))]
        return Columns(
            **{name: np.array([_text(r[name]) for r in records]) for name in TEXT_COLUMNS},
            findings=np.stack([r["findings"] for r in records]),
            level_findings=np.stack([r["level_findings"] for r in records]),
            pfirrmann=np.array([r["grades"]["pfirrmann"] for r in records], np.uint8),
            names=tuple(self.manifest["findings"]),
            level_names=tuple(self.manifest["level_findings"]),
            own_labels=np.array([r.get("labels", ()) for r in records], np.int8),
            tasks=self.tasks,
        )

    def images(self, split: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pixels of the given rows, uint8 [K, S, S, 1]."""
        if split not in self._images:
            self._images[split] = self.partial_source(split, ("image",))
        records = self._images[split].__getitems__([int(i) for i in indices])
        return np.stack([r["image"] for r in records])


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of several, end to end."""
    first = parts[0]
    arrays = [name for name, value in vars(first).items() if isinstance(value, np.ndarray)]
    joined: dict[str, Any] = {
        name: np.concatenate([vars(part)[name] for part in parts]) for name in arrays
    }
    return dataclasses.replace(first, **joined)


def read_text(record: dict, name: str) -> str:
    """A text field of a record."""
    return _text(record[name])


def texts_of(record: dict) -> list[str]:
    """The report of a record, and the further texts that were read of it."""
    return [_text(text) for text in (record["report"], *record.get(TEXTS, ()))]


def with_level(report: str, level: str, level_prefix: bool) -> str:
    """A report with its disc level in front, or as it is.

    One report covers three discs and one axial slice shows a single one: the prefix tells the text
    encoder which part of the report the image can confirm.
    """
    return f"{level} : {report}" if level_prefix else report


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
