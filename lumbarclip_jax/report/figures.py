"""Pictures of the page, as PNG data URIs: drawn off screen, nothing written to disk."""

import base64
import dataclasses
import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lumbarclip_jax.report.tables import split_name, title

INK, MUTED, GRID = "#1c2733", "#5b6b7b", "#e3e8ee"
COLOURS = ("#0b6e99", "#c8553d", "#3f7d4e", "#8a5a9e", "#b58900", "#4a5568")

# Side of the pictures in the gallery; MRI slices stay legible and the page stays a few MB.
THUMBNAIL_PX = 256


@dataclasses.dataclass(frozen=True)
class Picture:
    """`source` is a data URI; `text` says in words what is seen, for those who cannot see it."""

    source: str
    text: str


def slice_picture(image: np.ndarray, text: str) -> Picture:
    """A grey image uint8 `[H, W]`."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return Picture(_data_uri(buffer.getvalue()), text)


def training_curves(history: list[dict]) -> list[Picture]:
    """One picture for every scalar the training loop logged, the loss first."""
    names = dict.fromkeys(
        name for row in history for name in row if name != "step" and "/" not in name
    )
    pictures = []
    for name in sorted(names, key=lambda name: name != "loss"):
        points = np.array([(row["step"], row[name]) for row in history if name in row], float)
        figure, axes = _panel(_CURVE_TITLES.get(name, title(name)))
        axes.plot(*points.T, color=COLOURS[0], linewidth=1.6)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        first, last = points[0, 1], points[-1, 1]
        text = f"{name} against training step, from {first:.4g} to {last:.4g}"
        pictures.append(_finish(figure, text))
    return pictures


_CURVE_TITLES = {"lr": "Learning rate", "pairs_per_s": "Image-report pairs per second"}


def evaluation_curves(history: list[dict]) -> list[Picture]:
    """Recall at 5 and AUROC within level over training, with interval and chance."""
    curves: dict[tuple[str, str, str], dict[str, list[tuple]]] = {}
    for row in history:
        for name in row:
            if not name.endswith(("recall_at_5", "/auroc_within_level")):
                continue
            split, evaluator, path, measure = split_name(name)
            panel = curves.setdefault((split, evaluator, measure), {})
            label = ", ".join(map(title, path))
            numbers = (row.get(name + suffix, np.nan) for suffix in _BAND)
            panel.setdefault(label, []).append((row["step"], row[name], *numbers))

    pictures = []
    for (split, evaluator, measure), panel in curves.items():
        lines = {label: np.array(points).T for label, points in panel.items() if len(points) > 1}
        if not lines:
            continue
        heading = f"{title(evaluator)}, {split}: {title(measure)}"
        figure, axes = _panel(heading)
        for colour, (label, (step, value, low, high, chance)) in zip(
            COLOURS, lines.items(), strict=False
        ):
            axes.plot(step, value, color=colour, linewidth=1.6, marker="o", ms=3, label=label)
            axes.fill_between(step, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(step, chance, color=colour, linewidth=1, linestyle=(0, (1, 2)))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=7.5, labelcolor=INK, loc="best")
        pictures.append(
            _finish(figure, f"{heading}, against training step, for {', '.join(lines)}")
        )
    return pictures


_BAND = ("_ci_low", "_ci_high", "_chance")


def _panel(heading: str):
    figure = Figure(figsize=(3.8, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(heading, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("step", fontsize=8, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    return figure, axes


def _finish(figure: Figure, text: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return Picture(_data_uri(buffer.getvalue()), text)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
