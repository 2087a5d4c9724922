"""What is left of a model's numbers as scans get worse: a picture a number, a line a corruption."""

import dataclasses
import re
from collections.abc import Mapping

import matplotlib
import numpy as np

from lumbarclip_jax.evaluators.names import CHANCE, DIRECTION, HIGH, LOW
from lumbarclip_jax.report.figures import INK, MUTED, Drawn, Numbers, finish, panel
from lumbarclip_jax.report.tables import title

# Eight corruptions are told apart by colour and by mark.
COLOURS = matplotlib.color_sequences["Dark2"]
MARKS = "osD^vP*X"


@dataclasses.dataclass(frozen=True)
class Decline:
    """One number: clean with its interval, and `[severity, value]` points of every corruption."""

    clean: float
    low: float
    high: float
    chance: float
    points: dict[str, np.ndarray]


def declines(metrics: Mapping[str, float], split: str) -> dict[str, Decline]:
    """Reads `<split>/robustness/<corruption>/severity_<s>/<number>` by number."""
    prefix = f"{split}/robustness"
    found = {}
    for name in metrics:
        number = name.removeprefix(f"{prefix}/clean/")
        if number == name or f"{name}{LOW}" not in metrics:
            continue
        pattern = re.compile(rf"{re.escape(prefix)}/(\w+)/severity_(\d+)/{re.escape(number)}")
        points: dict[str, list[tuple[int, float]]] = {}
        for other, value in metrics.items():
            if match := pattern.fullmatch(other):
                points.setdefault(match[1], []).append((int(match[2]), value))
        found[number] = Decline(
            clean=metrics[name],
            low=metrics[name + LOW],
            high=metrics[name + HIGH],
            chance=metrics[name + CHANCE],
            points={k: np.array(sorted(v)) for k, v in points.items()},
        )
    return found


def robustness_pictures(metrics: Mapping[str, float], split: str) -> list[Drawn]:
    """One picture a number; severity 0 is the image as it is."""
    pictures = []
    for number, decline in declines(metrics, split).items():
        *where, measure = number.split("/")
        heading = ", ".join(map(title, where or ["retrieval"])) + "\n" + _measure(measure)
        axes = panel(heading, (3.8, 4.2), "Severity, 0 as it is")
        axes.axhspan(decline.low, decline.high, color=MUTED, alpha=0.12, linewidth=0)
        axes.axhline(decline.chance, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        described = []
        clean = ("", 0.0, decline.clean, decline.low, decline.high, decline.chance)
        rows = [clean]
        for k, (corruption, points) in enumerate(decline.points.items()):
            steps, values = np.concatenate([[[0, decline.clean]], points]).T
            rows += [(corruption, *point, None, None, None) for point in points]
            style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKS[k % len(MARKS)]}
            axes.plot(steps, values, linewidth=1.4, ms=4, label=title(corruption), **style)
            described.append(f"{title(corruption)} ends at {values[-1]:.3f}")
        axes.figure.legend(
            loc="outside lower left", ncols=2, fontsize=7.5, frameon=False, labelcolor=INK
        )
        text = f"{heading}, {decline.clean:.3f} clean: {', '.join(described)}"
        columns = ("corruption", "severity", measure, "ci_low", "ci_high", "chance")
        name = f"{split}_robustness_{number}"
        pictures.append(finish(axes.figure, text.replace("\n", ", "), name, Numbers(columns, rows)))
    return pictures


def _measure(name: str) -> str:
    direction = DIRECTION.fullmatch(name)
    return f"{title(direction[1])}, {title(direction[2]).lower()}" if direction else title(name)
