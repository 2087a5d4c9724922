"""Pixels that fill a picture up beyond what was scanned (PS3.3 C.7.5.1.1.2)."""

import numpy as np
import pydicom

from data_prep.images import fields

FIELDS = ("PixelPaddingRangeLimit", "PixelPaddingValue")


def padded(
    dataset: pydicom.Dataset, stored: np.ndarray, values: np.ndarray, *, displayed: bool
) -> np.ndarray | None:
    """Which pixels are padding, bool [H, W]; None where none is, or where it does no harm.

    Args:
      dataset: with `FIELDS`.
      stored: the values of the file, [H, W].
      values: what is made of them, brighter meaning more signal, [H, W].
      displayed: whether `values` lie between black (0) and white (1).

    Raises:
      Rejected: a field is no number.
    """
    if fields.number(dataset, "PixelPaddingValue") is None:
        return None
    ends = [number for name in FIELDS if (number := fields.number(dataset, name)) is not None]
    # Many are written under the wrong sign: -2000 as 63536, 32768 as -32768.
    if stored.dtype.kind == "i":
        ends = [(end + 2**15) % 2**16 - 2**15 for end in ends]
    first, last = min(ends), max(ends)
    # Of unsigned pixels, values from -2000 to 0 are those from 63536 to 65535, and 0.
    mask = (stored.astype(np.int32) - int(first)) % 2**16 <= last - first
    harmless = not mask.any() or _is_no_signal(stored, values, mask, displayed=displayed)
    return None if harmless else mask


def _is_no_signal(
    stored: np.ndarray, values: np.ndarray, mask: np.ndarray, *, displayed: bool
) -> bool:
    """Whether padding cannot be told from air: many scanners name 0, which is no signal too.

    It then lies below all else by no more than that spans, and is black as it is.
    """
    if stored[mask].any() or mask.all():
        return False
    zero, others = values[mask].max(), values[~mask]
    lowest = others.min()
    return lowest - np.ptp(others) <= zero <= lowest and (zero == 0 or not displayed)
