"""From what a source found to the rows of every shard: pairing, labels, pseudonyms, splits."""

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata

import numpy as np

from data_prep import schema, splits
from data_prep.drops import Drop, Reason
from data_prep.findings import LEVEL_FINDINGS
from data_prep.identity import Pseudonyms
from data_prep.labels import PRESENT, Findings
from data_prep.reports import report_group
from data_prep.scan import ImageRef
from data_prep.shards import Row

CREATED_BY = f"lumbarclip_jax {metadata.version('lumbarclip_jax')}"


@dataclasses.dataclass(frozen=True)
class Labels:
    """What joins the records by patient: findings by patient, grades by patient and level."""

    findings: Mapping[str, Findings]
    grades: Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a build will do; equal plans give equal data sets.

    `shards` holds the rows of each shard of each split. `digest` identifies the plan, the contents
    of its files included.
    """

    shards: Mapping[str, Sequence[Sequence[Row]]]
    drops: Sequence[Drop]
    digest: str


def make_plan(
    images: Sequence[ImageRef],
    reports: Mapping[str, str],
    labels: Labels,
    drops: Sequence[Drop],
    *,
    shares: Mapping[str, float],
    seed: int,
    pseudonyms: Pseudonyms,
    size_px: int,
    shard_records: int,
    templated: Collection[str] = frozenset(),
) -> Plan:
    """Pairs images and reports by patient and lays the pairs out in shards.

    Shards and the records in them are in the order of the patients' pseudonyms, which tells nothing
    about the source and does not depend on the order of its files.

    Args:
      images: the images found.
      reports: patient -> report.
      labels: findings and grades; a patient without any gets zeros.
      drops: what was left out so far.
      shares: split -> share of the patients.
      seed: of the splits.
      pseudonyms: makes the ids of the records.
      size_px: side of the stored images; part of the digest.
      shard_records: about how many records a shard has.
      templated: the patients whose report was made from their grades and not written by a doctor.

    Raises:
      ValueError: no patient has both an image and a report, or a split would be empty.
    """
    paired, unpaired = _pair(images, reports, labels)
    patients = sorted({image.patient for image in paired})
    group_of = {patient: report_group(reports[patient]) for patient in patients}
    split_of = splits.assign(
        group_of,
        shares,
        seed,
        {group_of[patient]: _stratum(labels.findings.get(patient)) for patient in patients},
    )
    by_split: dict[str, dict[str, list[Row]]] = {split: {} for split in shares}
    for image in sorted(paired, key=lambda image: (image.sequence, image.level)):
        source = schema.TEMPLATED if image.patient in templated else schema.WRITTEN
        row = _row(image, reports[image.patient], source, labels, pseudonyms)
        patient_id = row.features["patient_id"]
        by_split[split_of[image.patient]].setdefault(patient_id, []).append(row)
    shards = {split: _shards(rows, shard_records) for split, rows in by_split.items()}
    all_drops = sorted([*drops, *unpaired])
    content = {
        "created_by": CREATED_BY,
        "size_px": size_px,
        "drops": [dataclasses.astuple(drop) for drop in all_drops],
        "shards": {
            split: [[dataclasses.astuple(row) for row in shard] for shard in split_shards]
            for split, split_shards in shards.items()
        },
        "files": sorted(image.sha256 for image in paired),
    }
    return Plan(shards, all_drops, pseudonyms("plan", json.dumps(content, sort_keys=True)))


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
            "image_id": pseudonyms("image", _place(image)),
            "report_group": report_group(report),
            "findings": findings.patient,
            "level_findings": findings.levels[image.level],
            "grades": {"pfirrmann": labels.grades.get(image.patient, {}).get(image.level, 0)},
        },
    )


def _place(image: ImageRef) -> str:
    return f"{image.path}\0{image.frame}" if image.frame else image.path


def _shards(rows: Mapping[str, Sequence[Row]], shard_records: int) -> list[list[Row]]:
    """Cuts the patients of a split into shards of about equal size; no patient is cut."""
    patients = sorted(rows)
    records = sum(len(rows[patient]) for patient in patients)
    number = min(len(patients), math.ceil(records / shard_records))
    return [
        [row for patient in part for row in rows[patient]]
        for part in np.array_split(patients, number)
    ]
