"""The tables of a sweep as Markdown, CSV and HTML: the same blocks, notes and numbers in each."""

import csv
import dataclasses
import io
import itertools
import math
import pathlib
from collections.abc import Iterator, Sequence

import jinja2

from data_prep.files import disk_errors_name, write_whole
from lumbarclip_jax.data.resplit import WARNING
from lumbarclip_jax.report.tables import title
from lumbarclip_jax.sweeps.sampling import Sampled
from lumbarclip_jax.sweeps.table import CLASSIFICATION, EVALUATORS, Measure, Row, Table

ENCODERS = {"vit": "ViT", "swin": "Swin", "resnet": "ResNet"}
HEAD_TITLES = {"linear": "linear", "mlp": "MLP"}
MARKS = {1: " ▲", -1: " ▼", 0: ""}
WIDTH = 7  # columns of numbers that fit beside each other
Group = tuple[str, list[Measure]]
CLEAN, LEAKY = "by patient", "by slice, leaky"


@dataclasses.dataclass(frozen=True)
class Block:
    """One printed table: a title, column heads, and rows of a label and cells."""

    title: str
    heads: list[str]
    rows: list[tuple[str, list[str]]]


@dataclasses.dataclass(frozen=True)
class Page:
    """All that is printed.

    `notes` say what the numbers are; `failures` are (run, reason); `leaky` is None unless asked
    for.
    """

    command: str
    notes: list[str]
    table: Table | None
    leaky: Table | None
    failures: list[tuple[str, str]]

    @property
    def main_blocks(self) -> list[Block]:
        return list(_blocks({CLEAN: self.table}, _main_groups(self.table))) if self.table else []

    @property
    def detail_blocks(self) -> list[Block]:
        return list(_blocks({CLEAN: self.table}, _task_groups(self.table))) if self.table else []

    @property
    def leaky_blocks(self) -> list[Block]:
        if not (self.table and self.leaky):
            return []
        tables = {CLEAN: self.table, LEAKY: self.leaky}
        groups = [*_main_groups(self.table), *_task_groups(self.table)]
        return list(_blocks(tables, groups, marks=False))


def write_pages(page: Page, out: pathlib.Path) -> list[pathlib.Path]:
    """Writes table.md, table.csv and table.html to `out` and returns their paths."""
    with disk_errors_name(out):
        out.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    paths = []
    for name in ("table.md", "table.html"):
        text = environment.get_template(f"{name}.j2").render(page=page, warning=WARNING)
        write_whole(out / name, text.encode())
        paths.append(out / name)
    tables = {CLEAN: page.table, LEAKY: page.leaky}
    lines = [line for splits, table in tables.items() for line in _csv_lines(splits, table)]
    csv_text = io.StringIO(newline="")
    writer = csv.DictWriter(csv_text, list(lines[0]) if lines else [])
    writer.writeheader()
    writer.writerows(lines)
    write_whole(out / "table.csv", csv_text.getvalue().encode())
    return [*paths, out / "table.csv"]


def _main_groups(table: Table) -> list[Group]:
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
    return sorted(groups.items(), key=lambda group: EVALUATORS.index(group[1][0].evaluator))


def _task_groups(table: Table) -> list[Group]:
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
    features = [title(part).lower() for part in measure.features.split("/") if part]
    return ", ".join([title(measure.evaluator), *features])


def _blocks(
    tables: dict[str, Table], groups: Sequence[Group], marks: bool = True
) -> Iterator[Block]:
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
                rows.append((label, [_cell(table, row, m, marks) for m in part]))
            for splits, table in tables.items():
                suffix = suffixes[splits]
                if any(m in table.level_only for m in part):
                    known = [table.level_only.get(m) for m in part]
                    cells = [_shown(sampled) if sampled else "–" for sampled in known]
                    rows.append((f"disc level alone{suffix}", cells))
                cells = [_number(table.chance.get(m, math.nan)) for m in part]
                rows.append((f"chance{suffix}", cells))
            yield Block(name, heads, rows)


def row_label(row: Row, rows: Sequence[Row]) -> str:
    """Encoder and head, or the config's name where that is not unique; seeds where they differ."""
    alike = [r for r in rows if (r.encoder, r.head) == (row.encoder, row.head)]
    label = f"{ENCODERS.get(row.encoder, row.encoder)}, {HEAD_TITLES.get(row.head, row.head)}"
    label = row.model if len(alike) > 1 else label
    unequal = len({r.seeds for r in rows}) > 1
    return f"{label} (seeds: {row.seeds})" if unequal else label


def _cell(table: Table, row: Row, measure: Measure, marks: bool) -> str:
    sampled = table.cells.get((row.model, measure))
    contrast = table.contrasts.get((row.model, measure))
    return _shown(sampled) + (MARKS[contrast.sign] if contrast and marks else "")


def _shown(sampled: Sampled | None) -> str:
    if sampled is None:
        return "not measured"
    low, high = sampled.interval
    return f"{_number(sampled.value)} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _csv_lines(splits: str, table: Table | None) -> Iterator[dict]:
    for row, measure in itertools.product(table.rows, table.measures) if table else ():
        if (row.model, measure) not in table.cells:
            continue
        sampled = table.cells[row.model, measure]
        level_only = table.level_only.get(measure)
        contrast = table.contrasts.get((row.model, measure))
        difference = contrast.difference.interval if contrast else (None, None)
        line = {
            "splits": splits,
            "model": row.model,
            "encoder": row.encoder,
            "head": row.head,
            "seeds": row.seeds,
            "evaluator": measure.evaluator,
            "task": measure.task,
            "features": measure.features,
            "metric": measure.metric,
            "value": sampled.value,
            "ci_low": sampled.interval[0],
            "ci_high": sampled.interval[1],
            "seed_deviation": sampled.seed_deviation,
            "chance": table.chance.get(measure),
            "level_only": level_only.value if level_only else None,
            "mlp_minus_linear": contrast.difference.value if contrast else None,
            "difference_ci_low": difference[0],
            "difference_ci_high": difference[1],
            "p": contrast.p if contrast else None,
            "p_holm": contrast.p_holm if contrast else None,
        }
        yield {name: _written(value) for name, value in line.items()}


def _written(value: str | float | None) -> str | float:
    """Six digits of a number, nothing for one that is not defined."""
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
