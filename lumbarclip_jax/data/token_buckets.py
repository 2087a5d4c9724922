"""Batches of texts of about one length, padded to that length and not to the longest allowed."""

import logging
from collections.abc import Sequence

import numpy as np

from lumbarclip_jax.data.tokenizer import Tokenizer

log = logging.getLogger(__name__)

CHUNK = 1_024  # texts tokenized at a time, which bounds the memory


def token_lengths(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Tokens of each text before padding, [CLS] and [SEP] included, int64 [len(texts)]."""
    starts = range(0, len(texts), CHUNK)
    masks = (tokenizer(texts[start : start + CHUNK])["attention_mask"] for start in starts)
    return np.concatenate([np.zeros(0, int), *(mask.sum(axis=1) for mask in masks)])


def cut(tokens: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """Tokens [M, T] of a `Tokenizer` as one with `width` tokens gives them: [SEP] ends each text.

    Texts longer than that are those that a perturbation made longer than all of their record.
    """
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    lengths = mask.sum(axis=1)
    longer = np.flatnonzero(lengths > width)
    ids[longer, width - 1] = ids[longer, lengths[longer] - 1]
    return {"input_ids": ids[:, :width], "attention_mask": mask[:, :width]}


def divide_by_length(
    parts: list[np.ndarray], lengths: np.ndarray, buckets: Sequence[int], least: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Divides parts of a data set further, so that all texts of a part are padded to one length.

    A part of fewer than `least` rows is joined to that of the next larger bucket, the largest to
    the one before: some texts are then padded to more than they need, and none is left out.

    Args:
      parts: rows of the data set, each row in one part at most.
      lengths: tokens of the text of every row, [M].
      buckets: lengths in ascending order, none of the texts longer than the last.
      least: rows of a part that is divided.

    Returns:
      The new parts, and the bucket of every row, [M]; the last one for rows that are in no part.
    """
    widths = np.full(len(lengths), buckets[-1])
    divided = []
    for part in parts:
        for rows, bucket in _buckets_of(part, lengths, buckets, least):
            widths[rows] = bucket
            divided.append(rows)
    _log_padding(np.concatenate(divided), lengths, widths, buckets)
    return divided, widths


def _buckets_of(part, lengths, buckets, least) -> list[tuple[np.ndarray, int]]:
    fitting = np.searchsorted(buckets, lengths[part])
    found: list[tuple[np.ndarray, int]] = []
    waiting = part[:0]
    for index, bucket in enumerate(buckets):
        waiting = np.union1d(waiting, part[fitting == index])
        if len(waiting) >= least:
            found.append((waiting, bucket))
            waiting = part[:0]
    if len(waiting):
        bucket = buckets[np.searchsorted(buckets, lengths[waiting].max())]
        before = found.pop()[0] if found else part[:0]
        found.append((np.union1d(before, waiting), bucket))
    return found


def _log_padding(rows, lengths, widths, buckets) -> None:
    counts = ", ".join(f"{(widths[rows] == bucket).sum():,} to {bucket}" for bucket in buckets)
    log.info(
        "reports padded to tokens: %s; padding is %.0f %% of them, without buckets %.0f %%",
        counts,
        100 * (1 - lengths[rows].sum() / widths[rows].sum()),
        100 * (1 - lengths[rows].mean() / buckets[-1]),
    )
