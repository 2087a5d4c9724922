"""The tables of a sweep as Markdown, CSV and HTML: the same blocks, notes and numbers in each."""

import csv
import dataclasses
import io
import itertools
import os
import pathlib
import urllib.parse
from collections.abc import Iterator, Sequence

import jinja2

from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax import report
from lumbarclip_jax.data.resplit import WARNING
from lumbarclip_jax.report.forest import TICKS
from lumbarclip_jax.run_folder.files import REPORT_FILE
from lumbarclip_jax.sweep.blocks import Block, blocks, differences, main_groups, task_groups
from lumbarclip_jax.sweep.forest import Forest, forests
from lumbarclip_jax.sweep.plan import PlannedRun
from lumbarclip_jax.sweep.runner import is_complete
from lumbarclip_jax.sweep.table import Table

CLEAN, LEAKY = "by patient", "by slice, leaky"
# The style and the strips of a run's page are those of the sweep's too.
TEMPLATES = (pathlib.Path(__file__).parent, pathlib.Path(report.__file__).parent)


@dataclasses.dataclass(frozen=True)
class RunLink:
    """The page of a run: a model's name, what tells the run from its others, and a relative URL."""

    model: str
    name: str
    url: str


@dataclasses.dataclass(frozen=True)
class Page:
    """All that is printed.

    `notes` say what the numbers are; `failures` are (run, reason); `leaky` is None unless asked
    for; `runs` are those that left a page.
    """

    command: str
    notes: list[str]
    table: Table | None
    leaky: Table | None
    failures: list[tuple[str, str]]
    runs: list[RunLink]

    @property
    def main_blocks(self) -> list[Block]:
        return list(blocks({CLEAN: self.table}, main_groups(self.table))) if self.table else []

    @property
    def title(self) -> str:
        if self.table and self.table.baseline:
            return f"Ablation: what differs from {self.table.baseline}"
        return "Ablation: image encoder × projection head"

    @property
    def difference_blocks(self) -> list[Block]:
        if not (self.table and self.table.baseline and self.table.contrasts):
            return []
        return list(differences(self.table, main_groups(self.table)))

    @property
    def detail_blocks(self) -> list[Block]:
        return list(blocks({CLEAN: self.table}, task_groups(self.table))) if self.table else []

    @property
    def leaky_blocks(self) -> list[Block]:
        if not (self.table and self.leaky):
            return []
        tables = {CLEAN: self.table, LEAKY: self.leaky}
        groups = [*main_groups(self.table), *task_groups(self.table)]
        return list(blocks(tables, groups, leaky=LEAKY, marks=False))

    @property
    def forests(self) -> list[Forest]:
        return forests(self.table) if self.table else []

    @property
    def links(self) -> dict[str, list[RunLink]]:
        """By model."""
        names = dict.fromkeys(run.model for run in self.runs)
        return {name: [run for run in self.runs if run.model == name] for name in names}


def run_links(runs: Sequence[PlannedRun], out: pathlib.Path) -> list[RunLink]:
    """Links from a page in `out` to those of the runs that are complete."""
    return [
        RunLink(
            model=run.model,
            name=run.name.removeprefix(f"{run.model}_").replace("_", " "),
            url=urllib.parse.quote(os.path.relpath(run.folder / REPORT_FILE, out)),
        )
        for run in runs
        if is_complete(run)
    ]


def write_pages(page: Page, out: pathlib.Path) -> list[pathlib.Path]:
    """Writes table.md, table.csv and table.html to `out` and returns their paths."""
    with disk_errors_name(out):
        out.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    paths = []
    for name in ("table.md", "table.html"):
        text = environment.get_template(f"{name}.j2").render(
            page=page, warning=WARNING, ticks=TICKS
        )
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


def _csv_lines(splits: str, table: Table | None) -> Iterator[dict]:
    if table is None:
        return
    for row, measure in itertools.product(table.rows, table.measures):
        if (row.model, measure) not in table.cells:
            continue
        sampled = table.cells[row.model, measure]
        level_only = table.level_only.get(measure)
        contrast = table.contrasts.get((row.model, measure))
        interval = contrast.difference.interval if contrast else (None, None)
        line = {
            "splits": splits,
            "model": row.model,
            "encoder": row.encoder,
            "head": row.head,
            "seeds": row.seeds,
            "evaluator": measure.evaluator,
            "task": measure.task,
            "features": "/".join(measure.features),
            "metric": measure.metric,
            "value": sampled.value,
            "ci_low": sampled.interval[0],
            "ci_high": sampled.interval[1],
            "seed_deviation": sampled.seed_deviation,
            "chance": table.chance.get(measure),
            "level_only": level_only.value if level_only else None,
            "less": contrast.than if contrast else None,
            "difference": contrast.difference.value if contrast else None,
            "difference_ci_low": interval[0],
            "difference_ci_high": interval[1],
            "p": contrast.p if contrast else None,
            "p_holm": contrast.p_holm if contrast else None,
        }
        yield {name: _written(value) for name, value in line.items()}


def _written(value: str | float | None) -> str | float:
    """Six digits of a number, nothing for one that is not defined."""
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
