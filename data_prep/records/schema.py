"""What a record of a data set may say: the names of its splits, levels, planes and sequences."""

from data_prep.records.levels import LUMBAR

NAME = "lumbar_mri"
VERSION = "1.0.0"
SCHEMA_VERSION = 1

SPLITS = ("train", "validation", "test")
# `report_source`: by a doctor, or made from grades where a source has no reports.
WRITTEN, TEMPLATED = "written", "templated"
# The level of an axial view: the three lowest discs, which lumbar protocols aim at.
LEVELS = LUMBAR[-3:]
# The level of a sagittal view, which shows every disc.
WHOLE_SPINE = "all"
PLANES = ("axial", "sagittal")
SEQUENCES = ("T1", "T2")


def split_named(text: str) -> str | None:
    """The split that "Train", "valid", "val" or "dev" means, or None."""
    name = text.strip().lower()
    name = "validation" if name in ("valid", "val", "dev") else name
    return name if name in SPLITS else None
