"""The printed tables of a sweep: which numbers stand side by side, and the best of a column."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from lumbarclip_jax.report.tables import title
from lumbarclip_jax.sweep.contrasts import Contrast
from lumbarclip_jax.sweep.sampling import Sampled
from lumbarclip_jax.sweep.table import CLASSIFICATION, IN_TABLE, Measure, Row, Table

ENCODERS = {"vit": "ViT", "swin": "Swin", "resnet": "ResNet"}
HEAD_TITLES = {"linear": "linear", "mlp": "MLP"}
MARKS = {1: " ▲", -1: " ▼", 0: ""}
WIDTH = 7  # columns of numbers that fit beside each other
Group = tuple[str, list[Measure]]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number, its interval in brackets and its mark, as text; `is_best` of its column."""

    value: str
    interval: str = ""
    mark: str = ""
    is_best: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.value, self.interval))) + self.mark


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of a block; `model` is the config's name, empty for a baseline."""

    label: str
    cells: list[Cell]
    model: str = ""
    is_leaky: bool = False


@dataclasses.dataclass(frozen=True)
class Block:
    """One printed table: a title, column heads, and rows."""

    title: str
    heads: list[str]
    rows: list[Line]


def blocks(
    tables: dict[str, Table], groups: Sequence[Group], *, leaky: str = "", marks: bool = True
) -> Iterator[Block]:
    """A block for every group, or several where it has more than `WIDTH` measures.

    Args:
      tables: by what is said of their split in a label, where there are several; rows are those of
        the first.
      leaky: which of them is.
      marks: whether models that differ, and the best of a column, are marked.
    """
    for name, measures in groups:
        one_task = len({measure.what for measure in measures}) == 1
        for start in range(0, len(measures), WIDTH):
            part = measures[start : start + WIDTH]
            heads = [title(m.metric) if one_task else m.title for m in part]
            suffixes = {splits: f", {splits}" if len(tables) > 1 else "" for splits in tables}
            every = next(iter(tables.values())).rows
            rows = []
            for row, (splits, table) in itertools.product(every, tables.items()):
                label = row_label(row, every) + suffixes[splits]
                cells = [cell_of(table, row, m, marks) for m in part]
                rows.append(Line(label, cells, row.model, splits == leaky))
            for splits, table in tables.items():
                suffix = suffixes[splits]
                if any(m in table.level_only for m in part):
                    known = [table.level_only.get(m) for m in part]
                    cells = [_shown(sampled) if sampled else Cell("–") for sampled in known]
                    rows.append(Line(f"disc level alone{suffix}", cells))
                cells = [Cell(number(table.chance.get(m, math.nan))) for m in part]
                rows.append(Line(f"chance{suffix}", cells))
            yield Block(name, heads, rows)


def differences(table: Table, groups: Sequence[Group]) -> Iterator[Block]:
    """A block for every group: each model less the baseline, with its paired interval."""
    for name, measures in groups:
        for start in range(0, len(measures), WIDTH):
            part = measures[start : start + WIDTH]
            rows = [
                Line(
                    row_label(row, table.rows),
                    [_difference(table.contrasts.get((row.model, m))) for m in part],
                    row.model,
                )
                for row in table.rows
                if row.model != table.baseline
            ]
            yield Block(f"{name}, less {table.baseline}", [m.title for m in part], rows)


def _difference(contrast: Contrast | None) -> Cell:
    if contrast is None:
        return Cell("not compared")
    low, high = contrast.difference.interval
    interval = f"[{signed(low)}, {signed(high)}]"
    return Cell(signed(contrast.difference.value), interval, MARKS[contrast.sign])


def _best(table: Table, measure: Measure) -> float | None:
    """The highest value of a column, all of which are better the higher; None if all are equal."""
    cells = [table.cells.get((row.model, measure)) for row in table.rows]
    values = {cell.value for cell in cells if cell and not math.isnan(cell.value)}
    return max(values) if len(values) > 1 else None


def main_groups(table: Table) -> list[Group]:
    """Recalls, then one number a task: zero-shot and by every probe, by image and by patient."""
    groups: dict[str, list[Measure]] = {}
    for measure in table.measures:
        if not measure.main or measure.is_single_finding:
            continue
        if measure.evaluator == "retrieval":
            view = "by patient" if "patient" in measure.what else "by image"
            groups.setdefault(f"Retrieval {view}", []).append(measure)
        else:
            groups.setdefault(_way(measure), []).append(measure)
    return sorted(groups.items(), key=lambda group: IN_TABLE.index(group[1][0].evaluator))


def task_groups(table: Table) -> list[Group]:
    """All shown metrics of every task, then the single findings."""
    tasks: dict[str, list[Measure]] = {}
    findings: dict[str, list[Measure]] = {}
    for measure in table.measures:
        if measure.metric not in CLASSIFICATION:
            continue
        if not measure.is_single_finding:
            name = f"{title(measure.task)}: {_way(measure)}"
            tasks.setdefault(name, []).append(measure)
        elif measure.main:
            findings.setdefault(f"Single findings: {_way(measure)}", []).append(measure)
    for of in tasks.values():
        of.sort(key=lambda measure: CLASSIFICATION.index(measure.metric))
    return [*tasks.items(), *findings.items()]


def _way(measure: Measure) -> str:
    """How it was answered: the evaluator, the features, by image or by patient."""
    features = [title(part).lower() for part in measure.features]
    return ", ".join([title(measure.evaluator), *features])


def row_label(row: Row, rows: Sequence[Row]) -> str:
    """Encoder and head, or the config's name where that is not unique; seeds where they differ."""
    alike = [r for r in rows if (r.encoder, r.head) == (row.encoder, row.head)]
    label = f"{ENCODERS.get(row.encoder, row.encoder)}, {HEAD_TITLES.get(row.head, row.head)}"
    label = row.model if len(alike) > 1 else label
    unequal = len({r.seeds for r in rows}) > 1
    return f"{label} (seeds: {row.seeds})" if unequal else label


def cell_of(table: Table, row: Row, measure: Measure, marks: bool = True) -> Cell:
    """What is printed of a model; with `marks` also whether it differs and whether it is best."""
    sampled = table.cells.get((row.model, measure))
    contrast = table.contrasts.get((row.model, measure))
    cell = _shown(sampled)
    if not marks or sampled is None:
        return cell
    return dataclasses.replace(
        cell,
        mark=MARKS[contrast.sign] if contrast else "",
        is_best=sampled.value == _best(table, measure),
    )


def _shown(sampled: Sampled | None) -> Cell:
    if sampled is None:
        return Cell("not measured")
    low, high = sampled.interval
    return Cell(number(sampled.value), f"[{number(low)}, {number(high)}]")


def number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}"
