"""The forest plot of a sweep: every model beside the others, number by number."""

import dataclasses
import math

from lumbarclip_jax.report.tables import MAIN_TABLES, Row, title
from lumbarclip_jax.sweep.blocks import Cell, cell_of, row_label
from lumbarclip_jax.sweep.table import IN_TABLE, Measure, Table

# What a run's own page shows first.
DIRECTIONS = ("image_to_text", "text_to_image")
RECALL = "recall_at_5"
AUROCS = ("auroc_within_level", "auroc")  # the second where all images have one level


@dataclasses.dataclass(frozen=True)
class ForestLine:
    """A model's number, as it is drawn and as it is printed."""

    label: str
    model: str
    row: Row
    cell: Cell


@dataclasses.dataclass(frozen=True)
class Forest:
    """One measure of all models."""

    title: str
    lines: list[ForestLine]


def forests(table: Table) -> list[Forest]:
    """One for every measure that the page of a run shows first."""
    shown = [measure for measure in table.measures if _is_shown(measure, table)]
    return [
        Forest(f"{title(m.evaluator)}, {title(m.task)}: {title(m.metric)}", _lines(table, m))
        for m in sorted(shown, key=lambda measure: IN_TABLE.index(measure.evaluator))
    ]


def _is_shown(measure: Measure, table: Table) -> bool:
    if measure.evaluator == "retrieval":
        return measure.task in DIRECTIONS and measure.metric == RECALL
    if measure.what not in MAIN_TABLES:
        return False
    there = [m.metric for m in table.measures if m.key == measure.key]
    return measure.metric == next((name for name in AUROCS if name in there), "")


def _lines(table: Table, measure: Measure) -> list[ForestLine]:
    level_only = table.level_only.get(measure)
    lines = []
    for model in table.rows:
        sampled = table.cells.get((model.model, measure))
        if sampled is None or math.isnan(sampled.value):
            continue
        low, high = (None if math.isnan(end) else end for end in sampled.interval)
        row = Row(
            measure.metric,
            sampled.value,
            low,
            high,
            table.chance.get(measure),
            None if level_only is None else level_only.value,
        )
        label, cell = row_label(model, table.rows), cell_of(table, model, measure)
        lines.append(ForestLine(label, model.model, row, cell))
    return lines
