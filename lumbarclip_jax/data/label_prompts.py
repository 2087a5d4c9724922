"""Labels in words, so that images with labels and no report join the contrast.

As CXR-CLIP (arXiv 2310.13292) turns classes into texts: a sentence a task, drawn anew each time
from wordings that say the same, in random order. `label_prompts.toml` holds them and explains its
form.
"""

import pathlib
import tomllib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_prep.records.schema import WHOLE_SPINE
from data_prep.records.tasks import UNCERTAIN_LABEL
from lumbarclip_jax.data.tasks import UNLABELLED, Task

FILE = pathlib.Path(__file__).with_suffix(".toml")
TABLES = ("presence", "class", "findings", "classes")
SIDES = ("negative", "positive", "uncertain")


class Wordings:
    """The wordings of a file, in the form of `label_prompts.toml`.

    Args:
      path: a TOML file; a table of it that is missing is that of `label_prompts.toml`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not of that form.
    """

    def __init__(self, path: str | pathlib.Path = FILE):
        self.path = pathlib.Path(path)
        own = _read(self.path)
        self._tables = _read(FILE) | own
        if unknown := set(own) - set(TABLES):
            raise ValueError(
                f"{path} has a table [{min(unknown)}], where there are [{'], ['.join(TABLES)}]"
            )
        for side in SIDES:
            self._lines("presence", side)
        self._lines("class", "any")

    def sentences(self, task: Task, label: int, level: str) -> list[str]:
        """All that may be said of a label of a task, at least one; none of what is not known.

        Args:
          task: of the data set.
          label: a class, or UNCERTAIN_LABEL or UNLABELLED.
          level: of the image.
        """
        if label == UNLABELLED:
            return []
        finding = _finding(task)
        if finding:
            side = "uncertain" if label == UNCERTAIN_LABEL else SIDES[label]
            fillers = self._tables["findings"].get(task.name, [finding])
            lines, slot = self._lines("presence", side), "finding"
        elif label == UNCERTAIN_LABEL:
            return []
        else:
            name = task.classes[label]
            fillers = self._tables["classes"].get(task.name, {}).get(name, [name])
            lines, slot = self._lines("class", "any"), "class"
        if level == WHOLE_SPINE or task.unit == "patient":
            lines = [line for line in lines if "{level}" not in line]
        made = [line.format(**{slot: of, "level": level}) for line in lines for of in fillers]
        return [text[0].upper() + text[1:] for text in made]

    def _lines(self, table: str, side: str) -> list[str]:
        lines = self._tables.get(table, {}).get(side)
        slot = "{class}" if table == "class" else "{finding}"
        if not (
            isinstance(lines, list)
            and all(isinstance(line, str) and slot in line for line in lines)
            and any("{level}" not in line for line in lines)
        ):
            raise ValueError(
                f"{self.path}: [{table}] must have {side} = [...], sentences with {slot} in each, "
                "and one of them without {level}"
            )
        return lines


class LabelPrompts:
    """Texts of the labels of rows.

    Args:
      columns: a `data.dataset.Columns` of M rows.
      tasks: whose labels are said.
      wordings: of them.
    """

    def __init__(self, columns, tasks: Sequence[Task], wordings: Wordings):
        self._tasks, self._wordings, self._level = tasks, wordings, columns.level
        self._labels = np.stack([_labels(task, columns) for task in tasks], axis=1)

    def __call__(self, row: int, rng: np.random.Generator) -> str:
        """A sentence for each label of a row, in random order; "" where it has none."""
        said = []
        for task, label in zip(self._tasks, self._labels[row], strict=True):
            if sentences := self._wordings.sentences(task, int(label), str(self._level[row])):
                said.append(sentences[rng.integers(len(sentences))])
        return " ".join(said[place] for place in rng.permutation(len(said)))

    def groups(self) -> np.ndarray:
        """[M] texts that are equal for rows of which the same is said."""
        by_image = any(task.unit != "patient" for task in self._tasks)
        return np.array(
            [
                f"labels {labels.tolist()} {level if by_image else ''}"
                for labels, level in zip(self._labels, self._level, strict=True)
            ]
        )

    @property
    def of_level(self) -> np.ndarray:
        """[M]: whether something that can be said of a row is of the disc that its image shows."""
        by_image = [task.unit != "patient" for task in self._tasks]
        said = (self._labels[:, by_image] != UNLABELLED).any(axis=1)
        return said & (self._level != WHOLE_SPINE)

    @property
    def has_some(self) -> np.ndarray:
        """[M]: whether a row has a label that can be said."""
        return (self._labels != UNLABELLED).any(axis=1)


def _labels(task: Task, columns) -> np.ndarray:
    labels = task.labels(columns)
    if task.is_uncertain is None or not _finding(task):
        return labels
    return np.where((labels == UNLABELLED) & task.is_uncertain(columns), UNCERTAIN_LABEL, labels)


def _finding(task: Task) -> str:
    """What a task asks the presence of, or ""."""
    if task.classes == ("absent", "present"):
        return task.name.replace("_", " ")
    if len(task.classes) == 2 and task.classes[0] in (f"no {task.classes[1]}", "no finding"):
        return task.classes[1]
    return task.name.replace("_", " ") if task.classes[0][:4] == "not " else ""


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
