"""Which rows make a batch, in endless order."""

import logging
from collections.abc import Sequence

import grain
import numpy as np

log = logging.getLogger(__name__)


def alike(
    kinds: Sequence[np.ndarray], used: np.ndarray, batch_size: int, split: str, flags: Sequence[str]
) -> list[np.ndarray]:
    """Rows that share batches because they are of one kind in every respect.

    Rows of a kind that does not fill a batch are left out, and named in the log.

    Args:
      kinds: names [M] of the kind of every row, one array a respect.
      used: rows that are trained on.
      batch_size: of all processes.
      split: for messages.
      flags: of the config that ask for each respect.

    Raises:
      ValueError: no kind fills a batch.
    """
    if not kinds:
        return [used]
    names, kind_of = np.unique(np.stack([of[used] for of in kinds]), axis=1, return_inverse=True)
    rows_of = {", ".join(name): used[kind_of == kind] for kind, name in enumerate(names.T)}
    small = {name: len(rows) for name, rows in rows_of.items() if len(rows) < batch_size}
    told = "; ".join(f"{name} ({count} images)" for name, count in small.items())
    off = " or ".join(f"--config.data.{flag}=False" for flag in flags)
    remedy = f"lower --config.data.global_batch_size, or set {off}"
    what = " and ".join(flag.removeprefix("one_").removesuffix("_a_batch") for flag in flags)
    what = what.replace("_", " ")
    if len(small) == len(rows_of):
        raise ValueError(
            f"no {what} of the {split} split fills a batch of {batch_size}: {told}; {remedy}"
        )
    if small:
        log.warning(
            "%d of the %d images of %s are never trained on, whose %ss do not fill a batch of %d: "
            "%s; to train on them %s",
            sum(small.values()),
            len(used),
            split,
            what,
            batch_size,
            told,
            remedy,
        )
    return [rows for name, rows in rows_of.items() if name not in small]


def endless(
    parts: Sequence[np.ndarray],
    data_sets: Sequence[tuple[np.ndarray, float]],
    batch_size: int,
    seed: int,
) -> grain.MapDataset:
    """Batches of rows [batch_size], each of one part, in an order that the seed draws.

    Every epoch of a part is a new permutation; the rows that do not fill a last batch are left out
    of that epoch. Rows of several data sets in one part meet in its batches.

    Args:
      parts: rows that share batches.
      data_sets: rows of each, and how often they are drawn, relative to the others.
      batch_size: of all processes.
      seed: of the order.
    """
    count = sum(len(rows) for rows, _ in data_sets)
    total = sum(weight for _, weight in data_sets)
    number, weight_of = np.zeros(count, int), np.ones(count)
    for index, (rows, weight) in enumerate(data_sets):
        number[rows] = index
        weight_of[rows] = weight * count / (total * len(rows))

    def of_part(part: np.ndarray) -> grain.MapDataset:
        each = [part[number[part] == index] for index in np.unique(number[part])]
        shuffled = [grain.MapDataset.source(rows.tolist()).shuffle(seed) for rows in each]
        if len(each) == 1:
            return shuffled[0].batch(batch_size, drop_remainder=True).repeat()
        mixed = grain.MapDataset.mix(
            [rows.repeat() for rows in shuffled],
            weights=[float(weight_of[rows].sum()) for rows in each],
        )
        return mixed.batch(batch_size, drop_remainder=True)

    return grain.MapDataset.mix(
        [of_part(part) for part in parts],
        weights=[float(weight_of[part].sum()) for part in parts],
    )
