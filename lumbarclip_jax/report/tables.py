"""From flat metric names to the sections and tables of the page.

`test/linear_probe/compression/image_features/auroc` becomes a row of a table "Image features" under
"Compression" in the section "Linear probe, test split". Names the page does not know get a place
and a plain title all the same, so that a new evaluator is reported without a change here.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from data_prep.records.levels import DISCS
from lumbarclip_jax.evaluators.names import BESIDE, Name, is_beside

PERCENT = "\N{NO-BREAK SPACE}%"
MINUS = "\N{MINUS SIGN}"

# Facts about a task or a table, shown in its caption instead of a row.
FACTS = {
    "images": "{:.0f} images",
    "studies": "{:.0f} studies",
    "texts": "{:.0f} distinct reports",
    "patients": "{:.0f} patients",
    "positives": "{:.0f} positive",
    "prevalence": "prevalence {:.0%}",
    "c": "C = {:g}, chosen on validation",
    "amount": "amount {:g}",
    "findings": "mean of {:.0f} findings",
    "examples": "{:.0f} labelled images",
    "map_queries": "mean average precision over {:.0f} queries that have findings",
    "unlabelled": "{:.0f} more images without a label",
    "temperature": "temperature {:.4g}, fitted on validation",
}
# Counts that say nothing where they are 0.
SAID_ABOVE_0 = ("findings", "map_queries", "unlabelled")
# Facts of a table, not of all that is said about its task.
TABLE_FACTS = ("c", "temperature", "examples", "amount")
SHARE = "share_"  # of a class, in a task of more than two

TITLES = {
    "retrieval": "Retrieval",
    "class_retrieval": "Retrieval by class",
    "alignment": "Report or a variant of it",
    "negated": "Report → finding denied",
    "omitted": "Report → finding left out",
    "omitted_then_negated": "Report → left out → denied",
    "level_swap": "Report → another disc",
    "side_swap": "Report → the other side",
    "ties": "Share with a tie, which counts as a blind order",
    "text_only_accuracy": "Accuracy of the wording alone, without the image",
    "accuracy_gain_over_text_only": "Accuracy gained over the wording alone",
    "other_images_accuracy": "Accuracy with other patients' images instead",
    "accuracy_gain_over_other_images": "Accuracy gained over other patients' images",
    "zero_shot": "Zero-shot",
    "zero_shot_features": "Zero-shot by features",
    "linear_probe": "Linear probe",
    "image_to_text": "Image → report",
    "text_to_image": "Report → image",
    "patient_to_text": "Patient → report",
    "text_to_patient": "Report → patient",
    "any_finding": "Normal or abnormal",
    "pfirrmann_ge_3": "Pfirrmann grade 3 or more",
    "disc_displacement": "Disc displacement at the level",
    "compression": "Thecal sac or nerve root compression at the level",
    "pfirrmann": "Pfirrmann grade, five classes",
    "patient_displacement": "Worst disc displacement of the patient",
    "muscle_spasm": "Muscle spasm, the negative control",
    "level_only": "Level alone, the baseline",
    "image_features": "Image features",
    "image_embeds": "Image embeddings",
    "mrr": "Mean reciprocal rank",
    "median_rank": "Median rank",
    "auroc": "AUROC",
    "auroc_within_level": "AUROC within level",
    "macro_f1": "Macro F1",
    "macro_auroc": "Mean AUROC",
    "macro_average_precision": "Mean average precision",
    "balanced_accuracy": "Balanced accuracy",
    "auroc_gain_over_level": "AUROC gained over level alone",
    "average_precision": "Average precision",
    "weighted_f1": "Weighted F1",
    "quadratic_kappa": "Quadratic kappa",
    "ece": "Calibration error (ECE)",
    "nll": "Log loss (NLL)",
    "brier": "Brier score",
    "adaptive_ece": "Calibration error, bins of equal mass",
    "map_shared_findings": "Mean average precision by shared findings",
    "findings": "Findings of the reports, their mean",
    "by_patient": "By patient",
    "few_shot": "Few-shot probe",
    "left_right_flip": "Left-right flip",
    "down_sampling": "Down-sampling",
    "finetune": "Fine-tuned",
    "from_scratch": "Trained from scratch",
    "small_cnn": "Small CNN",
    "pixels": "Regression on pixels",
    **{disc: disc for disc in DISCS},
    **{f"k_{k}": f"{k} of each class" for k in (1, 2, 4, 8, 16)},
    **{f"recall_at_{k}": f"Recall at {k}" for k in (1, 5, 10)},
    **{f"precision_at_{k}": f"Precision at {k}" for k in (1, 5, 10)},
}


# Whose AUROC within level is shown first: without features, or with those of the whole encoder.
MAIN_TASKS = ("pfirrmann_ge_3", "disc_displacement", "compression")
MAIN_TABLES = tuple(f"{task}{of}" for task in MAIN_TASKS for of in ("", "/image_features"))

SHARE_OF_K = re.compile(r"(recall|precision)_at_\d+")  # shown in percent

# Of these, less is better.
ERRORS = ("ece", "adaptive_ece", "nll", "brier")


def title(name: str) -> str:
    if name.endswith("_calibrated"):
        return title(name.removesuffix("_calibrated")) + ", after temperature"
    if name.endswith("_retention"):
        return title(name.removesuffix("_retention")) + ", retained"
    if named := re.fullmatch(r"(\w+)( \(.*\))", name):
        return title(named[1]) + named[2]  # of a folder, which is written as it is
    return TITLES.get(name) or name.replace("_", " ").capitalize()


@dataclasses.dataclass(frozen=True)
class Row:
    """One number, with its interval and chance level where they are known."""

    measure: str
    value: float
    low: float | None
    high: float | None
    chance: float | None
    level_only: float | None = None  # what level alone, without the pixels, reaches
    seed_sd: float | None = None  # standard deviation over seeds, of the mean over them

    @property
    def title(self) -> str:
        return title(self.measure)

    @property
    def is_certain(self) -> bool:
        """Recall at 10 among 10 candidates or fewer, which says nothing."""
        return self.measure.startswith("recall_at_") and self.chance == 1

    @property
    def is_difference(self) -> bool:
        return "gain" in self.measure or self.measure.startswith("balance_")

    @property
    def is_rank(self) -> bool:
        return self.measure.endswith("_rank")

    def show(self, value: float) -> str:
        if math.isnan(value):
            return "not defined"
        if self.is_rank:
            return f"{value:.1f}".removesuffix(".0")
        if self.measure.endswith("accuracy") or SHARE_OF_K.fullmatch(self.measure):
            return f"{100 * value:.1f}{PERCENT}"
        return f"{value:{'+' if self.is_difference else ''}.3f}".replace("-", MINUS)

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        low = self.show(self.low).removesuffix(PERCENT)
        return f"{low} – {self.show(self.high)}"

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `unclear`: does the interval exclude chance, and on which side?"""
        if self.chance is None or self.low is None or self.high is None:
            return ""
        above, below = self.low > self.chance, self.high < self.chance
        if self.is_rank or self.measure.startswith(ERRORS):
            above, below = below, above
        return "better" if above else "worse" if below else "unclear"

    def place(self, value: float) -> float:
        """Where on the row's strip a value lies, in percent of its width."""
        fraction = (
            (value + 1) / 2 if self.is_difference or self.measure == "quadratic_kappa" else value
        )
        return round(100 * min(max(fraction, 0.0), 1.0), 2)

    @property
    def has_strip(self) -> bool:
        unbounded = self.is_rank or self.measure.startswith("nll") or "retention" in self.measure
        return self.low is not None and self.high is not None and not unbounded


