"""Pictures of the page, as PNG data URIs: drawn off screen. `figure_files` writes them to disk."""

import base64
import dataclasses
import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from lumbarclip_jax.evaluators.names import CHANCE, HIGH, LOW, Name
from lumbarclip_jax.report import by_class
from lumbarclip_jax.report.tables import title

INK, MUTED, GRID_COLOUR = "#1c2733", "#5b6b7b", "#e3e8ee"
COLOURS = ("#0b6e99", "#c8553d", "#3f7d4e", "#8a5a9e", "#b58900", "#4a5568")

# Side of the pictures in the gallery; MRI slices stay legible and the page stays a few MB.
THUMBNAIL_PX = 208


@dataclasses.dataclass(frozen=True)
class Picture:
    """`source` is a data URI; `text` says in words what is seen, for those who cannot see it."""

    source: str
    text: str


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What a figure shows, as a table: names of columns, and rows of text and numbers."""

    columns: Sequence[str]
    rows: Iterable[Sequence[str | float | None]]


@dataclasses.dataclass(frozen=True)
class Drawn(Picture):
    """A figure of lines and points, whose `name` is that of its files."""

    name: str
    figure: Figure
    numbers: Numbers


def slice_picture(image: np.ndarray, text: str) -> Picture:
    """A grey image uint8 `[H, W]`."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return Picture(png_uri(picture), text)


def training_curves(history: list[dict]) -> list[Drawn]:
    """One picture for every scalar the training loop logged, the loss first, then its terms."""
    terms = [
        name
        for name in dict.fromkeys(name for row in history for name in row)
        if name.startswith(TERM)
    ]
    # A single term in full weight is the loss once more.
    if all(row[name] == row["loss"] for name in terms for row in history if name in row):
        terms = []
    names = dict.fromkeys(
        name for row in history for name in row if name != "step" and "/" not in name
    )
    pictures = []
    for name in sorted([*names, *terms], key=lambda name: (name != "loss", name not in terms)):
        points = np.array([(row["step"], row[name]) for row in history if name in row], float)
        heading = f"Loss: {title(name.removeprefix(TERM))}" if name in terms else title(name)
        axes = panel(_CURVE_TITLES.get(name, heading))
        alone = "o" if len(points) == 1 else None  # a line through one point is nothing
        axes.plot(*points.T, color=COLOURS[0], linewidth=1.6, marker=alone)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        first, last = points[0, 1], points[-1, 1]
        text = f"{name} against training step, from {first:.4g} to {last:.4g}"
        numbers = Numbers(("step", name), points)
        pictures.append(finish(axes.figure, text, f"training_{name.replace('/', '_')}", numbers))
    return pictures


TERM = "loss/"  # of the names of an objective's terms
_CURVE_TITLES = {
    "lr": "Learning rate",
    "grad_norm": "Norm of the gradient",
    "temperature": "Temperature of the loss",
    "pairs_per_s": "Image-report pairs per second",
}


def evaluation_curves(history: list[dict]) -> list[Drawn]:
    """Recall at 5, AUROC within level and precision by class, with interval and chance."""
    curves: dict[tuple[str, str, str], dict[str, list[tuple]]] = {}
    for row in history:
        for name in row:
            if not name.endswith(("recall_at_5", "/auroc_within_level", "precision_at_5")):
                continue
            if (called := Name.of_number(name)) is None:
                continue
            place, path = called.evaluator, called.path
            if called.evaluator == by_class.EVALUATOR:
                if not by_class.is_drawn(called):
                    continue
                place, path = f"{place}_{called.task}", called.features  # a picture a task
            lines = curves.setdefault((called.split, place, called.measure), {})
            label = ", ".join(map(title, path))
            numbers = (row.get(name + suffix, np.nan) for suffix in (LOW, HIGH, CHANCE))
            lines.setdefault(label, []).append((row["step"], row[name], *numbers))

    pictures = []
    for (split, place, measure), points_of in curves.items():
        lines = {name: np.array(points).T for name, points in points_of.items() if len(points) > 1}
        if not lines:
            continue
        about = title(place.removeprefix(f"{by_class.EVALUATOR}_"))
        heading = f"{about}, {split}: {title(measure)}"
        axes = panel(textwrap.fill(heading, 48))
        for colour, (label, (step, value, low, high, chance)) in zip(
            COLOURS, lines.items(), strict=False
        ):
            axes.plot(step, value, color=colour, linewidth=1.6, marker="o", ms=3, label=label)
            axes.fill_between(step, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(step, chance, color=colour, linewidth=1, linestyle=(0, (1, 2)))
        axes.set_ylim(bottom=0)
        axes.figure.legend(
            loc="outside lower left", ncols=2, frameon=False, fontsize=7.5, labelcolor=INK
        )
        pictures.append(
            finish(
                axes.figure,
                f"{heading}, against training step, for {', '.join(lines)}",
                f"{split}_{place}_{measure}_over_training",
                Numbers(
                    ("line", "step", measure, "ci_low", "ci_high", "chance"),
                    [(label, *row) for label, of in lines.items() for row in of.T],
                ),
            )
        )
    return pictures


def panel(
    heading: str, size: tuple[float, float] = (3.8, 2.6), x_label: str = "Training step"
) -> Any:
    """An empty figure of `size` inches in the style of the page: its axes."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(heading, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x_label, fontsize=8, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    axes.grid(axis="y", color=GRID_COLOUR)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID_COLOUR)
    return axes


def finish(figure: Figure, text: str, name: str, numbers: Numbers) -> Drawn:
    """The drawn figure, in 128 colours: no eye tells them from all, and it has half the bytes."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(200)
    canvas.draw()
    seen = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # Laid out once: the files of the figure are then drawn in a third of the time.
    figure.set_layout_engine("none")
    drawn = seen.quantize(128, dither=Image.Dither.NONE)
    return Drawn(png_uri(drawn), text, name, figure, numbers)


def png_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
