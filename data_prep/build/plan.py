"""From what a source found to the rows of every shard: pairing, labels, pseudonyms, splits."""

import bisect
import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata

import numpy as np

from data_prep.build import splits
from data_prep.build.shards import Row
from data_prep.images.pixels import Rendering
from data_prep.records import schema
from data_prep.records.drops import Drop, NothingLeft, Reason
from data_prep.records.findings import LEVEL_FINDINGS, PRESENT
from data_prep.records.labels import Findings
from data_prep.records.pseudonyms import Pseudonyms
from data_prep.records.scan import ImageRef
from data_prep.records.tasks import NO_TASKS, TaskLabels
from data_prep.records.texts import NO_TEXTS, FurtherTexts
from data_prep.text.reports import report_group

CREATED_BY = f"lumbarclip_jax {metadata.version('lumbarclip_jax')}"


@dataclasses.dataclass(frozen=True)
class Labels:
    """What joins the records: findings by patient, grades by patient and level, tasks, texts."""

    findings: Mapping[str, Findings]
    grades: Mapping[str, Mapping[str, int]]
    tasks: TaskLabels = NO_TASKS
    texts: FurtherTexts = NO_TEXTS


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a build will do; equal plans give equal data sets.

    `shards` holds the rows of each shard of each split, `boundaries` the first patient of each
    shard as first planned, `patients` the source's id of each pseudonym. `digest` identifies the
    plan, the contents of its files included.
    """

    shards: Mapping[str, Sequence[Sequence[Row]]]
    boundaries: Mapping[str, Sequence[str]]
    patients: Mapping[str, str]
    drops: Sequence[Drop]
    digest: str

    def joining(self, pairs: Iterable[tuple[str, str]]) -> "Plan":
        """The plan with the two patients (pseudonyms) of each pair in one split.

        Whoever shares a written report or a file with one of them moves along, to the split that
        has most of such a group. No other patient moves, and shards keep their boundaries: the few
        that gain or lose a patient are the only new ones.

        Raises:
          ValueError: a split would lose its last patient.
        """
        rows_of: dict[str, list[Row]] = {}
        split_of: dict[str, str] = {}
        for split, shards in self.shards.items():
            for row in itertools.chain.from_iterable(shards):
                rows_of.setdefault(row.features["patient_id"], []).append(row)
                split_of[row.features["patient_id"]] = split
        traits = [
            (trait, patient)
            for patient, rows in rows_of.items()
            for row in rows
            for trait in _traits(row)
        ]
        together = splits.keep_together(
            split_of, splits.connected([*traits, *pairs]), list(self.boundaries)
        )
        shards = {
            split: _cut({p: rows_of[p] for p in rows_of if together[p] == split}, boundaries)
            for split, boundaries in self.boundaries.items()
        }
        return dataclasses.replace(self, shards=shards)


def make_plan(
    images: Sequence[ImageRef],
    reports: Mapping[str, str],
    labels: Labels,
    drops: Sequence[Drop],
    *,
    shares: Mapping[str, float],
    seed: int,
    pseudonyms: Pseudonyms,
    rendering: Rendering,
    shard_records: int,
    templated: Collection[str] = frozenset(),
    split_of: Mapping[str, str] | None = None,
) -> Plan:
    """Pairs images and reports by patient and lays the pairs out in shards.

    Shards and the records in them are in the order of the patients' pseudonyms, which tells nothing
    about the source and does not depend on the order of its files.

    Args:
      images: the images found.
      reports: patient -> report.
      labels: a patient without findings or grades gets zeros.
      drops: what was left out so far.
      shares: split -> share of the patients.
      seed: of the splits.
      pseudonyms: makes the ids of the records.
      rendering: how images will be stored; part of the digest.
      shard_records: about how many records a shard has.
      templated: the patients whose report was made from their grades and not written by a doctor.
      split_of: patient -> split, where that is not to be drawn: it stands in for `shares` and
        `seed`, and patients whom it does not name are left out.

    Raises:
      NothingLeft: there are no images.
      ValueError: no patient has both an image and a report, or a split would be empty.
    """
    if not images:
        raise NothingLeft("no image can be used", drops)
    paired, unpaired = _pair(images, reports, labels)
    if split_of is None:
        split_of = _drawn_splits(paired, reports, labels, shares, seed, templated)
    else:
        unpaired += _not_in_splits(paired, split_of)
        paired = [image for image in paired if image.patient in split_of]
        if not paired:
            raise ValueError("--split_file names no patient with an image and a report: correct it")
    patients: dict[str, str] = {}
    by_split: dict[str, dict[str, list[Row]]] = {
        split: {} for split in schema.SPLITS if split in {split_of[i.patient] for i in paired}
    }
    for image in sorted(paired, key=lambda i: (i.sequence, i.level, i.path, i.frame)):
        source = schema.TEMPLATED if image.patient in templated else schema.WRITTEN
        row = _row(image, reports[image.patient], source, labels, pseudonyms)
        patient_id = row.features["patient_id"]
        patients[patient_id] = image.patient
        by_split[split_of[image.patient]].setdefault(patient_id, []).append(row)
    boundaries = {split: _boundaries(rows, shard_records) for split, rows in by_split.items()}
    shards = {split: _cut(rows, boundaries[split]) for split, rows in by_split.items()}
    all_drops = sorted([*drops, *unpaired])
    content = {
        "drops": [dataclasses.astuple(drop) for drop in all_drops],
        "shards": {
            split: [digest_of(shard, rendering) for shard in split_shards]
            for split, split_shards in shards.items()
        },
        **labels.tasks.in_manifest(),
    }
    digest = pseudonyms("plan", json.dumps(content, sort_keys=True))
    return Plan(shards, boundaries, patients, all_drops, digest)


def digest_of(rows: Sequence[Row], rendering: Rendering) -> str:
    """32 hex digits that identify a shard by all that it is made from."""
    content = [
        CREATED_BY,
        list(rendering.stated().values()),
        [row.stated() for row in rows],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _pair(
    images: Sequence[ImageRef], reports: Mapping[str, str], labels: Labels
) -> tuple[list[ImageRef], list[Drop]]:
    pictured = {image.patient for image in images}
    paired = [image for image in images if image.patient in reports]
    if not paired:
        raise ValueError(
            f"no patient has both an image and a report ({len(pictured)} with images, "
            f"{len(reports)} with reports): check that --reports belongs to --images"
        )
    complete = pictured & reports.keys()
    drops = [
        Drop(image.path, Reason.IMAGE_WITHOUT_REPORT)
        for image in images
        if image.patient not in reports
    ]
    for what, rows, reason in (
        ("reports", reports, Reason.REPORT_WITHOUT_IMAGE),
        ("findings", labels.findings, Reason.FINDINGS_WITHOUT_IMAGE),
        ("grades", labels.grades, Reason.GRADES_WITHOUT_IMAGE),
        ("labels", labels.tasks.of_patient, Reason.LABELS_WITHOUT_IMAGE),
    ):
        drops += [Drop(f"{what} patient {patient}", reason) for patient in rows.keys() - complete]
    return paired, drops


def _stratum(findings: Findings | None) -> str:
    """Splits get equal parts of patients with and without a finding at a disc."""
    level_findings = findings.patient[: len(LEVEL_FINDINGS)] if findings else ()
    return "abnormal" if PRESENT in level_findings else "normal"


def _row(
    image: ImageRef, report: str, report_source: str, labels: Labels, pseudonyms: Pseudonyms
) -> Row:
    findings = labels.findings.get(image.patient, Findings())
    return Row(
        path=image.path,
        frame=image.frame,
        sha256=image.sha256,
        picture_mm=image.picture_mm,
        features={
            "report": report,
            "report_source": report_source,
            "level": image.level,
            "plane": image.plane,
            "sequence": image.sequence,
            "patient_id": pseudonyms("patient", image.patient),
            "study_id": pseudonyms("study", image.study),
            # A source that knows no series has one a study and sequence.
            "series_id": pseudonyms("series", image.series or f"{image.study} {image.sequence}"),
            "image_id": pseudonyms("image", image.place),
            "report_group": report_group(report),
            "findings": findings.patient,
            "level_findings": findings.at(image.level),
            "grades": {"pfirrmann": labels.grades.get(image.patient, {}).get(image.level, 0)},
        }
        | labels.tasks.features(image.patient, image.place)
        | labels.texts.features(image.patient, image.place),
    )


def _drawn_splits(
    images: Sequence[ImageRef],
    reports: Mapping[str, str],
    labels: Labels,
    shares: Mapping[str, float],
    seed: int,
    templated: Collection[str],
) -> dict[str, str]:
    """Patients with equal written reports or equal files are one group.

    Templated texts are as often equal as grades are: all healthy patients have one, and would end
    in one split.
    """
    patients = sorted({image.patient for image in images})
    report_of = {
        patient: report_group(reports[patient]) + (patient if patient in templated else "")
        for patient in patients
    }
    component_of = splits.connected(
        [
            *((report_of[patient], patient) for patient in patients),
            *((image.sha256, image.patient) for image in images),
        ]
    )
    # Groups are known by a report, so that drawing them depends on nothing else.
    name_of: dict[str, str] = {}
    for patient in patients:
        group = report_of[patient]
        name = name_of.setdefault(component_of[patient], group)
        name_of[component_of[patient]] = min(name, group)
    group_of = {patient: name_of[component_of[patient]] for patient in patients}
    strata = {group_of[patient]: _stratum(labels.findings.get(patient)) for patient in patients}
    return splits.assign(group_of, shares, seed, strata)


def _traits(row: Row) -> list[str]:
    """What keeps the patients who share it in one split."""
    written = row.features["report_source"] == schema.WRITTEN
    return [row.sha256, *([row.features["report_group"]] if written else [])]


def _not_in_splits(images: Sequence[ImageRef], split_of: Mapping[str, str]) -> list[Drop]:
    patients = {image.patient for image in images}
    return [
        *(Drop(i.path, Reason.NOT_IN_SPLIT_FILE) for i in images if i.patient not in split_of),
        *(
            Drop(f"split file patient {patient}", Reason.SPLIT_WITHOUT_IMAGE)
            for patient in split_of.keys() - patients
        ),
    ]


def _boundaries(rows: Mapping[str, Sequence[Row]], shard_records: int) -> list[str]:
    """The first patients of shards of about equal size."""
    patients = sorted(rows)
    records = sum(len(rows[patient]) for patient in patients)
    number = min(len(patients), math.ceil(records / shard_records))
    return [str(part[0]) for part in np.array_split(patients, number)]


def _cut(rows: Mapping[str, Sequence[Row]], boundaries: Sequence[str]) -> list[list[Row]]:
    """Cuts the patients of a split into shards; no patient is cut."""
    shards: list[list[Row]] = [[] for _ in boundaries]
    for patient in sorted(rows):
        shards[max(0, bisect.bisect_right(boundaries, patient) - 1)] += rows[patient]
    return [shard for shard in shards if shard]
