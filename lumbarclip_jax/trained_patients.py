"""Whom a run was trained on, so that it is not measured on them unsaid.

Kept are digests of the data set's pseudonyms, sorted, one a line: they find a patient again in any
data set built with the same key, and name nobody's record to who has the run alone.
"""

import hashlib
import pathlib
import re
from collections.abc import Iterable

import numpy as np

FILE = "trained_patients.txt"
CAUTION = "TRAINED_ON_MEASURED_PATIENTS"


def digests(patient_id: Iterable[str]) -> frozenset[str]:
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


def warning(trained_on: int) -> str:
    """What the page of a run says of numbers with this caution."""
    return (
        f"Among the patients that were measured are {trained_on} whom the run was trained on: such "
        "numbers show what it remembers."
    )