@dataclasses.dataclass
class Table:
    """Rows under one title; `key` is the rest of the metrics' path, `<task>/<features>`."""

    key: str
    title: str
    facts: list[str] = dataclasses.field(default_factory=list)
    rows: list[Row] = dataclasses.field(default_factory=list)

    def name_of(self, section: "Section", row: Row | None = None) -> Name:
        """What the answers behind the table are called, or the number of a row."""
        path = () if self.key == section.evaluator else tuple(self.key.split("/"))
        return Name(section.split, section.evaluator, path, row.measure if row else "")


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


def _defined(value: float | None) -> float | None:
    """None for what no resample defines, such as an AUROC of three patients."""
    return None if value is None or math.isnan(value) else value


def sections(metrics: dict[str, float]) -> list[Section]:
    """Arranges flat metrics in the order they come in; names of fewer than three parts are left.

    Args:
      metrics: by name, see `evaluators.names`.
    """
    found: dict[tuple[str, str], Section] = {}
    for name, value in metrics.items():
        called = Name.of_number(name)
        if called is None or is_beside(name):
            continue
        split, evaluator, path, measure = dataclasses.astuple(called)
        if measure in SAID_ABOVE_0 and not value:
            continue
        section = found.setdefault((split, evaluator), Section(split, evaluator, title(evaluator)))
        task, table = None, None
        fact = FACTS.get(measure)
        if measure.startswith(SHARE):
            fact = title(measure.removeprefix(SHARE)).lower() + " {:.0%}"
        if not path and fact is None:
            path = (evaluator,)
        if path:
            task = section.tasks.setdefault(path[0], Task(path[0], title(path[0])))
        if task and (path[1:] or fact is None or measure in TABLE_FACTS):
            key = "/".join(path)
            heading = ", ".join(map(title, path[1:]))
            table = task.tables.setdefault(key, Table(key, heading))
        if fact is not None:
            (table or task or section).facts.append(fact.format(value))
        elif table:
            beside = (_defined(metrics.get(name + suffix)) for suffix in BESIDE)
            row = Row(measure, value, *beside)
            if not row.is_certain:
                table.rows.append(row)
    return list(found.values())


def headlines(arranged: list[Section]) -> list[tuple[Section, Task, Table, Row]]:
    """The few rows shown first: recall at 5 by image, and AUROC within level of `MAIN_TASKS`.

    A number that is not defined is no headline.
    """
    wanted = []
    for section in arranged:
        for task in section.tasks.values():
            for table in task.tables.values():
                for row in table.rows:
                    by_image = task.key in ("image_to_text", "text_to_image")
                    recall = row.measure == "recall_at_5" and by_image
                    auroc = row.measure == "auroc_within_level" and table.key in MAIN_TABLES
                    if (recall or auroc) and not math.isnan(row.value):
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
