"""Fields of a training batch by name, and what of a data set each is made of.

`images`, the tokens of a text and what is known of that text are made anew for every batch, from
records. All others are constants of a row, taken from the labels and ids of a split, which are read
once.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_prep.records.schema import LEVELS
from data_prep.records.texts import LABELS as TEXT_LABELS
from lumbarclip_jax.data.tasks import TASKS, UNLABELLED, Task
from lumbarclip_jax.data.text_draws import Drawn

IMAGES = "images"
TOKENS = ("input_ids", "attention_mask")
VIEWED = (IMAGES, *TOKENS)  # views are axis 1 of these
REPORT_GROUP = "report_group"  # int32 [B], one number for equal reports
LEVEL = "level"  # float32 [B, L], see `one_hot`
# Of a task, "label/<task>" and so on, an image or a patient at a time:
LABEL = "label/"  # int32 [B], a class of the task or UNLABELLED
CLASSES = "classes/"  # float32 [B, K], one-hot; all 0 where there is no label
SIGNS = "signs/"  # float32 [B, 1] of two classes: 1 the last, -1 the first, 0 no label
OF_TASK = (LABEL, CLASSES, SIGNS)
# "text/classes/<task>", "text/signs/<task>", [B, W, ...]: the same of the texts of a pair, one a
# view, which may have labels of their own.
OF_TEXT = "text/"


def features(fields: Iterable[str]) -> tuple[str, ...]:
    """The features of a record that fields are made of: nothing else is read from disk."""
    fields = set(fields)
    images = ("image",) if IMAGES in fields else ()
    return images + (("report", "level") if fields & set(TOKENS) else ())


def constants(columns, fields: Iterable[str]) -> dict[str, np.ndarray]:
    """`[M, ...]` of each field that is a constant of the rows.

    For "text/classes/<task>" there is "classes/<task>", of texts without labels of their own.

    Args:
      columns: a `data.dataset.Columns` of M rows.

    Raises:
      ValueError: there is no such field, or not one row has a label of a task.
    """
    made_anew = (IMAGES, *TOKENS)
    named = dict.fromkeys(field.removeprefix(OF_TEXT) for field in fields if field not in made_anew)
    return {field: _constant(columns, field) for field in named}


def of_drawn(
    field: str,
    of_images: np.ndarray,
    records: Sequence[Mapping],
    drawn: Sequence[Sequence[Drawn]],
    tasks: Mapping[str, Task],
) -> np.ndarray:
    """A field of texts, [b, W, ...], from that of their images [b, ...].

    Args:
      field: "text/classes/<task>" or the like.
      of_images: what a text has that has no label of its own.
      records: the b records, with the labels of their further texts where these were read.
      drawn: W texts of each.
      tasks: of the data set.
    """
    made = np.repeat(of_images[:, None], len(drawn[0]), axis=1)
    of = field.removeprefix(OF_TEXT)
    task = of.removeprefix(next(form for form in OF_TASK if of.startswith(form)))
    own = [name for name in tasks if name not in TASKS]  # in the order of their labels
    for row, (record, texts) in enumerate(zip(records, drawn, strict=True)):
        for view, text in enumerate(texts):
            if text.place and TEXT_LABELS in record and task in own:
                label = record[TEXT_LABELS][text.place - 1][own.index(task)]
                if label >= 0:
                    made[row, view] = of_labels(of, np.array(label, np.int32), tasks)
    return made


def shape(
    field: str, side_px: int, tokens: int, views: tuple[int, int] = (1, 1)
) -> tuple[tuple[int, ...], type]:
    """Shape behind the batch and type of a field, of slices and texts of a size.

    Args:
      field: see the top of the module.
      side_px: of a stored slice.
      tokens: of a text.
      views: images and texts of a pair.

    Raises:
      ValueError: a field of a task that is a data set's own.
    """
    images, texts = views
    if field == IMAGES:
        return (images, side_px, side_px, 1), np.uint8
    if field in TOKENS:
        return (texts, tokens), np.int32
    if field == LEVEL:
        return (len(LEVELS),), np.float32
    of = field.removeprefix(OF_TEXT)
    form = next((form for form in OF_TASK if of.startswith(form)), "")
    if not form:
        return (), np.int32
    if of.removeprefix(form) not in TASKS:
        raise ValueError(f"the size of {field!r} is known to its data set alone")
    made = of_labels(of, np.zeros((texts,) if of != field else (), np.int32), TASKS)
    return made.shape, made.dtype.type


def is_of_level(field: str, tasks: Mapping[str, Task]) -> bool:
    """Whether a field is known of the disc that an image shows, and not of its patient."""
    of = field.removeprefix(OF_TEXT)
    form = next((form for form in OF_TASK if of.startswith(form)), "")
    name = of.removeprefix(form)
    return field == LEVEL or bool(form and name in tasks and tasks[name].unit != "patient")


def one_hot(level: np.ndarray) -> np.ndarray:
    """`[M, 3]` float32, one column a disc level; all 0 for views that show no single one."""
    return (level[:, None] == np.array(LEVELS)).astype(np.float32)


def labels(columns, task: str) -> np.ndarray:
    """`[M]` int32, a class of the task or UNLABELLED."""
    return columns.tasks[task].labels(columns).astype(np.int32)


def _constant(columns, field: str) -> np.ndarray:
    if field == REPORT_GROUP:
        return np.unique(columns.report_group, return_inverse=True)[1].astype(np.int32)
    if field == LEVEL:
        return one_hot(columns.level)
    form = next((form for form in OF_TASK if field.startswith(form)), "")
    task = field.removeprefix(form)
    if not form or task not in columns.tasks:
        raise ValueError(
            f"the objective reads {field!r}, which this data set does not have: fields are "
            f"{', '.join((IMAGES, *TOKENS, REPORT_GROUP, LEVEL))}, and {', '.join(OF_TASK)} with "
            f"one of the tasks {', '.join(columns.tasks)}"
        )
    found = labels(columns, task)
    if (found == UNLABELLED).all():
        raise ValueError(
            f"the objective reads {field!r}, and no image that is trained on has a label of "
            f"{task}: leave out the term that reads it, or train on a data set with such labels"
        )
    return of_labels(field, found, columns.tasks)


def of_labels(field: str, found: np.ndarray, tasks: Mapping[str, Task]) -> np.ndarray:
    """A field of a task from the labels `[...]` of it, UNLABELLED where there is none.

    Raises:
      ValueError: signs of a task that has not two classes.
    """
    form = next(form for form in OF_TASK if field.startswith(form))
    classes = tasks[field.removeprefix(form)].classes
    if form == LABEL:
        return found
    if form == CLASSES:
        return (found[..., None] == np.arange(len(classes))).astype(np.float32)
    if len(classes) != 2:
        raise ValueError(
            f"the objective reads {field!r}, and signs are of two classes, not {len(classes)}: "
            f"name its {CLASSES} instead"
        )
    signs = np.where(found == UNLABELLED, 0, 2 * found - 1)
    return signs[..., None].astype(np.float32)
