"""Renders the audit page: one file that opens anywhere, without network and without scripts."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence
from importlib import metadata, util

import jinja2
import numpy as np
import PIL.Image

from data_prep import verify
from data_prep.audit.survey import Split, Survey, survey
from data_prep.build import commit
from data_prep.process.files import write_whole
from data_prep.records import schema
from data_prep.records.drops import Reason
from data_prep.records.findings import FINDINGS, STATUS
from data_prep.records.tasks import NO_LABEL, UNCERTAIN_LABEL

THUMBNAIL_PX = 112
# What was left out for the sake of the persons shown; all else is for the sake of the data.
PRIVACY_REASONS = (
    Reason.BURNED_IN,
    Reason.OVERLAY,
    Reason.DERIVED_OR_SECONDARY,
    Reason.NO_IMAGE,
    Reason.DOUBTFUL_OVERLAY,
    Reason.DOUBTFUL_ORIGIN,
)
MOST_FAULTS = 50


def write_audit(
    folder: pathlib.Path, path: pathlib.Path | None = None, *, pictures: int = 12
) -> pathlib.Path:
    """Checks a data set and writes the page; the same data set gives the same bytes.

    Args:
      folder: the data set.
      path: the page; by default ``FOLDER.audit.html``, since every file in the folder itself is
        part of the data set.
      pictures: of each level and sequence.

    Returns:
      The page.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it is no data set that can be checked, or a number is out of range.
      OSError: the page cannot be written.
    """
    if not 0 <= pictures <= 200:
        raise ValueError(f"--pictures is {pictures}: choose a number from 0 to 200")
    folder = folder.resolve()
    faults, checked = verify.verify(folder)
    manifest = commit.read_manifest(folder) or {}  # verify has read it
    found = Survey()
    # Records that verify cannot read would end the pass; their faults say all there is to say.
    if not faults:
        found = survey(folder, manifest, pictures)
    page = (
        _environment()
        .get_template("audit.html.j2")
        .render(
            manifest=manifest,
            faults=faults[:MOST_FAULTS],
            fault_count=len(faults),
            checked=checked,
            totals=_totals(manifest),
            removed=manifest.get("removed_from_reports", {}),
            left_out=_left_out(manifest["dropped_by_reason"]),
            survey=found,
            findings=_findings(found.splits),
            views=_views(found.splits),
            grades=_grades(found.splits),
            tasks=_tasks(manifest.get("tasks", ()), found.splits),
            sheets=_sheets(found),
            version=metadata.version("lumbarclip_jax"),
        )
    )
    path = path or folder.with_name(f"{folder.name}.audit.html")
    write_whole(path, page.encode())
    return path


def _environment() -> jinja2.Environment:
    places = [
        pathlib.Path(__file__).parent,
        # The style of both pages; found without importing what it lies in.
        # pyrefly: ignore [missing-attribute]  # both packages are installed together
        pathlib.Path(util.find_spec("lumbarclip_jax").origin).parent / "report",
    ]
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(places),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _totals(manifest: Mapping) -> dict[str, int]:
    return {
        name: sum(counts[name] for counts in manifest["splits"].values())
        for name in ("images", "patients", "report_groups")
    }


def _left_out(counts: Mapping[str, int]) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Reasons with a count, for the persons' sake and for the data's: (heading, rows)."""
    rows = [
        (reason, reason.meaning, counts.get(reason, 0))
        for reason in Reason
        if counts.get(reason) or reason in PRIVACY_REASONS
    ]
    private = [row for row in rows if row[0] in PRIVACY_REASONS]
    others = sorted((row for row in rows if row not in private), key=lambda row: -row[2])
    return [
        ("Images that may bear an identity", [(str(r), m, n) for r, m, n in private]),
        ("Everything else", [(str(r), m, n) for r, m, n in others]),
    ]


def _findings(splits: Mapping[str, Split]) -> list[dict]:
    """One row a finding: of each split (share of patients with it, how many), most common first."""
    rows = []
    for index, name in enumerate(FINDINGS):
        cells = []
        for split in splits.values():
            counts = split.findings[index]
            present = int(counts[STATUS["present"]])
            cells.append((present / max(1, len(split.patients)), present))
        total = np.sum([split.findings[index] for split in splits.values()], axis=0)
        rows.append(
            {
                "name": name.replace("_", " "),
                "cells": cells,
                "spread": max((c[0] for c in cells), default=0)
                - min((c[0] for c in cells), default=0),
                "counts": {status: int(total[code]) for status, code in STATUS.items()}
                if splits
                else {},
            }
        )
    return sorted(rows, key=lambda row: -row["counts"].get("present", 0))


def _views(splits: Mapping[str, Split]) -> list[tuple[str, list[int]]]:
    views = sorted({view for split in splits.values() for view in split.views})
    return [
        (f"{level}, {sequence}", [split.views[level, sequence] for split in splits.values()])
        for level, sequence in views
    ]


def _grades(splits: Mapping[str, Split]) -> list[tuple[str, list[int]]]:
    rows = [
        ("none" if grade == 0 else f"grade {grade}", [s.grades[grade] for s in splits.values()])
        for grade in range(6)
    ]
    graded = any(sum(counts) for _, counts in rows[1:])
    return rows if graded else []


def _tasks(
    tasks: Sequence[Mapping], splits: Mapping[str, Split]
) -> list[tuple[str, list[tuple[str, list[int]]]]]:
    """Of each task of the data set's own (heading, one row a class); what no split has is left."""
    tables = []
    for task in tasks:
        names = {**dict(enumerate(task["classes"])), UNCERTAIN_LABEL: "uncertain", NO_LABEL: "none"}
        rows = [
            (name, [split.labels[task["name"], label] for split in splits.values()])
            for label, name in names.items()
        ]
        heading = f"{task['name']}, by {task['unit']}"
        tables.append((heading, rows[:-2] + [row for row in rows[-2:] if any(row[1])]))
    return tables


def _sheets(found: Survey) -> list[tuple[str, list[str]]]:
    """(title, pictures as data URIs), a sheet for each level and sequence."""
    order = {level: place for place, level in enumerate((*schema.LEVELS, schema.WHOLE_SPINE))}
    views = sorted(found.pictures, key=lambda view: (order[view[0]], view[1]))
    return [
        (f"{view[0]}, {view[1]}", [_picture(image) for _, image in found.pictures[view]])
        for view in views
    ]


def _picture(image: np.ndarray) -> str:
    picture = PIL.Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
