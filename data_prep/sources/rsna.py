"""RSNA 2024 Lumbar Spine Degenerative Classification (LumbarDISC, its public training part).

``train_images/<study>/<series>/<instance>.dcm``, ``train_series_descriptions.csv``, ``train.csv``
(a severity of five conditions at five levels a study) and ``train_label_coordinates.csv`` (where a
condition was marked). There are no reports: texts are templated. Left is the patient's left.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from data_prep.images.dicom import Rejected
from data_prep.images.headers import Header, read_headers
from data_prep.process.parallel import ordered_map
from data_prep.records.drops import Drop, Reason
from data_prep.records.findings import STATUS
from data_prep.records.labels import Findings
from data_prep.records.levels import LUMBAR
from data_prep.records.scan import ImageRef, Inputs, Scan
from data_prep.slices import levels, series
from data_prep.slices.series import Candidate, Series, Slice
from data_prep.sources.rsna_tables import (
    CONDITIONS,
    IMAGES_FOLDER,
    SAGITTAL_CONDITIONS,
    SEVERITIES,
    Mark,
    Severities,
    Study,
    patient_key,
    read_severities,
    read_studies,
)
from data_prep.text import templates

__all__ = ["PATIENT_COLUMN", "REPORT_COLUMN", "patient_key", "scan"]

PATIENT_COLUMN = REPORT_COLUMN = ""


def scan(inputs: Inputs) -> Scan:
    """Takes of each study the axial slice nearest to the marks of each of the three lowest discs.

    Marks are points on sagittal slices; an axial slice shows the disc whose mark its plane passes
    closest to, in whichever series it is. Where a study has no marks, or none in the frame of
    reference of its axial series, blocks are counted from below, as with `--levels=blocks`
    everywhere.

    Raises:
      FileNotFoundError: a table or the folder of images is not there.
      ValueError: a table lacks a column, or the levels cannot be told in the way asked for.
    """
    root = inputs.images_dir
    if inputs.levels not in ("auto", "blocks"):
        raise ValueError("--source=rsna tells levels by marks: --levels is auto or blocks for it")
    if not (root / IMAGES_FOLDER).is_dir():
        raise FileNotFoundError(f"there is no folder {root / IMAGES_FOLDER}: correct --images")
    severities, drops = read_severities(root / "train.csv")
    studies = read_studies(root, drops)
    images: list[ImageRef] = []
    by_marks = 0
    results = ordered_map(
        functools.partial(_scan_study, inputs),
        studies,
        workers=inputs.workers,
        label="reading headers",
    )
    for study_images, study_drops, marked in results:
        images += study_images
        drops += study_drops
        by_marks += marked
    return Scan(
        f"axial slices, levels by marked points in {by_marks} of {len(studies)} studies and else "
        "counted from below, texts templated from severities",
        images,
        drops,
        reports={study: _text(graded) for study, graded in severities.items()},
        templated=frozenset(severities),
        findings={study: _findings(graded) for study, graded in severities.items()},
    )


def _scan_study(inputs: Inputs, study: Study) -> tuple[list[ImageRef], list[Drop], bool]:
    """(the images of a study, what was left out, whether marks told the levels of any series)."""
    drops: list[Drop] = []
    folder = inputs.images_dir / IMAGES_FOLDER / study.name
    marks = study.marks if inputs.levels == "auto" else []
    points = _points_mm(inputs, folder, marks, drops)
    axial = []
    for series_id, sequence in sorted(study.axial.items()):
        place = f"{IMAGES_FOLDER}/{study.name}/{series_id}"
        if not (folder / series_id).is_dir():
            drops.append(Drop(place, Reason.MISSING_IMAGE))
        axial.append(Series(place, _axial_slices(inputs, folder / series_id, sequence, drops)))
    candidates: list[Candidate] = []
    marked = False
    for frame, comparable in series.by_frame(axial):
        if frame and frame in points:
            candidates += levels.by_points(comparable, points[frame], drops)
            marked = True
        else:
            candidates += levels.by_blocks(comparable, drops)
    chosen, not_chosen = series.best_of_each_sequence(candidates)
    images = [
        image
        for candidate in chosen
        for image in series.image_refs(
            candidate, inputs.images_dir, patient=study.name, study=study.name
        )
    ]
    return images, drops + not_chosen, marked


def _axial_slices(
    inputs: Inputs, folder: pathlib.Path, sequence: str, drops: list[Drop]
) -> list[Slice]:
    """The axial slices of a series; its files are named by instance numbers, which have gaps."""
    slices = []
    for path in sorted(folder.glob("*.dcm")):
        location = path.relative_to(inputs.images_dir).as_posix()
        header = _header(inputs, location, drops)
        if header is None:
            continue
        # The headers do not say which sequence it is; the table does.
        header = dataclasses.replace(header, sequence=sequence)
        reason = series.reason_against(header)
        if reason:
            drops.append(Drop(location, reason))
        else:
            slices.append(Slice(location, header))
    return slices


def _points_mm(
    inputs: Inputs, folder: pathlib.Path, marks: list[Mark], drops: list[Drop]
) -> dict[str, dict[str, np.ndarray]]:
    """Frame of reference -> level -> point in patient coordinates.

    A level is where its canal was marked or, without such a mark, between its foramina.
    """
    found: dict[str, dict[str, dict[str, list[np.ndarray]]]] = {}
    headers: dict[str, Header | None] = {}
    for mark in marks:
        path = folder / mark.series / f"{mark.instance}.dcm"
        location = path.relative_to(inputs.images_dir).as_posix()
        if not path.is_file():
            drops.append(Drop(location, Reason.MISSING_IMAGE))
            continue
        # Several discs are marked on one slice.
        if location not in headers:
            headers[location] = _header(inputs, location, drops)
        header = headers[location]
        if header is None or header.plane is None:
            continue
        kind = "canal" if mark.condition == SAGITTAL_CONDITIONS[0] else "foramina"
        by_level = found.setdefault(header.frame_of_reference, {})
        by_kind = by_level.setdefault(mark.level, {})
        by_kind.setdefault(kind, []).append(header.plane.point_mm(mark.x_px, mark.y_px))
    return {
        frame: {
            level: np.mean(by_kind.get("canal") or by_kind["foramina"], axis=0)
            for level, by_kind in by_level.items()
        }
        for frame, by_level in found.items()
    }


def _header(inputs: Inputs, location: str, drops: list[Drop]) -> Header | None:
    path = inputs.images_dir / location
    try:
        return read_headers(path, keep_doubtful=inputs.keep_doubtful)[0]
    except Rejected as rejected:
        drops.append(Drop(location, rejected.reason, rejected.detail))
        return None


def _text(graded: Severities) -> str:
    """One line a level that was graded, from the head down."""
    lines = []
    for level in LUMBAR:
        conditions = graded.get(level, {})
        by_severity = {
            severity.replace("/", " or ").capitalize(): [
                phrase
                for condition, phrase in CONDITIONS.items()
                if conditions.get(condition) == severity
            ]
            for severity in SEVERITIES
        }
        if conditions:
            lines.append(templates.severities(level, by_severity))
    return "\n".join(lines)


def _findings(graded: Severities) -> Findings:
    """Moderate and severe canal stenosis is present; normal and mild are one grade, and absent."""
    statuses = {
        level: STATUS["absent" if severity == "Normal/Mild" else "present"]
        for level, conditions in graded.items()
        if (severity := conditions.get("spinal_canal_stenosis"))
    }
    return Findings.of_levels(
        {level: {"canal_stenosis": status} for level, status in statuses.items()}
    )
