"""The classes of images, patients and reports, and how many of a query's nearest share its class.

All tasks are counted in one pass over the scores, a block of queries at a time, so that the matrix
of all scores is never held.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from lumbarclip_jax.data.tasks import UNLABELLED
from lumbarclip_jax.evaluators.ranking import RECALL_AT, on_cores, tie_steps
from lumbarclip_jax.evaluators.reports import Reports
from lumbarclip_jax.evaluators.task_rows import LabelledRows

# Scores that every core orders at once: 16 MB of float32, and a few times that on the way.
BLOCK_ELEMENTS = 2**22


@dataclasses.dataclass(frozen=True)
class Sides:
    """The classes of N images or patients and of G reports in one task, at A places.

    A query and a candidate meet at the places where both have a class. A task of patients has one
    place; one of images a place for each disc level, where only the images of that level have a
    class, and a report that of its own images there.
    """

    images: np.ndarray  # [A, N] int, a class or UNLABELLED
    texts: np.ndarray  # [A, G]

    @classmethod
    def by_image(cls, rows: LabelledRows, reports: Reports) -> "Sides":
        """Every image for itself."""
        labels = _of_all(rows)
        place = np.zeros(len(labels), np.int64)
        if rows.task.unit == "image":
            _, place = np.unique(rows.columns.level, return_inverse=True)
        places, texts = place.max() + 1, len(reports.first_row)
        images = np.full((places, len(labels)), UNLABELLED, labels.dtype)
        images[place, np.arange(len(labels))] = labels
        owner = place * texts + reports.report_of_row
        return cls(images, _highest(labels, owner, places * texts).reshape(places, texts))

    @classmethod
    def by_patient(cls, rows: LabelledRows, reports: Reports) -> "Sides":
        """The highest class of a patient's images, and of a report's, as classification has it."""
        labels = _of_all(rows)
        patients, patient_of_row = np.unique(rows.columns.patient_id, return_inverse=True)
        return cls(
            _highest(labels, patient_of_row, len(patients))[None],
            _highest(labels, reports.report_of_row, len(reports.first_row))[None],
        )


@dataclasses.dataclass(frozen=True)
class Found:
    """What M queries of one task found; `same` and `candidates` count at the query's own place."""

    label: np.ndarray  # [M] class of the query
    patient_id: np.ndarray  # [M]
    hits: np.ndarray  # [M, K] how many of the nearest 1, 5 and 10 have it
    same: np.ndarray  # [M] candidates of this class
    candidates: np.ndarray  # [M]

    @property
    def shares(self) -> dict[str, np.ndarray]:
        """`precision_at_<k>` and `recall_at_<k>` of every query `[M]`.

        Where there are fewer than k candidates precision is that of all. A query of whose class
        there is no candidate has no recall.
        """
        nearest = np.minimum(RECALL_AT, self.candidates[:, None])
        return self._named(self.hits / nearest, self.hits / self._sought[:, None])

    @property
    def chance(self) -> dict[str, np.ndarray]:
        """The same of a model that orders the candidates blindly: what is expected, exactly."""
        nearest = np.minimum(RECALL_AT, self.candidates[:, None])
        prevalence = (self.same / self.candidates)[:, None]
        defined = self._sought[:, None] / self._sought[:, None]
        return self._named(
            np.broadcast_to(prevalence, nearest.shape), nearest / self.candidates[:, None] * defined
        )

    @property
    def _sought(self) -> np.ndarray:
        return np.where(self.same == 0, np.nan, self.same)

    @staticmethod
    def _named(precision: np.ndarray, recall: np.ndarray) -> dict[str, np.ndarray]:
        return {
            f"{name}_at_{k}": values
            for name, table in (("precision", precision), ("recall", recall))
            for k, values in zip(RECALL_AT, table.T, strict=True)
        }


def found_by_class(
    scores_of: Callable[[np.ndarray], np.ndarray],
    asked: Sequence[np.ndarray],
    known: Sequence[np.ndarray],
    patient_id: np.ndarray,
) -> list[Found]:
    """Asks every labelled query for candidates of its class; one `Found` a task.

    Ties count against the model: of equally near candidates those of other classes come first.

    Args:
      scores_of: rows of queries `[B]` to their scores with all candidates `[B, N]` float32.
      asked: of each task the classes of the queries `[A, Q]`.
      known: of each task the classes of the candidates `[A, N]`.
      patient_id: `[Q]` of the queries.
    """
    queries = np.arange(len(patient_id))
    block = max(1, BLOCK_ELEMENTS // known[0].shape[1])
    blocks = [queries[start : start + block] for start in range(0, len(queries), block)]

    def count(rows: np.ndarray) -> list[np.ndarray]:
        steps = tie_steps(scores_of(rows))
        return [
            _hits(steps, classes[:, rows], candidates)
            for classes, candidates in zip(asked, known, strict=True)
        ]

    each = zip(*on_cores(count, blocks), strict=True)
    return [
        _found(np.concatenate(hits, axis=1), classes, candidates, patient_id)
        for hits, classes, candidates in zip(each, asked, known, strict=True)
    ]


def _hits(steps: np.ndarray, asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`[A, B, K]` for queries `[A, B]` and candidates `[A, N]`, nearer in more `steps` `[B, N]`."""
    hits = np.zeros((*asked.shape, len(RECALL_AT)), np.int64)
    for place, (of_queries, of_candidates) in enumerate(zip(asked, known, strict=True)):
        rows = np.flatnonzero(of_queries != UNLABELLED)
        columns = np.flatnonzero(of_candidates != UNLABELLED)
        if not len(rows) or not len(columns):
            continue
        # The lowest bit carries the answer through the ordering, which is then one of integers.
        same = of_queries[rows, None] == of_candidates[columns]
        keys = same - 2 * steps[np.ix_(rows, columns)]
        deepest = min(RECALL_AT[-1], len(columns))
        keys.partition(deepest - 1, axis=1)
        nearest = np.sort(keys[:, :deepest], axis=1) & 1
        hits[place, rows] = nearest.cumsum(axis=1)[:, np.minimum(RECALL_AT, deepest) - 1]
    return hits


def _found(hits: np.ndarray, asked: np.ndarray, known: np.ndarray, patient_id: np.ndarray) -> Found:
    place, query = np.nonzero(asked != UNLABELLED)
    label = asked[place, query]
    of_class = np.stack([(known == c).sum(axis=1) for c in range(label.max() + 1)], axis=1)
    return Found(
        label=label,
        patient_id=patient_id[query],
        hits=hits[place, query],
        same=of_class[place, label],
        candidates=(known != UNLABELLED).sum(axis=1)[place],
    )


def _of_all(rows: LabelledRows) -> np.ndarray:
    """A class or UNLABELLED for every row of the split."""
    labels = np.full(len(rows.columns.level), UNLABELLED, np.int16)
    labels[rows.rows] = rows.labels
    return labels


def _highest(labels: np.ndarray, owner: np.ndarray, owners: int) -> np.ndarray:
    """The highest of the labels `[M]` of every owner `[M]`; UNLABELLED where none has one."""
    highest = np.full(owners, UNLABELLED, labels.dtype)
    np.maximum.at(highest, owner, labels)
    return highest
