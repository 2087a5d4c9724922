"""What the records of a data set are, counted as they are written."""

import collections
import logging
from collections.abc import Mapping, Sequence

from data_prep.build.shards import Row
from data_prep.records import schema
from data_prep.records.texts import KINDS, TEXTS

log = logging.getLogger(__name__)


class Tally:
    """Counts the records of a split."""

    def __init__(self):
        self._images = 0
        self._patients: dict[str, str] = {}
        self._groups: set[str] = set()

    def add(self, rows: Sequence[Row]) -> None:
        self._images += len(rows)
        for row in rows:
            self._patients[row.features["patient_id"]] = row.features["report_source"]
            self._groups.add(row.features["report_group"])

    def counts(self) -> dict[str, int]:
        sources = collections.Counter(self._patients.values())
        return {
            "images": self._images,
            "patients": len(self._patients),
            "report_groups": len(self._groups),
            "templated_reports": sources[schema.TEMPLATED],
        }


class Words:
    """The reports and further texts of all splits."""

    def __init__(self):
        self._splits_of: dict[str, set[str]] = {}  # report_group -> of written reports
        self._reports: dict[str, str] = {}  # patient -> report, of training
        self._texts: dict[tuple[str, str], None] = {}  # (patient, text), of training
        self._kinds: dict[tuple[str, str], str] = {}  # (patient, text) -> kind

    def add(self, split: str, rows: Sequence[Row]) -> None:
        for row in rows:
            features, patient = row.features, row.features["patient_id"]
            if features["report_source"] == schema.WRITTEN:
                self._splits_of.setdefault(features["report_group"], set()).add(split)
            kind_of = dict(zip(features.get(TEXTS, ()), features.get(KINDS, ()), strict=True))
            for text, kind in kind_of.items():
                self._kinds.setdefault((patient, text), kind)
            if split == "train":
                self._reports[patient] = features["report"]
                self._texts |= dict.fromkeys((patient, text) for text in kind_of)

    def of_training(self) -> list[str]:
        """What the vocabulary is learnt from: the report and the further texts of each patient."""
        return [*self._reports.values(), *(text for _, text in self._texts)]

    def kinds(self) -> dict[str, int]:
        """The manifest's number of further texts of each kind, each once a patient."""
        return dict(sorted(collections.Counter(self._kinds.values()).items()))

    def apart(self) -> dict[str, int]:
        """The manifest's entry on written reports that are in several splits, where some are."""
        apart = sum(len(splits) > 1 for splits in self._splits_of.values())
        if not apart:
            return {}
        log.warning(
            "%d different reports are in several splits, as --split_file has their patients: a "
            "model has read such a report of a held-out patient in training",
            apart,
        )
        return {"report_groups_apart": apart}


def nested(views: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """The manifest's `views`: plane -> sequence -> number of images."""
    found: dict[str, dict[str, int]] = {}
    for (plane, sequence), images in sorted(views.items()):
        found.setdefault(plane, {})[sequence] = images
    return found
