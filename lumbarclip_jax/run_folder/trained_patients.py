"""Whom a run was trained on, so that it is not measured on them unsaid.

Kept are digests of the data set's pseudonyms, sorted, one a line: they find a patient again in any
data set built with the same key, and name nobody's record to who has the run alone.
"""

import hashlib
import logging
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from lumbarclip_jax.data.dataset import Dataset

FILE = "trained_patients.txt"
CAUTION = "TRAINED_ON_MEASURED_PATIENTS"

log = logging.getLogger(__name__)


def digests(patient_id: np.ndarray | Sequence[str]) -> frozenset[str]:
    """16 hex digits for each patient."""
    return frozenset(
        hashlib.sha256(str(patient).encode()).hexdigest()[:16] for patient in np.unique(patient_id)
    )


def text(patients: Iterable[str]) -> str:
    """What `FILE` holds."""
    return "".join(f"{patient}\n" for patient in sorted(patients))


def read(path: pathlib.Path) -> frozenset[str]:
    """Reads a file of `text`.

    Raises:
      ValueError: it holds something else.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or not all(re.fullmatch("[0-9a-f]{16}", line) for line in lines):
        raise ValueError(
            f"{path} is cut or damaged: delete it, and run the training command once more, which "
            "writes it anew"
        )
    return frozenset(lines)


def cautions(
    subject: str,
    trained: frozenset[str],
    key_fingerprint: str | None,
    dataset: Dataset,
    split: str,
) -> dict[str, float]:
    """How many of the patients of a split are in `trained`, as a caution; nothing if none is.

    Says so in the log, also where pseudonyms of another key hide it.

    Args:
      subject: of the sentence: "the run".
      trained: digests of the patients it was trained on.
      key_fingerprint: of the key of their pseudonyms, where that is known.
      dataset: what is measured.
      split: of it.
    """
    measured = digests(dataset.columns(split).patient_id)
    if known := len(trained & measured):
        log.warning(
            "%s was trained on %d of the %d patients of %s in %s: what is measured on them is what "
            "it remembers",
            subject,
            known,
            len(measured),
            split,
            dataset.folder,
        )
        return {CAUTION: float(known)}
    keys = [key_fingerprint, dataset.manifest.get("key_fingerprint")]
    if None not in keys and keys[0] != keys[1]:
        log.warning(
            "the patients of %s have pseudonyms of another key than those %s was trained on: "
            "whether some are the same cannot be told",
            dataset.folder,
            subject,
        )
    return {}


def warning(trained_on: int, subject: str = "the run") -> str:
    """What a page or a card says of numbers with this caution."""
    return (
        f"Among the patients that were measured are {trained_on} whom {subject} was trained on: "
        "such numbers show what it remembers."
    )
