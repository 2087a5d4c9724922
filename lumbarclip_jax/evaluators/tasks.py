"""The classification tasks: what is asked of an image, and where its label comes from.

Labels describe one disc level. Those read from the report count a finding the report does not name
at the level as absent, which is how the reports are written; a hedged one is left out. Pfirrmann
grades are read from the images, independent of the text.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

# Status codes of `findings` and `level_findings`, in the data set's manifest.
PRESENT, UNCERTAIN = 1, 3

UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class Task:
    """`labels(embedded)` gives `[M]` int: an index into `classes`, or UNLABELLED."""

    name: str
    classes: tuple[str, str]
    labels: Callable[..., np.ndarray]


def _pfirrmann_at_least(grade: int) -> Callable[..., np.ndarray]:
    def labels(embedded) -> np.ndarray:
        grades = embedded.pfirrmann.astype(np.int64)
        return np.where(grades == 0, UNLABELLED, grades >= grade)

    return labels


def _any_at_level(*findings: str) -> Callable[..., np.ndarray]:
    def labels(embedded) -> np.ndarray:
        if not (embedded.findings.any() or embedded.level_findings.any()):
            # Not one status in the split: nobody read these reports, so absence means nothing.
            return np.full(len(embedded.level), UNLABELLED)
        columns = [list(embedded.level_names).index(finding) for finding in findings]
        status = embedded.level_findings[:, columns]
        present = (status == PRESENT).any(axis=1)
        uncertain = (status == UNCERTAIN).any(axis=1)
        return np.where(uncertain & ~present, UNLABELLED, present)

    return labels


TASKS = {
    task.name: task
    for task in (
        Task(
            "pfirrmann_ge_3",
            ("grade 1-2", "grade 3-5"),
            _pfirrmann_at_least(3),
        ),
        Task(
            "disc_displacement",
            ("not displaced", "displaced"),
            _any_at_level("disc_bulge", "disc_protrusion", "disc_extrusion", "disc_herniation"),
        ),
        Task(
            "compression",
            ("not compressed", "compressed"),
            _any_at_level("thecal_sac_compression", "nerve_root_compression"),
        ),
    )
}
