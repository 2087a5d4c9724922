"""A fine-tuned classifier for use: pictures to probabilities, and how good they are elsewhere."""

import logging
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from lumbarclip_jax.data import content
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.fields import one_hot
from lumbarclip_jax.data.tasks import Task
from lumbarclip_jax.evaluators import metrics_file
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.task_rows import LabelledRows, shortage, warn_of_skipped
from lumbarclip_jax.finetune import measuring, saved
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.inference import (
    ClassProbabilities,
    Picture,
    rendering,
    slices_of,
    stored_slice,
    warn_of_unlike,
)
from lumbarclip_jax.run_folder import trained_patients
from lumbarclip_jax.run_folder.files import METRICS_FILE

log = logging.getLogger(__name__)


class Classifier:
    """What `lumbarclip_jax.finetune` trained. Made by `lumbarclip_jax.load`.

    `tasks` maps the name of each task to its classes; of two classes the last is the positive one.
    `levels` are the disc levels it was trained on.
    """

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder)
        self.definition, self._ensemble = saved.load(self.folder)
        self.tasks = {task: tuple(of) for task, of in self.definition.tasks.items()}
        trained = {level for of in self.definition.level_counts.values() for level in of}
        self.levels = tuple(sorted(trained))
        self._rendering = rendering(self.definition.data)

    def classify(
        self, images: Picture | Sequence[Picture], level: str | Sequence[str] | None = None
    ) -> dict[str, ClassProbabilities]:
        """Probabilities of the classes of every task, by its name.

        Each is `(probabilities, classes)`: float32 [B, K], one row an image, and the K names of
        its columns. They are the probabilities that were measured, and not calibrated;
        `definition.temperatures` has what calibrates them. A task of patients asks of a patient:
        its answer is the mean over the patient's images.

        Args:
          images: as for `Model.encode_image`.
          level: the disc that the images show, one of `levels`, or one for each image. It may be
            left out only where the classifier knows a single one.

        Raises:
          FileNotFoundError: there is no file of a path.
          ValueError: an image as for `Model.encode_image`; a level is missing, or is none that the
            classifier was trained on.
        """
        slices = slices_of(images)
        levels = self._levels(level, len(slices))
        if not slices:
            empty = {task: np.zeros((0, len(of))) for task, of in self.tasks.items()}
            return self._named(empty)

        def stored(places: np.ndarray) -> np.ndarray:
            return np.stack([stored_slice(slices[place], self._rendering) for place in places])

        found = self._named(self._ensemble.probabilities(stored, one_hot(levels)))
        warn_of_unlike(slices, self.definition.data)
        return found

    def _named(self, probabilities: dict[str, np.ndarray]) -> dict[str, ClassProbabilities]:
        return {
            task: ClassProbabilities(probabilities[task].astype(np.float32), classes)
            for task, classes in self.tasks.items()
        }

    def _levels(self, level: str | Sequence[str] | None, count: int) -> np.ndarray:
        known = ", ".join(self.levels)
        if level is None:
            if len(self.levels) > 1:
                raise ValueError(
                    f"the level is missing: this classifier was trained on {known}; say which disc "
                    f"the images show, as in level={self.levels[0]!r}, or give one for each image"
                )
            level = self.levels[0]
        if not isinstance(level, Iterable):
            raise ValueError(f"level {level!r} is none this classifier was trained on: {known}")
        levels = [level] * count if isinstance(level, str) else [*map(str, level)]
        if len(levels) != count:
            raise ValueError(f"{len(levels)} levels came with {count} images: give one for each")
        for each in levels:
            if each not in self.levels:
                raise ValueError(f"level {each!r} is none this classifier was trained on: {known}")
        return np.array(levels, dtype=str)

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured when training ended; empty where that is not in the folder.

        Raises:
          ValueError: the file is damaged.
        """
        path = self.folder / METRICS_FILE
        return metrics_file.read_metrics(path) if path.is_file() else {}

    def dataset(self, folder: str | pathlib.Path = "") -> Dataset:
        """Its own data set with the splits it was trained on, or another one with its own splits.

        Raises:
          FileNotFoundError, ValueError: as `Dataset`; an export does not know where its own is.
        """
        folder = folder or self.definition.data_dir
        if not folder:
            raise ValueError(f"--data_dir is missing: {self.folder} does not name its data set")
        dataset = Dataset(folder, check_shards=True)
        resplit = self.definition.data.get("resplit", "")
        return Dataset(folder, resplit) if resplit and self._is_own(dataset) else dataset

    def _is_own(self, dataset: Dataset) -> bool:
        return not content.difference(self.definition.data, dataset.manifest)

    def cautions(self, dataset: Dataset, split: str) -> dict[str, float]:
        """What a file of metrics on a split should begin with, as `Run.cautions`.

        On its own data set patients are counted where it starts from a run that was trained on
        another one: that may have had the patients of this one's test split.
        """
        if self._is_own(dataset) and not self.definition.begun_from.get("on_other_data"):
            return dataset.cautions
        path = self.folder / trained_patients.FILE
        if not path.is_file():
            log.warning(
                "%s has no list of the patients it was trained on, who may be in %s: %s",
                self.folder,
                dataset.folder,
                "fine-tune again from a run that has one",
            )
            return dataset.cautions
        trained, key = trained_patients.read(path), self.definition.data.get("key_fingerprint")
        return dataset.cautions | trained_patients.cautions(
            "the classifier", trained, key, dataset, split
        )

    def measured(self, dataset: Dataset, split: str, **bootstrap) -> tuple[dict[str, float], Kept]:
        """The numbers that `finetune` gives, of a split of any data set, and what is behind them.

        What depends on training, the temperatures and the baseline of level alone, is that of the
        classifier's training. Tasks without enough labels are left out and named in the log.

        Args:
          dataset: what is measured.
          split: of it.
          **bootstrap: options of `estimates`.

        Raises:
          ValueError: there is no such split, no task can be measured on it, or the data set knows
            none of a name or calls its classes otherwise.
        """
        prefix = f"{split}/{self.definition.name}"
        columns = dataset.columns(split)
        labelled = {
            name: LabelledRows.of(columns, self._task(dataset, name, classes))
            for name, classes in self.tasks.items()
        }
        skipped = {name: {split: of} for name, of in labelled.items() if not of.suffice}
        if len(skipped) == len(labelled):
            name, splits = next(iter(skipped.items()))
            raise ValueError(
                f"{name} cannot be measured on {dataset.folder}: {shortage(splits)}; choose "
                "another --data_dir or --split"
            )
        warn_of_skipped(prefix, len(labelled), skipped)
        tasks = tuple(dataset.tasks[name] for name in labelled if name not in skipped)
        examples = Examples.of(dataset, split, tasks)
        self._warn_of_other_images(dataset, examples)
        found = measuring.answers(self._ensemble, self.definition.fitted, examples)
        return measuring.measured(self.definition.name, split, found, **bootstrap)

    def _task(self, dataset: Dataset, name: str, classes: tuple[str, ...]) -> Task:
        task = dataset.tasks.get(name)
        if task is None or task.classes != classes:
            has = "no labels of it" if task is None else f"the classes {', '.join(task.classes)}"
            raise ValueError(
                f"{self.folder} answers {name} with {', '.join(classes)}, and {dataset.folder} has "
                f"{has}: give it a label column of this name with these classes, or measure "
                "another data set"
            )
        return task

    def _warn_of_other_images(self, dataset: Dataset, examples: Examples) -> None:
        own, other = self.definition.data["image"], dataset.manifest["image"]
        if own != other:
            log.warning(
                "the images of %s are %s, those the classifier was trained on %s",
                dataset.folder,
                other,
                own,
            )
        if unknown := int((~np.isin(examples.columns.level, self.levels)).sum()):
            log.warning(
                "%d of %d images show another level than those the classifier was trained on (%s)",
                unknown,
                len(examples),
                ", ".join(self.levels),
            )
