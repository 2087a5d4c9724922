"""Fields of a training batch by name, and what of a data set each is made of.

`images` and the tokens of a text are made anew for every batch, from records. All others are
constants of a row, taken from the labels and ids of a split, which are read once.
"""

from collections.abc import Iterable

import numpy as np

from data_prep.records.schema import LEVELS
from lumbarclip_jax.data.tasks import TASKS, UNLABELLED

IMAGES = "images"
TOKENS = ("input_ids", "attention_mask")
VIEWED = (IMAGES, *TOKENS)  # views are axis 1 of these
REPORT_GROUP = "report_group"  # int32 [B], one number for equal reports
LEVEL = "level"  # float32 [B, L], see `one_hot`
LABEL = "label/"  # "label/<task>": int32 [B], a class of the task or UNLABELLED


def features(fields: Iterable[str]) -> tuple[str, ...]:
    """The features of a record that fields are made of: nothing else is read from disk."""
    fields = set(fields)
    images = ("image",) if IMAGES in fields else ()
    return images + (("report", "level") if fields & set(TOKENS) else ())


def constants(columns, fields: Iterable[str]) -> dict[str, np.ndarray]:
    """`[M, ...]` of each field that is a constant of the rows.

    Args:
      columns: a `data.dataset.Columns` of M rows.

    Raises:
      ValueError: there is no such field, or not one row has a label of a task.
    """
    named = [field for field in fields if field not in (IMAGES, *TOKENS)]
    return {field: _constant(columns, field) for field in named}


def shape(field: str, side_px: int, tokens: int) -> tuple[tuple[int, ...], type]:
    """Shape behind the batch and type of a field, with one view of slices and texts of a size."""
    if field == IMAGES:
        return (1, side_px, side_px, 1), np.uint8
    if field in TOKENS:
        return (1, tokens), np.int32
    return ((len(LEVELS),), np.float32) if field == LEVEL else ((), np.int32)


def one_hot(level: np.ndarray) -> np.ndarray:
    """`[M, 3]` float32, one column a disc level; all 0 for views that show no single one."""
    return (level[:, None] == np.array(LEVELS)).astype(np.float32)


def labels(columns, task: str) -> np.ndarray:
    """`[M]` int32, a class of the task or UNLABELLED."""
    return TASKS[task].labels(columns).astype(np.int32)


def _constant(columns, field: str) -> np.ndarray:
    if field == REPORT_GROUP:
        return np.unique(columns.report_group, return_inverse=True)[1].astype(np.int32)
    if field == LEVEL:
        return one_hot(columns.level)
    task = field.removeprefix(LABEL)
    if not field.startswith(LABEL) or task not in TASKS:
        raise ValueError(
            f"the objective reads {field!r}, which no data set has: fields of a batch are "
            f"{', '.join((IMAGES, *TOKENS, REPORT_GROUP, LEVEL))}, and {LABEL}<task> of the tasks "
            f"{', '.join(TASKS)}"
        )
    found = labels(columns, task)
    if (found == UNLABELLED).all():
        raise ValueError(
            f"the objective reads {field!r}, and no image that is trained on has a label of "
            f"{task}: leave out the term that reads it, or train on a data set with such labels"
        )
    return found
