"""The rows of a split by study: texts and labels of all images of a study as those of one row.

What is said of a study holds of it as a whole. A finding has the strongest of what its images state
(present before uncertain before absent), a grade is the worst that was read, and so is a class of
two or of an order; other classes are kept where all images that have one agree. Who hedges leaves
open whether it is worse: a class below the last is then uncertain.
"""

import dataclasses

import numpy as np

from data_prep.records.findings import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN
from data_prep.records.schema import WHOLE_SPINE
from data_prep.records.tasks import NO_LABEL, UNCERTAIN_LABEL
from lumbarclip_jax.data.dataset import Columns
from lumbarclip_jax.data.tasks import TASKS, Task

# The weakest first.
STRENGTH = np.array([NOT_MENTIONED, ABSENT, UNCERTAIN, PRESENT], np.uint8)


def by_study(columns: Columns) -> Columns:
    """One row a study, in the order of `Columns.study`.

    Its `image_id` is that of the study. Its level is WHOLE_SPINE where its images show several, and
    of several sequences it has all names, as in "T1+T2". The images of a study have one patient and
    one report, which are its own.
    """
    study = columns.study
    first = np.unique(study, return_index=True)[1]
    own = [task for name, task in columns.tasks.items() if name not in TASKS]
    labels = [_united(columns.own_labels[:, k], study, task) for k, task in enumerate(own)]
    levels = (of[0] if len(of) == 1 else WHOLE_SPINE for of in _of(columns.level, study))
    pfirrmann = np.zeros(len(first), columns.pfirrmann.dtype)
    np.maximum.at(pfirrmann, study, columns.pfirrmann)
    return dataclasses.replace(
        columns.take(first),
        image_id=columns.study_id[first],
        level=np.array([*levels]),
        sequence=np.array(["+".join(of) for of in _of(columns.sequence, study)]),
        findings=_strongest(columns.findings, study),
        level_findings=_strongest(columns.level_findings, study),
        pfirrmann=pfirrmann,
        own_labels=np.stack(labels, axis=1) if labels else columns.own_labels[first],
    )


def _of(values: np.ndarray, study: np.ndarray) -> list[np.ndarray]:
    """The distinct values of each study, ascending."""
    distinct, value = np.unique(values, return_inverse=True)
    has = np.zeros((study.max() + 1, len(distinct)), bool)
    has[study, value] = True
    return [distinct[row] for row in has]


def _strongest(status: np.ndarray, study: np.ndarray) -> np.ndarray:
    strongest = np.zeros((study.max() + 1, status.shape[1]), np.int64)
    np.maximum.at(strongest, study, np.argsort(STRENGTH)[status])
    return STRENGTH[strongest].astype(status.dtype)


def _united(labels: np.ndarray, study: np.ndarray, task: Task) -> np.ndarray:
    """The label of every study, or a code for none."""
    count = study.max() + 1
    highest, hedged = np.full(count, NO_LABEL, labels.dtype), np.zeros(count, bool)
    np.maximum.at(highest, study, np.maximum(labels, NO_LABEL))
    np.logical_or.at(hedged, study, labels == UNCERTAIN_LABEL)
    last = len(task.classes) - 1
    if task.ordered or last == 1:
        return np.where(hedged & (highest < last), UNCERTAIN_LABEL, highest).astype(labels.dtype)
    known = labels >= 0
    lowest = np.full(count, last, labels.dtype)
    np.minimum.at(lowest, study[known], labels[known])
    disagree = (highest >= 0) & (lowest != highest)
    united = np.where(disagree, NO_LABEL, np.where(hedged, UNCERTAIN_LABEL, highest))
    return united.astype(labels.dtype)
