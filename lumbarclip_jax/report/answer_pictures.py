"""Pictures of what was answered on a task: ROC, precision-recall and reliability."""

import dataclasses

import numpy as np

from lumbarclip_jax.evaluators.calibration import Reliability, reliability, tempered
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.task_rows import FEWEST_PATIENTS
from lumbarclip_jax.report.curves import (
    GRID,
    Curve,
    precision_recall_curve,
    roc_curve,
)
from lumbarclip_jax.report.figures import (
    COLOURS,
    GRID_COLOUR,
    INK,
    MUTED,
    Drawn,
    Numbers,
    finish,
    panel,
)
from lumbarclip_jax.report.tasks import Answered, TaskPart

SIZE = (3.6, 4.5)
ALL = "All methods"
FEW_SHOT = COLOURS[-1]  # the others are those of the same methods in the ROC
ENDS = ("ci_low", "ci_high")
CHANCE = {"color": MUTED, "linewidth": 1, "linestyle": (0, (1, 2))}


def task_pictures(part: TaskPart) -> list[Drawn]:
    """Of a binary task the curves of all methods in one picture, else one picture a method.

    Lines beyond the colours there are would not be told apart and are left out, and so is the
    baseline where every line is a class.
    """
    pictures = []
    stem = f"{part.split}_{part.key}"
    methods = [answered for answered in part.drawn if not answered.is_baseline]
    if part.drawn and part.is_binary:
        lines = [Line(a.title, a.answers, 1, a.is_baseline) for a in part.drawn]
        pictures += [_roc(stem, lines), _precision_recall(stem, lines)]
    elif part.drawn:
        for method in methods:
            if lines := class_lines(method.answers):
                whose = (stem, lines, method.title)
                pictures += [_roc(*whose), _precision_recall(*whose)]
    if len(part.few_shot) > 1:
        pictures.append(_few_shot(part))
    return pictures + [_reliability(stem, method) for method in methods]


