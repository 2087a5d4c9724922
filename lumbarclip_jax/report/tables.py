"""From flat metric names to the sections and tables of the page.

`test/linear_probe/compression/image_features/auroc` becomes a row of a table "Image features" under
"Compression" in the section "Linear probe, test split". Names the page does not know get a place
and a plain title all the same, so that a new evaluator is reported without a change here.
"""

import dataclasses
import re
from collections.abc import Mapping

DIRECTION = re.compile(r"((?:image|text|patient)_to_(?:image|text|patient))_(\w+)")
SUFFIXES = ("_ci_low", "_ci_high", "_chance")

PERCENT = "\N{NO-BREAK SPACE}%"
MINUS = "\N{MINUS SIGN}"

# Facts about a task or a table, shown in its caption instead of a row.
FACTS = {
    "images": "{:.0f} images",
    "texts": "{:.0f} distinct reports",
    "patients": "{:.0f} patients",
    "positives": "{:.0f} positive",
    "prevalence": "prevalence {:.0%}",
    "c": "C = {:g}, chosen on validation",
}

TITLES = {
    "retrieval": "Retrieval",
    "zero_shot": "Zero-shot classification",
    "linear_probe": "Linear probe",
    "image_to_text": "Image → report",
    "text_to_image": "Report → image",
    "patient_to_text": "Patient → report",
    "text_to_patient": "Report → patient",
    "pfirrmann_ge_3": "Pfirrmann grade 3 or more",
    "disc_displacement": "Disc displacement at the level",
    "compression": "Thecal sac or nerve root compression at the level",
    "level_only": "Level alone, the baseline",
    "image_features": "Image features",
    "image_embeds": "Image embeddings",
    "mrr": "Mean reciprocal rank",
    "median_rank": "Median rank",
    "auroc": "AUROC",
    "auroc_within_level": "AUROC within level",
    "macro_f1": "Macro F1",
    "balanced_accuracy": "Balanced accuracy",
    "auroc_gain_over_level": "Gain over level alone",
    **{f"recall_at_{k}": f"Recall at {k}" for k in (1, 5, 10)},
}


def title(name: str) -> str:
    return TITLES.get(name) or name.replace("_", " ").capitalize()


@dataclasses.dataclass(frozen=True)
class Row:
    """One number, with its interval and chance level where they are known."""

    measure: str
    value: float
    low: float | None
    high: float | None
    chance: float | None

    @property
    def title(self) -> str:
        return title(self.measure)

    @property
    def is_difference(self) -> bool:
        return "gain" in self.measure

    @property
    def is_rank(self) -> bool:
        return self.measure.endswith("_rank")

    def show(self, value: float) -> str:
        if self.is_rank:
            return f"{value:.1f}".removesuffix(".0")
        if self.measure.startswith("recall_") or self.measure.endswith("accuracy"):
            return f"{100 * value:.1f}{PERCENT}"
        return f"{value:+.3f}".replace("-", MINUS) if self.is_difference else f"{value:.3f}"

    @property
    def interval(self) -> str:
        low = self.show(self.low).removesuffix(PERCENT)
        return f"{low} – {self.show(self.high)}"

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `unclear`: does the interval exclude chance, and on which side?"""
        if self.chance is None or self.low is None:
            return ""
        above, below = self.low > self.chance, self.high < self.chance
        if self.is_rank:
            above, below = below, above
        return "better" if above else "worse" if below else "unclear"

    def place(self, value: float) -> float:
        """Where on the row's strip a value lies, in percent of its width."""
        fraction = (value + 1) / 2 if self.is_difference else value
        return round(100 * min(max(fraction, 0.0), 1.0), 2)

    @property
    def has_strip(self) -> bool:
        return self.low is not None and not self.is_rank


@dataclasses.dataclass
class Table:
    """Rows under one title; `key` is the rest of the metrics' path, `<task>/<features>`."""

    key: str
    title: str
    facts: list[str] = dataclasses.field(default_factory=list)
    rows: list[Row] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Task:
    """Tables about one question: a direction of retrieval, a label to predict."""

    key: str
    title: str
    facts: list[str] = dataclasses.field(default_factory=list)
    tables: dict[str, Table] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Section:
    """What one evaluator said about one split."""

    split: str
    evaluator: str
    title: str
    facts: list[str] = dataclasses.field(default_factory=list)
    tasks: dict[str, Task] = dataclasses.field(default_factory=dict)


def split_name(name: str) -> tuple[str, str, list[str], str]:
    """(split, evaluator, path below it, measure) of a metric name."""
    split, evaluator, *path, measure = name.split("/")
    if direction := DIRECTION.fullmatch(measure):
        path, measure = [*path, direction[1]], direction[2]
    return split, evaluator, path, measure


def sections(metrics: dict[str, float]) -> list[Section]:
    """Arranges flat metrics in the order they come in; names of fewer than three parts are left.

    Args:
      metrics: `<split>/<evaluator>/.../<measure>` to value, with `_ci_low`, `_ci_high`, `_chance`.
    """
    found: dict[tuple[str, str], Section] = {}
    for name, value in metrics.items():
        if name.count("/") < 2 or name.endswith(SUFFIXES):
            continue
        split, evaluator, path, measure = split_name(name)
        section = found.setdefault((split, evaluator), Section(split, evaluator, title(evaluator)))
        task = table = None
        if not path and measure not in FACTS:
            path = [evaluator]
        if path:
            task = section.tasks.setdefault(path[0], Task(path[0], title(path[0])))
        if path[1:] or measure not in FACTS:
            key = "/".join(path)
            heading = ", ".join(map(title, path[1:]))
            table = task.tables.setdefault(key, Table(key, heading))
        if measure in FACTS:
            (table or task or section).facts.append(FACTS[measure].format(value))
        elif table:
            low, high, chance = (metrics.get(name + suffix) for suffix in SUFFIXES)
            table.rows.append(Row(measure, value, low, high, chance))
    return list(found.values())


def headlines(arranged: list[Section]) -> list[tuple[Section, Task, Table, Row]]:
    """The few rows shown first: recall at 5 by image, and AUROC within level of every task."""
    wanted = []
    for section in arranged:
        for task in section.tasks.values():
            for table in task.tables.values():
                for row in table.rows:
                    by_image = task.key in ("image_to_text", "text_to_image")
                    recall = row.measure == "recall_at_5" and by_image
                    auroc = row.measure == "auroc_within_level" and not table.key.endswith(
                        "level_only"
                    )
                    if recall or auroc:
                        wanted.append((section, task, table, row))
    return wanted


def flat(config: Mapping, prefix: str = "") -> dict[str, object]:
    """Nested fields as `optim.lr`."""
    fields = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            fields |= flat(value, f"{prefix}{key}.")
        else:
            fields[f"{prefix}{key}"] = value
    return fields
