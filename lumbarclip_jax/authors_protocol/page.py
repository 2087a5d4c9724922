"""The page of the protocol: a first paragraph that says what to conclude, tables, and a CSV."""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence

import jinja2

from data_prep.process.files import write_whole
from lumbarclip_jax.authors_protocol import answers
from lumbarclip_jax.authors_protocol.plan import OBJECTIVES
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.sweep.sampling import Sampled, sample_predictions

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
}
UNITS = {"patient": "by patient", "image": "by image"}
WAYS = {
    answers.ALWAYS: "always the most frequent class",
    answers.BAYES: "words of the report, naive Bayes",
    answers.WORDS: "words of the report, logistic regression",
    answers.IMAGE: "image features, linear",
    answers.REPORT: "report features, linear",
    answers.BOTH: "image and report features, linear",
    answers.ZERO_SHOT["max"]: "zero-shot, 10 sentences a class, the nearest",
    answers.ZERO_SHOT["mean"]: "zero-shot, 10 sentences a class, their mean",
    answers.FINE_TUNED: "image encoder, fine-tuned",
}
# Those that see the image and nothing of the report.
OF_IMAGES = (answers.IMAGE, *answers.ZERO_SHOT.values(), answers.FINE_TUNED)

Numbers = Mapping[str, Mapping[str, Sampled]]  # unit -> metric -> number


@dataclasses.dataclass(frozen=True)
class Line:
    """A way of answering; of a model also its objective, run file and seeds."""

    way: str
    numbers: Numbers
    objective: str = ""
    model: str = ""
    seeds: int = 1

    @property
    def title(self) -> str:
        return WAYS[self.way]


@dataclasses.dataclass(frozen=True)
class Contrast:
    """The MLP head less the linear one of an encoder, paired."""

    objective: str
    encoder: str
    way: str
    numbers: Numbers


def line_of(
    way: str, seeds: Sequence[Predictions], resamples: int, *, objective: str = "", model: str = ""
) -> Line:
    """The mean over the seeds, with intervals over patients, by patient and, of answers about
    images, by image.

    Raises:
      ValueError: the seeds answered other rows.
    """
    name = f"{objective} {model} {way}"
    numbers = {"patient": sample_predictions([of.by_patient() for of in seeds], name, resamples)}
    if seeds[0].image_id.astype(bool).any():  # else a fine-tune has answered by patient
        numbers["image"] = sample_predictions(seeds, name, resamples)
    return Line(way, numbers, objective, model, len(seeds))


def contrasts(lines: Sequence[Line]) -> list[Contrast]:
    """Of every encoder, objective and way that has both heads."""
    by_model = {(line.objective, line.model, line.way): line for line in lines}
    found = []
    for (objective, model, way), line in by_model.items():
        mlp = by_model.get((objective, model.removesuffix("_linear") + "_mlp", way))
        if mlp is None or not model.endswith("_linear"):
            continue
        numbers = {
            unit: {metric: mlp.numbers[unit][metric] - of[metric] for metric in METRICS}
            for unit, of in line.numbers.items()
        }
        found.append(Contrast(objective, model.removesuffix("_linear"), way, numbers))
    return found


def write(
    lines: Sequence[Line],
    out: pathlib.Path,
    *,
    measured: Predictions,
    command: str,
    resamples: int,
    facts: Sequence[str],
) -> list[pathlib.Path]:
    """Writes README.md and answers.csv to `out` and returns their paths.

    Args:
      lines: at least those of `answers.ALWAYS` and `answers.BAYES`.
      out: a folder that is there.
      measured: the answers of `answers.ALWAYS`.
      command: what was typed.
      resamples: of patients, behind the intervals.
      facts: sentences on data and training.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    always, words = (
        next(line for line in lines if line.way == way) for way in (answers.ALWAYS, answers.BAYES)
    )
    alone = [line for line in lines if line.way in OF_IMAGES]
    of_objective = {
        OBJECTIVES[name][0]: [line for line in lines if line.objective == name]
        for name in OBJECTIVES
        if any(line.objective == name for line in lines)
    }
    text = environment.get_template("page.md.j2").render(
        always=always,
        beaten=[line for line in alone if _is_above(line, always)],
        alone=alone,
        best=max(alone, key=lambda line: line.numbers["patient"]["auroc"].value, default=None),
        words=words.numbers["patient"]["auroc"],
        without=[line for line in lines if not line.objective],
        of_objective=of_objective,
        contrasts=contrasts(lines),
        classes=measured.classes,
        frequent=measured.classes[measured.answers[0]],
        patients=measured.by_patient(),
        images=len(measured.labels),
        metrics=METRICS,
        units=UNITS,
        ways=WAYS,
        number=number,
        command=command,
        resamples=resamples,
        facts=facts,
    )
    write_whole(out / "README.md", text.encode())
    write_whole(out / "answers.csv", _csv(lines).encode())
    return [out / "README.md", out / "answers.csv"]


def _is_above(line: Line, always: Line) -> bool:
    """Whether the accuracy by patient is above that of the most frequent class, paired."""
    difference = line.numbers["patient"]["accuracy"] - always.numbers["patient"]["accuracy"]
    return difference.interval[0] > 0


def number(sampled: Sampled) -> str:
    """`0.58 [0.43, 0.74]`."""
    low, high = sampled.interval
    return f"{sampled.value:.2f} [{low:.2f}, {high:.2f}]"


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO(newline="")
    names = ["value", "low", "high", "seed_sd"]
    writer = csv.writer(text)
    writer.writerow(["objective", "model", "way", "seeds", "unit", "metric", *names])
    for line in lines:
        for unit, numbers in line.numbers.items():
            for metric in METRICS:
                of = numbers[metric]
                values = (of.value, *of.interval, of.seed_deviation)
                row = [line.objective, line.model, line.way, line.seeds, unit, metric]
                writer.writerow([*row, *(f"{value:.6g}" for value in values)])
    return text.getvalue()