@dataclasses.dataclass(frozen=True)
class Line:
    """Class `k` against the rest, under a name."""

    name: str
    predicted: Predictions
    k: int
    is_baseline: bool = False

    @property
    def input(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, scores and patients, for a curve."""
        of = self.predicted
        return of.labels == self.k, of.probabilities[:, self.k], of.patient_id


def class_lines(predicted: Predictions) -> list[Line]:
    """One line for every class that enough patients have."""
    patients = [
        len(np.unique(predicted.patient_id[predicted.labels == k]))
        for k in range(len(predicted.classes))
    ]
    return [
        Line(name, predicted, k)
        for k, name in enumerate(predicted.classes)
        if patients[k] >= FEWEST_PATIENTS
    ]


def _roc(stem: str, lines: list[Line], whose: str = ALL) -> Drawn:
    axes = _square("ROC", whose, "1 − specificity", "Sensitivity")
    described, rows = [], []
    for colour, line in zip(COLOURS, lines, strict=False):
        curve = roc_curve(*line.input)
        area = float(np.trapezoid(curve.y, curve.x))
        _draw(axes, curve, line, colour, f"{line.name}: {area:.2f}")
        rows += _rows(line, curve)
        described.append(f"{line.name} with an area of {area:.3f}")
    axes.plot([0, 1], [0, 1], **CHANCE)
    numbers = Numbers(("line", "one_minus_specificity", "sensitivity", *ENDS), rows)
    return _with_legend(axes, described, _named(stem, "roc", whose), numbers)


def _precision_recall(stem: str, lines: list[Line], whose: str = ALL) -> Drawn:
    axes = _square("Precision and recall", whose, "Recall (sensitivity)", "Precision")
    described, rows = [], []
    for colour, line in zip(COLOURS, lines, strict=False):
        curve = precision_recall_curve(*line.input)
        area = float(np.sum(np.diff(curve.x) * curve.y[1:]))
        _draw(axes, curve, line, colour, f"{line.name}: {area:.2f}", drawstyle="steps-pre")
        rows += _rows(line, curve)
        axes.axhline(line.input[0].mean(), **CHANCE)
        described.append(f"{line.name} with an area of {area:.3f}")
    numbers = Numbers(("line", "recall", "precision", *ENDS), rows)
    return _with_legend(axes, described, _named(stem, "precision_recall", whose), numbers)


def _rows(line: Line, curve: Curve) -> list[tuple]:
    """The curve as measured, then the places of its band, which has values of its own."""
    measured = [(line.name, x, y, None, None) for x, y in zip(curve.x, curve.y, strict=True)]
    band = zip(GRID, curve.low, curve.high, strict=True)
    return measured + [(line.name, x, None, low, high) for x, low, high in band]


def _named(stem: str, kind: str, whose: str) -> str:
    return f"{stem}_{kind}" if whose == ALL else f"{stem}_{kind}_{whose}"


def _draw(axes, curve: Curve, line: Line, colour: str, label: str, **style) -> None:
    if line.is_baseline:
        style |= {"color": MUTED, "linewidth": 1.2, "linestyle": (0, (4, 2))}
    else:
        style |= {"color": colour, "linewidth": 1.7}
        axes.fill_between(GRID, curve.low, curve.high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(curve.x, curve.y, label=label, **style)


def _few_shot(part: TaskPart) -> Drawn:
    rows = [answered.rows["auroc"] for answered in part.few_shot]
    shots = [answered.shots for answered in part.few_shot]
    values = np.array([row.value for row in rows])
    axes = panel("Few-shot\nLinear probe", SIZE, "Labelled images of each class")
    axes.set_ylabel("AUROC", fontsize=8, color=MUTED)
    axes.fill_between(
        shots, [r.low for r in rows], [r.high for r in rows], color=FEW_SHOT, alpha=0.12, lw=0
    )
    axes.errorbar(
        shots,
        values,
        yerr=[row.seed_sd or 0 for row in rows],
        color=FEW_SHOT,
        linewidth=1.7,
        elinewidth=0.8,
        marker="o",
        markersize=4,
        label="few-shot probe",
    )
    beside = [a for a in part.answered if "auroc" in a.rows and not a.is_by_patient]
    for colour, answered in zip(COLOURS, beside, strict=False):
        value = answered.rows["auroc"].value
        style = {"color": MUTED if answered.is_baseline else colour, "linewidth": 1.2}
        axes.axhline(value, linestyle=(0, (4, 2)), label=f"{answered.title}: {value:.2f}", **style)
    axes.axhline(0.5, **CHANCE)
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(k) for k in shots])
    axes.minorticks_off()
    axes.set_box_aspect(1)
    steps = [f"AUROC {value:.3f} with {k}" for k, value in zip(shots, values, strict=True)]
    measured = zip(part.few_shot, rows, strict=True)
    numbers = Numbers(
        ("method", "labelled_images_of_each_class", "auroc", *ENDS, "standard_deviation_of_draws"),
        [(a.title, a.shots, r.value, r.low, r.high, r.seed_sd) for a, r in measured]
        + [(a.title, None, (r := a.rows["auroc"]).value, r.low, r.high, None) for a in beside],
    )
    return _with_legend(axes, steps, f"{part.split}_{part.key}_few_shot", numbers)


def _reliability(stem: str, answered: Answered) -> Drawn:
    predicted = answered.answers
    labels = ("Predicted probability", "Observed frequency")
    if len(predicted.classes) > 2:
        labels = ("Predicted probability of the answer", "Observed accuracy")
    axes = _square("Reliability", answered.title, *labels)
    axes.plot([0, 1], [0, 1], **CHANCE)
    described, rows = [], []
    for colour, marker, label, said in _before_and_after(answered):
        points = reliability_of(predicted, said)
        axes.errorbar(
            points.said,
            points.happened,
            yerr=np.abs(np.stack([points.low, points.high]) - points.happened),
            color=colour,
            linewidth=1.3,
            elinewidth=0.8,
            marker=marker,
            markersize=4.5,
            label=label,
        )
        every = (points.said, points.happened, points.low, points.high, points.rows)
        rows += [(label, *row) for row in zip(*every, strict=True)]
        pairs = zip(points.said, points.happened, strict=True)
        described.append(f"{label}: " + ", ".join(f"{s:.2f} was {h:.2f}" for s, h in pairs))
    columns = ("series", *(label.lower().replace(" ", "_") for label in labels), *ENDS, "rows")
    name = _named(stem, "reliability", answered.title)
    return _with_legend(axes, described, name, Numbers(columns, rows))


def _before_and_after(answered: Answered):
    probabilities = answered.answers.probabilities
    if answered.temperature is None:
        yield COLOURS[0], "o", "as answered", probabilities
        return
    yield COLOURS[1], "s", "before temperature", probabilities
    after = tempered(probabilities, answered.temperature)
    yield COLOURS[0], "o", f"after temperature {answered.temperature:.4g}", after


def reliability_of(predicted: Predictions, probabilities: np.ndarray) -> Reliability:
    """Of the positive class in a binary task, else of the answer."""
    if len(predicted.classes) == 2:
        said, so = probabilities[:, 1], predicted.labels == 1
    else:
        said, so = probabilities.max(axis=1), predicted.answers == predicted.labels
    return reliability(said, so, predicted.patient_id)


def _square(heading: str, whose: str, x_label: str, y_label: str):
    # Two lines in every heading, so that pictures side by side line up.
    axes = panel(f"{heading}\n{whose}", SIZE, x_label)
    axes.set_ylabel(y_label, fontsize=8, color=MUTED)
    axes.grid(color=GRID_COLOUR)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), box_aspect=1)
    return axes


def _with_legend(axes, described: list[str], name: str, numbers: Numbers) -> Drawn:
    """The finished picture, its legend below, where no line runs."""
    axes.figure.legend(
        loc="outside lower left", fontsize=7.5, labelcolor=INK, frameon=False, handlelength=1.8
    )
    heading = axes.get_title(loc="left").replace("\n", ", ")
    return finish(axes.figure, f"{heading}: {'; '.join(described)}", name, numbers)
