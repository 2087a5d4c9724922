"""One pass over a data set that counts what its audit page shows."""

import collections
import dataclasses
import hashlib
import itertools
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_prep.label_reports.sections import Splitter
from data_prep.records import schema
from data_prep.records.findings import FINDINGS, STATUS
from data_prep.records.tasks import IMAGE

PLACEHOLDER = re.compile(r"\[(name|date|phone|id|place|email|link|age)\]")
LENGTH_BINS = (0, 10, 20, 40, 80, 160, 320)


@dataclasses.dataclass
class Split:
    """What one split holds. Findings and reports are counted once a patient.

    `labels` counts (task, index of the class), of a task of patients once a patient.
    """

    images: int = 0
    patients: set[str] = dataclasses.field(default_factory=set)
    views: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    grades: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    labels: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    findings: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros((len(FINDINGS), len(STATUS)), int)
    )


@dataclasses.dataclass
class Reports:
    """The reports of all splits, one a patient: lengths in words, and how often each is used."""

    words: list[int] = dataclasses.field(default_factory=list)
    groups: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    sections: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    placeholders: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    templated: int = 0

    @property
    def shared(self) -> int:
        """Patients whose report is another patient's as well."""
        return sum(count for count in self.groups.values() if count > 1)

    def length_counts(self) -> list[tuple[str, int]]:
        """(words from-to, reports) in steps that double."""
        counts, _ = np.histogram(self.words, [*LENGTH_BINS, np.inf])
        names = [f"{a}–{b - 1}" for a, b in itertools.pairwise(LENGTH_BINS)]
        return list(zip([*names, f"{LENGTH_BINS[-1]} and more"], counts.tolist(), strict=True))


@dataclasses.dataclass
class Survey:
    """What is in a data set; `pictures` holds [(key, image)] by (level, sequence)."""

    splits: dict[str, Split] = dataclasses.field(default_factory=dict)
    reports: Reports = dataclasses.field(default_factory=Reports)
    pictures: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = dataclasses.field(
        default_factory=dict
    )


def survey(folder: pathlib.Path, manifest: Mapping, pictures: int) -> Survey:
    """Reads every record once.

    Args:
      folder: the data set.
      manifest: of it.
      pictures: how many to keep of each level and sequence. Those with the smallest digest of their
        id are kept, which is a draw that comes out the same each time.
    """
    found = Survey()
    splitter = Splitter()
    tasks = manifest.get("tasks", ())
    builder: Any = tfds.builder_from_directory(folder)  # its decorators hide what it takes
    for name in manifest["splits"]:
        split = found.splits.setdefault(name, Split())
        for record in builder.as_data_source(name):
            texts = {
                key: value.decode() for key, value in record.items() if isinstance(value, bytes)
            }
            view = (texts["level"], texts["sequence"])
            split.images += 1
            split.views[view] += 1
            split.grades[int(record["grades"]["pfirrmann"])] += 1
            is_new = texts["patient_id"] not in split.patients
            split.labels.update(
                (task["name"], int(label))
                for task, label in zip(tasks, record.get("labels", ()), strict=True)
                if is_new or task["unit"] == IMAGE
            )
            _keep(found.pictures.setdefault(view, []), texts["image_id"], record["image"], pictures)
            if not is_new:
                continue
            split.patients.add(texts["patient_id"])
            split.findings[np.arange(len(FINDINGS)), record["findings"]] += 1
            _read(found.reports, splitter, texts)
    return found


def _keep(kept: list, image_id: str, image: np.ndarray, most: int) -> None:
    key = hashlib.sha256(image_id.encode()).hexdigest()
    if len(kept) < most or (kept and key < kept[-1][0]):
        kept.append((key, image[..., 0]))
        kept.sort(key=lambda item: item[0])
        del kept[most:]


def _read(reports: Reports, splitter: Splitter, texts: Mapping[str, str]) -> None:
    report = texts["report"]
    reports.words.append(len(report.split()))
    reports.groups[texts["report_group"]] += 1
    reports.sections.update({section.kind for section in splitter.sections(report)})
    reports.placeholders.update(PLACEHOLDER.findall(report))
    reports.templated += texts.get("report_source") == schema.TEMPLATED
