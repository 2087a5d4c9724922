"""The forest plot: the AUROC of every method on every task, as rows of the page and as a figure."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lumbarclip_jax.report.figures import (
    COLOURS,
    GRID_COLOUR,
    INK,
    MUTED,
    Drawn,
    Numbers,
    finish,
)
from lumbarclip_jax.report.tables import Row
from lumbarclip_jax.report.tasks import TaskPart

MEASURE = "auroc"
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclasses.dataclass(frozen=True)
class ForestRow:
    """One method on one task of a split; `is_first` of the task."""

    split: str
    task: str
    method: str
    row: Row
    is_first: bool


def forest_rows(parts: Sequence[TaskPart]) -> list[ForestRow]:
    """Every method with an AUROC, task by task, but for the baseline, which is a mark in theirs."""
    rows = []
    for part in parts:
        methods = [a for a in part.answered if not a.is_baseline and MEASURE in a.rows]
        rows += [
            ForestRow(part.split, part.title, a.title, a.rows[MEASURE], a is methods[0])
            for a in methods
        ]
    return rows


def forest_figures(rows: Sequence[ForestRow]) -> list[Drawn]:
    """One figure a split, for a paper: the page itself has them as a table."""
    splits = dict.fromkeys(row.split for row in rows)
    return [_figure(split, [row for row in rows if row.split == split]) for split in splits]


def _figure(split: str, rows: list[ForestRow]) -> Drawn:
    figure = Figure(figsize=(7.2, 0.9 + 0.22 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, one in enumerate(rows):
        row = one.row
        if row.has_strip:
            axes.plot(
                np.array([row.low, row.high], float),
                [place, place],
                color=COLOURS[0],
                linewidth=1.6,
            )
        axes.plot(row.value, place, "o", color=COLOURS[0], markersize=4)
        if row.level_only is not None:
            axes.plot(row.level_only, place, "o", mfc="none", mec=MUTED, markersize=4.5)
        if one.is_first and place:
            axes.axhline(place - 0.5, color=GRID_COLOUR, linewidth=0.8)
    axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    names = [f"{one.task}: {one.method}" if one.is_first else one.method for one in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_xticks(TICKS)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.5, -0.5))
    said = "AUROC with its 95 % interval over patients; dotted: chance"
    if any(one.row.level_only is not None for one in rows):
        said += "; open: disc level alone"
    axes.set_xlabel(said, fontsize=8, color=MUTED)
    axes.tick_params(labelsize=7.5, colors=INK, length=0)
    axes.grid(axis="x", color=GRID_COLOUR)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    numbers = Numbers(
        ("task", "method", MEASURE, "ci_low", "ci_high", "chance", "level_only"),
        [
            (one.task, one.method, r.value, r.low, r.high, r.chance, r.level_only)
            for one in rows
            for r in [one.row]
        ],
    )
    return finish(figure, "AUROC of every method on every task", f"{split}_forest_auroc", numbers)
