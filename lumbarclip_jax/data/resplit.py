"""Other splits of a data set than its own: folds by patient, and one that leaks on purpose.

A fold tests every patient once; its splits keep patients, and patients whose reports are equal,
together. The leaky split deals out single images and shows what a result without that care claims.

The vocabulary stays the one learnt from the stored train split, though folds test some of its
patients. It holds words and no labels, no model is fitted by it, and a word that only test reports
hold is a token whose embedding was never trained: that favours nobody.
"""

import hashlib
import re
from collections.abc import Mapping

import numpy as np

from data_prep.records.findings import PRESENT

LEAKY = "leaky"
WARNING = (
    "The splits of this run were drawn by image: slices of one patient are in train and in test. "
    "Its numbers show what such a leak would claim; they are no results."
)
FORMS = "'' for the splits of the data set, 'fold_2_of_5' for a fold by patient, or 'leaky'"

# One part in so many of the patients that a fold does not test is its validation split; a larger
# one where there are fewer groups of patients.
VALIDATION_PARTS = 8


def parse_fold(resplit: str) -> tuple[int, int] | None:
    """Reads `fold_2_of_5` as (2, 5); None for the two forms that are no folds.

    Raises:
      ValueError: none of the forms.
    """
    if resplit in ("", LEAKY):
        return None
    found = re.fullmatch(r"fold_(\d+)_of_(\d+)", resplit)
    fold, folds = map(int, found.groups()) if found else (0, 0)
    if not 1 <= fold <= folds or folds < 2:
        raise ValueError(f"data.resplit={resplit!r} is not {FORMS}")
    return fold, folds


def assign_rows(columns, resplit: str, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Rows of every split, ascending, for a form that is not empty.

    Which image goes where depends on ids and labels, never on the order of the rows.

    Args:
      columns: `Columns` of the whole data set, M rows.
      resplit: `fold_K_of_N` or `leaky`.
      sizes: images of each stored split, M in all; the leaky splits are as large.

    Raises:
      ValueError: another form, or too few patients for so many folds.
    """
    fold = parse_fold(resplit)
    if fold is None:
        order = np.argsort([_digest(image) for image in columns.image_id])
        parts = np.split(order, np.cumsum(list(sizes.values()))[:-1])
        return {split: np.sort(part) for split, part in zip(sizes, parts, strict=True)}
    number, folds = fold
    groups = _together(columns.patient_id, columns.report_group)
    labels = _labels(columns)
    everyone = np.arange(len(groups))
    is_test = deal(groups, labels, folds) == number - 1
    rest = everyone[~is_test]
    parts = max(2, min(VALIDATION_PARTS, len(np.unique(groups[rest]))))
    is_validation = deal(groups[rest], labels[rest], parts) == 0
    return {
        "train": rest[~is_validation],
        "validation": rest[is_validation],
        "test": everyone[is_test],
    }


def deal(groups: np.ndarray, labels: np.ndarray, parts: int) -> np.ndarray:
    """Deals whole groups out so that every part has its share of every label.

    The largest groups go first, each to the part that shares least with it: the sum over labels of
    (count in the part) x (count in the group) / (count in all). Those of equal size follow in an
    order drawn from their names.

    Args:
      groups: `[M]` str, the group of every row.
      labels: `[M, L]` bool, what a row counts for.
      parts: how many.

    Returns:
      The part of every row, `[M]` int.

    Raises:
      ValueError: there are fewer groups than parts.
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    if len(names) < parts:
        raise ValueError(
            f"{len(names)} groups of patients cannot be dealt out to {parts} splits: ask for "
            "fewer folds, or bring more patients"
        )
    counts = np.zeros((len(names), labels.shape[1]))
    np.add.at(counts, group_of_row, labels)
    sizes = np.bincount(group_of_row)
    scale = np.maximum(counts.sum(axis=0), 1)
    in_part = np.zeros((parts, labels.shape[1]))
    rows_in_part = np.zeros(parts)
    part_of_group = np.empty(len(names), np.int64)
    share = sizes.sum() / parts
    for group in sorted(range(len(names)), key=lambda g: (-sizes[g], _digest(names[g]))):
        # A part that has its share of the rows takes no more; what is left goes to the smallest.
        full = rows_in_part + sizes[group] > share
        overlap = in_part @ (counts[group] / scale)
        part = np.argmin(rows_in_part if full.all() else np.where(full, np.inf, overlap))
        part_of_group[group] = part
        in_part[part] += counts[group]
        rows_in_part[part] += sizes[group]
    return part_of_group[group_of_row]


def _labels(columns) -> np.ndarray:
    """`[M, L]` bool: the image itself, its Pfirrmann grade, findings at its level and in all."""
    grades = columns.pfirrmann[:, None] == np.unique(columns.pfirrmann)
    every = np.ones((len(grades), 1), bool)
    return np.hstack(
        [every, grades, columns.level_findings == PRESENT, columns.findings == PRESENT]
    )


def _together(patient_id: np.ndarray, report_group: np.ndarray) -> np.ndarray:
    """The smallest patient id of all that equal reports connect with a row's patient, `[M]`."""
    group = patient_id
    while True:
        previous = group
        for ids in (report_group, patient_id):
            order = np.lexsort((group, ids))
            first = np.flatnonzero(np.r_[True, ids[order][1:] != ids[order][:-1]])
            smallest = group[order][first]
            group = smallest[np.unique(ids, return_inverse=True)[1]]
        if (group == previous).all():
            return group


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
